"""The shortest-path expert of GridWorld, played for whole batches of grids at once."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.game.layouts import Layouts, draw_layouts
from iqlightning.gridworld.game.observation import observe
from iqlightning.gridworld.game.planning import optimal_actions, shortest_paths
from iqlightning.gridworld.game.rules import cell_steps, move_rewards
from iqlightning.keyed import Stream, integers
from iqlightning.types import Trajectories

__all__ = ["ShortestPathExpert", "shortest_path_demonstrations", "shortest_path_parts"]

# One number below 12 chooses evenly among 1, 2, 3 or 4 optimal moves.
_CHOICES = 12

# Cells of all the grids planned at once: bounds the memory on large grids.
_CELLS_AT_ONCE = 1 << 20


class ShortestPathExpert:
    """The expert of one GridWorld; see :class:`~iqlightning.types.Expert` and :func:`shortest_path_demonstrations`."""

    label = "shortest-path expert"

    def __init__(self, env: GridWorldConfig) -> None:
        self.env = env

    @property
    def recipe(self) -> dict[str, Any]:
        """Its version is raised whenever it comes to play differently: older files are then not taken for its own."""
        return {"expert": "shortest_path", "version": 1}

    def parts(self, episodes: int, seed: int, progress: Callable[[int], None] | None = None) -> Iterator[Trajectories]:
        """Some thousand episodes at a time, on grids to train on."""
        return shortest_path_parts(self.env, episodes, seed, progress=progress)


def shortest_path_demonstrations(
    env: GridWorldConfig,
    episodes: int,
    seed: int,
    split: str = "train",
    progress: Callable[[int], None] | None = None,
) -> Trajectories:
    """Plays the expert that moves uniformly among the moves that shorten the way to the goal.

    Episode e is played on the grid ``draw_layouts(env, seed, e, split)`` and its moves are keyed by (seed, e, move), so
    that the first 100 of 1,000 episodes are the same as 100 episodes asked for. An episode is truncated where the
    environment's move limit is below the shortest path.

    Returns:
        The trajectories, on the CPU, with the rewards that the environment would have given.
    """
    return Trajectories.concatenate(list(shortest_path_parts(env, episodes, seed, split, progress)))


def shortest_path_parts(
    env: GridWorldConfig,
    episodes: int,
    seed: int,
    split: str = "train",
    progress: Callable[[int], None] | None = None,
) -> Iterator[Trajectories]:
    """The same, some thousand episodes at a time, so that they need not fit into memory together."""
    at_once = max(1, _CELLS_AT_ONCE // env.num_cells)
    for first in range(0, episodes, at_once):
        numbers = torch.arange(first, min(first + at_once, episodes))
        yield _play(env, numbers, seed, split)
        if progress is not None:
            progress(len(numbers))


def _play(env: GridWorldConfig, episodes: Tensor, seed: int, split: str) -> Trajectories:
    layouts = draw_layouts(env, torch.full_like(episodes, seed), episodes, split)
    distances = shortest_paths(layouts.walls, layouts.goal)
    shortest = distances.flatten(1).gather(1, layouts.start.unsqueeze(1)).squeeze(1).to(torch.int64)
    lengths = shortest.clamp(max=env.move_limit)
    cells, actions = _walk(layouts, optimal_actions(distances, layouts.walls), lengths, episodes, seed)

    moves = torch.arange(actions.shape[1])
    made = moves < lengths.unsqueeze(1)
    seen = torch.arange(cells.shape[1]) <= lengths.unsqueeze(1)
    of_frame = torch.repeat_interleave(torch.arange(len(episodes)), lengths + 1)
    at_goal = made & (moves == shortest.unsqueeze(1) - 1)
    return Trajectories(
        observations=observe(layouts.walls[of_frame], cells[seen], layouts.goal[of_frame]),
        actions=actions[made],
        rewards=move_rewards(at_goal[made]),
        starts=torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]),
        terminated=shortest <= env.move_limit,
        truncated=shortest > env.move_limit,
    )


def _walk(layouts: Layouts, optimal: Tensor, lengths: Tensor, episodes: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Cells (B, T + 1) and actions (B, T) of the walks, T the longest; what lies beyond a walk's end is arbitrary."""
    batch, height, width = layouts.walls.shape
    longest = int(lengths.max())
    # The set of optimal moves of a cell as a number below 16, so that one look-up chooses among them.
    codes = (optimal.to(torch.int64) * torch.tensor([1, 2, 4, 8])).sum(-1).view(-1)
    chosen = _choice_table()
    draws = integers(Stream.EXPERT, seed, episodes.unsqueeze(1), torch.arange(longest), bound=_CHOICES)
    offset_of_grid = torch.arange(batch) * (height * width)
    step_of_action = torch.tensor(cell_steps(width))

    player = layouts.start.clone()
    cells = torch.empty((batch, longest + 1), dtype=torch.int64)
    actions = torch.empty((batch, longest), dtype=torch.int64)
    cells[:, 0] = player
    for move in range(longest):
        code = codes[offset_of_grid + player]
        action = chosen[code, draws[:, move]]
        # An optimal move is never blocked; the goal has none (code 0) and its walk stays there.
        player = player + torch.where(code > 0, step_of_action[action], 0)
        actions[:, move] = action
        cells[:, move + 1] = player
    return cells, actions


def _choice_table() -> Tensor:
    """(16, 12): for each set of moves, the one that each draw chooses, all equally often."""
    table = torch.zeros((16, _CHOICES), dtype=torch.int64)
    for code in range(1, 16):
        options = [action for action in range(4) if code >> action & 1]
        table[code] = torch.tensor(options * (_CHOICES // len(options)))
    return table
