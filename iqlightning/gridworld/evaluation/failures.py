"""Which grids a greedy policy fails on, and why: each failure gets one kind, and its path, as arrays."""

from dataclasses import dataclass
from enum import StrEnum

import torch
from jaxtyping import Float, Int
from torch import Tensor

from iqlightning.gridworld.evaluation.results import GridWorldResults
from iqlightning.gridworld.evaluation.value_maps import QFunction
from iqlightning.gridworld.game.layouts import Layouts
from iqlightning.gridworld.game.observation import observe
from iqlightning.gridworld.game.planning import manhattan_distance, shortest_paths
from iqlightning.gridworld.game.rules import edge_table
from iqlightning.types import Policy

__all__ = ["Failure", "Kind", "clearest", "count_kinds", "explain_failures", "path_of", "q_along"]


class Kind(StrEnum):
    """Why an episode failed; the first that holds."""

    TOO_FAR = "when the moves run out"
    WALL = "bumping into a wall"
    EDGE = "pushing against the edge"
    TWO_CELLS = "going to and fro between two cells"
    WRONG_WAY = "in a circle, after the wrong way around an obstacle"
    CIRCLE = "in a circle, though the way was clear"


@dataclass(frozen=True)
class Failure:
    """One failed episode.

    Attributes:
        index: its place among the episodes.
        kind: why.
        path: (T + 1,) flat cells visited, the last one closing the loop, if there is one.
        mistake: index of the first move that is on no shortest path.
        shortest: moves of the shortest path.
        manhattan: |rows| + |columns| from start to goal.
    """

    index: int
    kind: Kind
    path: Int[Tensor, " visited"]
    mistake: int
    shortest: int
    manhattan: int


def path_of(results: GridWorldResults, index: int) -> Int[Tensor, " visited"]:
    """The cells that an episode visited, int64."""
    assert results.paths is not None, "play with record_paths=True"
    path = results.paths[index]
    return path[path >= 0].long()


@torch.no_grad()
def explain_failures(results: GridWorldResults, policy: Policy) -> list[Failure]:
    """Every failed episode of a greedy policy, in order.

    How a path ends decides: standing still is a bump, going back and forth two cells, a longer loop a circle; without a
    loop the moves ran out. A circle is the wrong way around an obstacle where the first mistake was made on a cell from
    which the direct way is blocked (shortest path longer than |rows| + |columns|).

    Args:
        results: of :func:`iqlightning.gridworld.evaluation.play.play_grids` with ``record_paths``, greedy.
        policy: the one that played; it is asked once more which way it bumps.
    """
    failed = (~results.success).nonzero().flatten()
    if not len(failed):
        return []
    layouts = results.layouts.select(failed)
    height, width = layouts.walls.shape[1:]
    paths = [path_of(results, index).cpu() for index in failed.tolist()]
    ends = torch.stack([path[-1] for path in paths]).to(layouts.walls.device)
    last_moves = policy.act(observe(layouts.walls, ends, layouts.goal)).to(ends.device)
    # over the edge a move stays by the table of an empty grid already
    at_edge = (edge_table(height, width, ends.device)[ends, last_moves] == ends).tolist()
    distances = shortest_paths(layouts.walls, layouts.goal).flatten(1).cpu()
    goals = layouts.goal.cpu()
    failures = []
    for row, (index, path) in enumerate(zip(failed.tolist(), paths, strict=True)):
        left = distances[row, path]
        wrong = (left[1:] != left[:-1] - 1).nonzero().flatten()
        mistake = int(wrong[0]) if len(wrong) else len(path) - 1
        manhattan = int(manhattan_distance(path[mistake], goals[row], width))
        kind = _kind(path, at_edge=at_edge[row], detour=int(left[mistake]) > manhattan)
        failures.append(
            Failure(index, kind, path, mistake, int(results.shortest[index]), int(results.manhattan[index]))
        )
    return failures


def _kind(path: Tensor, *, at_edge: bool, detour: bool) -> Kind:
    before = (path[:-1] == path[-1]).nonzero().flatten()
    if not len(before):
        return Kind.TOO_FAR
    loop = len(path) - 1 - int(before[-1])
    if loop == 1:
        return Kind.EDGE if at_edge else Kind.WALL
    if loop == 2:
        return Kind.TWO_CELLS
    return Kind.WRONG_WAY if detour else Kind.CIRCLE


def count_kinds(failures: list[Failure]) -> dict[Kind, int]:
    """How many of each kind, the most frequent first; kinds that do not occur are left out."""
    counts = {kind: sum(failure.kind is kind for failure in failures) for kind in Kind}
    return {kind: count for kind, count in sorted(counts.items(), key=lambda pair: -pair[1]) if count}


def clearest(failures: list[Failure], each: int = 1) -> list[Failure]:
    """For every kind, the most frequent first, the examples with the shortest paths: those that show it best."""
    chosen = []
    for kind in count_kinds(failures):
        alike = [failure for failure in failures if failure.kind is kind]
        # a path of a few moves before the trap shows more than one that begins in it
        chosen += sorted(alike, key=lambda failure: (len(failure.path) < 5, len(failure.path)))[:each]
    return chosen


@torch.no_grad()
def q_along(policy: QFunction, layouts: Layouts, failure: Failure) -> Float[Tensor, "visited 4"]:
    """Q(s, .) on every cell of a failure's path."""
    path = failure.path.to(layouts.walls.device)
    walls = layouts.walls[failure.index].expand(len(path), -1, -1)
    goal = layouts.goal[failure.index].expand(len(path))
    return policy.q_values(observe(walls, path, goal)).cpu()
