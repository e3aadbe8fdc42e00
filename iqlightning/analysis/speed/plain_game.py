"""The GridWorld game as a plain numpy loop, and DQN on it with one environment, to compare with."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from iqlightning.analysis.speed.measure import Timing, timed
from iqlightning.envs.gridworld.layouts import draw_layouts
from iqlightning.envs.gridworld.spec import GridWorldConfig

__all__ = ["PlainGame", "plain_dqn"]

_STEPS = ((-1, 0), (0, 1), (1, 0), (0, -1))


class PlainGame:
    """N grids in numpy arrays; where an episode ends, the next grid of a pool drawn beforehand begins.

    Args:
        config: the game.
        num_envs: N.
        pool: how many grids are drawn beforehand; they are not counted in the time.
    """

    def __init__(self, config: GridWorldConfig, num_envs: int, pool: int) -> None:
        layouts = draw_layouts(config, torch.zeros(pool, dtype=torch.int64), torch.arange(pool))
        height, width = config.height, config.width
        self.limit = config.move_limit
        self.pool_walls = layouts.walls.numpy().reshape(pool, -1)
        self.pool_start, self.pool_goal = layouts.start.numpy(), layouts.goal.numpy()
        rows, columns = np.divmod(np.arange(height * width), width)
        self.cell_after = np.stack(
            [
                np.where(
                    (rows + down >= 0) & (rows + down < height) & (columns + right >= 0) & (columns + right < width),
                    (rows + down) * width + columns + right,
                    np.arange(height * width),
                )
                for down, right in _STEPS
            ],
            axis=1,
        )
        self.envs = np.arange(num_envs)
        self.planes = np.zeros((num_envs, 3, height * width), dtype=np.uint8)
        self.player = np.zeros(num_envs, dtype=np.int64)
        self.goal = np.zeros(num_envs, dtype=np.int64)
        self.moves = np.zeros(num_envs, dtype=np.int64)
        self.next_grid = 0
        self._begin(self.envs)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Observations to act on next (the planes themselves), rewards, terminated, truncated."""
        envs, player = self.envs, self.player
        target = self.cell_after[player, actions]
        free = self.planes[envs, 0, target] == 0
        self.planes[envs, 1, player] = 0
        self.player = player = np.where(free, target, player)
        self.planes[envs, 1, player] = 1
        self.moves += 1
        terminated = player == self.goal
        truncated = (self.moves >= self.limit) & ~terminated
        rewards = np.where(terminated, np.float32(10), np.float32(-1))
        ended = np.flatnonzero(terminated | truncated)
        if len(ended):
            self._begin(ended)
        return self.planes, rewards, terminated, truncated

    def _begin(self, envs: np.ndarray) -> None:
        grids = (self.next_grid + np.arange(len(envs))) % len(self.pool_goal)
        self.next_grid = int(grids[-1]) + 1
        start, goal = self.pool_start[grids], self.pool_goal[grids]
        self.planes[envs, 0] = self.pool_walls[grids]
        self.planes[envs, 1:] = 0
        self.planes[envs, 1, start] = 1
        self.planes[envs, 2, goal] = 1
        self.player[envs] = start
        self.goal[envs] = goal
        self.moves[envs] = 0


def plain_dqn(config: GridWorldConfig, hidden: tuple[int, int], batch_size: int, every: int, updates: int) -> Timing:
    """Double DQN with a soft target, one environment, one update every ``every`` steps; counts environment steps."""
    inputs = 3 * config.num_cells

    def network() -> nn.Module:
        layers = [nn.Linear(inputs, hidden[0]), nn.ReLU(), nn.Linear(hidden[0], hidden[1]), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(hidden[1], 4))

    online, target = network(), network()
    target.load_state_dict(online.state_dict())
    optimizer = torch.optim.Adam(online.parameters(), lr=1e-3, fused=True)
    game = PlainGame(config, 1, 1024)
    capacity, stored = 10_000, 0
    obs = torch.zeros((capacity, inputs), dtype=torch.uint8)
    next_obs, actions = torch.zeros_like(obs), torch.zeros(capacity, dtype=torch.int64)
    rewards, ended = torch.zeros(capacity), torch.zeros(capacity)
    rng = np.random.default_rng(0)
    before = torch.from_numpy(game.planes.reshape(1, -1))

    def play() -> None:
        nonlocal stored
        slot = stored % capacity
        obs[slot] = before[0]
        if rng.random() < 0.1:
            action = int(rng.integers(4))
        else:
            with torch.no_grad():
                action = int(online(before.float()).argmax())
        _, reward, terminated, _ = game.step(np.array([action]))
        next_obs[slot], actions[slot] = before[0], action
        rewards[slot], ended[slot] = float(reward[0]), float(terminated[0])
        stored += 1

    def learn() -> None:
        index = torch.randint(min(stored, capacity), (batch_size,))
        states = torch.cat([obs[index], next_obs[index]]).float()
        q, next_q = online(states).chunk(2)
        with torch.no_grad():
            best = next_q.argmax(1, keepdim=True)
            next_v = target(states[batch_size:]).gather(1, best)[:, 0]
            wanted = 0.1 * rewards[index] + 0.99 * (1 - ended[index]) * next_v
        loss = F.smooth_l1_loss(q.gather(1, actions[index, None])[:, 0], wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for kept, current in zip(target.parameters(), online.parameters(), strict=True):
                kept.lerp_(current, 0.02)

    for _ in range(batch_size):
        play()

    def run() -> None:
        for _ in range(updates):
            for _ in range(every):
                play()
            learn()

    return timed(updates * every, run)
