"""Plays GridWorld to see how good a policy is, thousands of grids at once.

The loop differs from :mod:`iqlightning.rollout` because more is known here: a greedy policy on a
deterministic grid has failed as soon as it returns to a cell, and a grid that is finished leaves the batch.
"""

from collections.abc import Callable

import torch
from jaxtyping import Int
from torch import Tensor

from iqlightning.evaluation.choice import choose_actions, is_random
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.evaluation.results import GridWorldResults
from iqlightning.gridworld.game.layouts import Layouts, draw_layouts
from iqlightning.gridworld.game.observation import observe
from iqlightning.gridworld.game.planning import manhattan_distance, shortest_moves
from iqlightning.gridworld.game.rules import edge_table, episode_returns, move_players
from iqlightning.types import Policy

__all__ = ["evaluate_gridworld", "play_grids"]

# cells of all grids played at once: bounds the memory of a convolutional network on 64 x 64 grids
_CELLS_AT_ONCE = 2**20


def evaluate_gridworld(
    policy: Policy,
    config: GridWorldConfig,
    episodes: int,
    seed: int,
    *,
    split: str = "test",
    sample: bool = False,
    temperature: float | None = None,
    batch_size: int = 2048,
    device: str | torch.device = "cpu",
    rank: int = 0,
    world_size: int = 1,
    progress: Callable[[int], None] | None = None,
    record_paths: bool = False,
) -> GridWorldResults:
    """Plays episodes ``rank, rank + world_size, ...`` below ``episodes``; episode i is a function of (seed, i, split).

    Arguments are those of :meth:`iqlightning.types.EnvConfig.play`, ``batch_size`` for grids at once (fewer where they
    are large), and ``record_paths`` to keep the cells visited.
    """
    batch_size = max(1, min(batch_size, _CELLS_AT_ONCE // (config.height * config.width)))
    chosen = torch.arange(rank, episodes, world_size, device=device)
    parts = []
    for numbers in chosen.split(batch_size) if len(chosen) else [chosen]:
        layouts = draw_layouts(config, torch.full_like(numbers, seed), numbers, split=split, device=device)
        parts.append(
            play_grids(
                policy,
                layouts,
                config.move_limit,
                episodes=numbers,
                seed=seed,
                sample=sample,
                temperature=temperature,
                progress=progress,
                record_paths=record_paths,
            )
        )
    return GridWorldResults.concatenate(parts)


@torch.no_grad()
def play_grids(
    policy: Policy,
    layouts: Layouts,
    move_limit: int,
    *,
    episodes: Int[Tensor, " batch"] | None = None,
    seed: int = 0,
    sample: bool = False,
    temperature: float | None = None,
    progress: Callable[[int], None] | None = None,
    record_paths: bool = False,
) -> GridWorldResults:
    """Plays one episode on each of the given grids, all of them at once; see :func:`evaluate_gridworld`."""
    walls, start, goal = layouts
    device, (batch, height, width) = walls.device, walls.shape
    if episodes is None:
        episodes = torch.arange(batch, device=device)
    edges, blocking = edge_table(height, width, device).flatten(), walls.flatten()
    deterministic = not is_random(policy, sample)
    moves = torch.full((batch,), move_limit, device=device)
    success = torch.zeros(batch, dtype=torch.bool, device=device)
    paths = torch.full((batch, move_limit + 1), -1, dtype=torch.int16, device=device) if record_paths else None
    if paths is not None:
        paths[:, 0] = start.to(torch.int16)

    # everything below is indexed by the grids still being played; `alive` says which grids those are
    alive = torch.arange(batch, device=device)
    player = start.clone()
    observations = observe(walls, player, goal)
    visited = torch.zeros(batch, height * width, dtype=torch.bool, device=device)
    visited[alive, player] = True
    for move in range(1, move_limit + 1):
        if not len(alive):
            break
        actions = choose_actions(
            policy, observations, episodes[alive], move, seed=seed, sample=sample, temperature=temperature
        )
        rows = torch.arange(len(alive), device=device)
        seen = observations[:, 1].view(len(rows), -1)
        seen[rows, player] = 0
        player = move_players(player, actions, edges, blocking, alive * (height * width))
        seen[rows, player] = 1
        if paths is not None:
            paths[alive, move] = player.to(torch.int16)
        arrived = player == goal[alive]
        success[alive[arrived]] = True
        moves[alive[arrived]] = move
        finished = arrived | visited[rows, player] if deterministic else arrived
        visited[rows, player] = True
        if finished.any():
            playing = ~finished
            if progress is not None:
                progress(len(finished) - int(playing.sum()))
            alive, player, observations, visited = (x[playing] for x in (alive, player, observations, visited))
    if progress is not None and len(alive):
        progress(len(alive))

    return GridWorldResults(
        episodes=episodes,
        success=success,
        moves=moves,
        shortest=shortest_moves(walls, start, goal),
        manhattan=manhattan_distance(start, goal, width),
        returns=episode_returns(moves, success),
        layouts=layouts,
        paths=paths,
    )
