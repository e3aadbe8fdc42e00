"""The GridWorld game as a plain numpy loop, and DQN on it with one environment, to compare with."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from iqlightning.analysis.speed.measure import Timing, timed
from iqlightning.gridworld.config import GridWorldConfig

__all__ = ["PlainGame", "plain_dqn"]

_STEPS = ((-1, 0), (0, 1), (1, 0), (0, -1))


class PlainGame:
    """N grids in numpy arrays; where an episode ends, a new grid begins. Grids are drawn ahead, many at a time.

    It does what the package's environment does: each grid is new and can be solved, and a step gives the true
    successors beside the observations to act on next. Unlike there, grids come from a generator's stream and not from
    keys of their own, and the arrays given out are overwritten by the next step.

    Args:
        config: the game: random walls, goal and start on a grid of at most 16 columns.
        num_envs: N.
        ahead: how many grids are drawn at a time.
        seed: of the grids.
    """

    def __init__(self, config: GridWorldConfig, num_envs: int, ahead: int, seed: int = 0) -> None:
        self.height, self.width, self.walls = config.height, config.width, config.wall_count
        self.limit, self.ahead = config.move_limit, ahead
        self.rng = np.random.default_rng(seed)
        rows, columns = np.divmod(np.arange(config.num_cells), self.width)
        self.cell_after = np.stack(
            [
                np.where(
                    (rows + down >= 0)
                    & (rows + down < self.height)
                    & (columns + right >= 0)
                    & (columns + right < self.width),
                    (rows + down) * self.width + columns + right,
                    np.arange(config.num_cells),
                )
                for down, right in _STEPS
            ],
            axis=1,
        )
        self.envs = np.arange(num_envs)
        self.planes = np.zeros((num_envs, 3, config.num_cells), dtype=np.uint8)
        self.successors = np.zeros_like(self.planes)
        self.player = np.zeros(num_envs, dtype=np.int64)
        self.goal = np.zeros(num_envs, dtype=np.int64)
        self.moves = np.zeros(num_envs, dtype=np.int64)
        self._drawn, self._next = self._draw(), 0
        self._begin(self.envs)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Observations to act on next, true successors, rewards, terminated, truncated."""
        envs, player = self.envs, self.player
        target = self.cell_after[player, actions]
        free = self.planes[envs, 0, target] == 0
        self.planes[envs, 1, player] = 0
        self.player = player = np.where(free, target, player)
        self.planes[envs, 1, player] = 1
        self.moves += 1
        np.copyto(self.successors, self.planes)
        terminated = player == self.goal
        truncated = (self.moves >= self.limit) & ~terminated
        rewards = np.where(terminated, np.float32(10), np.float32(-1))
        ended = np.flatnonzero(terminated | truncated)
        if len(ended):
            self._begin(ended)
        return self.planes, self.successors, rewards, terminated, truncated

    def _begin(self, envs: np.ndarray) -> None:
        taken = 0
        while taken < len(envs):
            if self._next == len(self._drawn[1]):
                self._drawn, self._next = self._draw(), 0
            count = min(len(envs) - taken, len(self._drawn[1]) - self._next)
            walls, start, goal = (column[self._next : self._next + count] for column in self._drawn)
            chosen = envs[taken : taken + count]
            self.planes[chosen, 0] = walls
            self.planes[chosen, 1:] = 0
            self.planes[chosen, 1, start] = 1
            self.planes[chosen, 2, goal] = 1
            self.player[chosen], self.goal[chosen], self.moves[chosen] = start, goal, 0
            self._next += count
            taken += count

    def _draw(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Walls (B, cells), start and goal (B,) of grids that can be solved, on one integer a row."""
        count, height, width, rng = self.ahead, self.height, self.width, self.rng
        grids, cells = np.arange(count), height * width
        goal = rng.integers(cells, size=count)
        walls = np.empty((count, self.walls), dtype=np.int64)
        for j in range(self.walls):  # Floyd's algorithm: different cells, evenly chosen
            newest = cells - 1 - self.walls + j
            drawn = rng.integers(newest + 1, size=count)
            walls[:, j] = np.where((walls[:, :j] == drawn[:, None]).any(1), newest, drawn)
        walls += walls >= goal[:, None]
        blocked = np.zeros((count, height), dtype=np.uint16)
        for wall in walls.T:
            blocked[grids, wall // width] |= _bit(wall % width)
        free = ~blocked & np.uint16((1 << width) - 1)
        reached = np.zeros_like(free)
        reached[grids, goal // width] = _bit(goal % width)
        before = None
        while before is None or not np.array_equal(before, reached):
            before = reached
            for _ in range(4):
                grown = reached | (reached << 1) | (reached >> 1)
                grown[:, 1:] |= reached[:, :-1]
                grown[:, :-1] |= reached[:, 1:]
                reached = grown & free
        reached[grids, goal // width] &= ~_bit(goal % width)
        counted = np.bitwise_count(reached).cumsum(1, dtype=np.int16)
        chosen = (rng.random(count) * counted[:, -1]).astype(np.int16)
        row = np.minimum((counted <= chosen[:, None]).sum(1), height - 1)
        chosen -= np.where(row > 0, counted[grids, row - 1], np.int16(0))
        in_row = ((reached[grids, row][:, None] >> np.arange(width, dtype=np.uint16)) & 1).cumsum(1, dtype=np.int16)
        start = row * width + (in_row <= chosen[:, None]).sum(1)
        planes = np.zeros((count, cells), dtype=np.uint8)
        np.put_along_axis(planes, walls, 1, 1)
        solvable = counted[:, -1] > 0
        return planes[solvable], start[solvable], goal[solvable]


def _bit(column: np.ndarray) -> np.ndarray:
    return (1 << column).astype(np.uint16)


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
        _, _, reward, terminated, _ = game.step(np.array([action]))
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
