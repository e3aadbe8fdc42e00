"""What success depends on: how far the goal is, how long the way around is, and how many walls there are, as arrays."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from iqlightning.evaluation.metrics import wilson_interval
from iqlightning.gridworld.evaluation.results import GridWorldResults
from iqlightning.gridworld.game.layouts import Layouts

__all__ = ["Profile", "binned", "success_profiles", "walls_between", "walls_within"]


class Profile(NamedTuple):
    """Success against a whole number, in K ranges of it.

    Attributes:
        lowest: (K,) int64, the smallest value in each range, ascending.
        highest: (K,) int64, the largest one.
        mean: (K,) float64, the mean value.
        episodes: (K,) int64, how many.
        successes: (K,) int64, how many of them reached the goal.
    """

    lowest: Int[Tensor, " bins"]
    highest: Int[Tensor, " bins"]
    mean: Float[Tensor, " bins"]
    episodes: Int[Tensor, " bins"]
    successes: Int[Tensor, " bins"]

    @property
    def rate(self) -> Float[Tensor, " bins"]:
        """Success rate of each range, float64."""
        return self.successes.double() / self.episodes

    @property
    def interval(self) -> Float[Tensor, "bins 2"]:
        """Wilson's 95% interval of each rate, float64."""
        pairs = zip(self.successes.tolist(), self.episodes.tolist(), strict=True)
        return torch.tensor([wilson_interval(*pair) for pair in pairs], dtype=torch.float64).view(-1, 2)


def success_profiles(results: GridWorldResults, bins: int = 10) -> dict[str, Profile]:
    """What is told of every episode to success by it.

    - ``shortest``: moves of the shortest path
    - ``detour``: moves that the walls cost, shortest - |rows| - |columns|
    - ``walls_between``: walls in the rectangle that start and goal span
    - ``walls``: walls on the grid; left out where all grids have the same number
    """
    values = {
        "shortest": results.shortest,
        "detour": results.shortest - results.manhattan,
        "walls_between": walls_between(results.layouts),
        "walls": walls_within(results.layouts),
    }
    if len(values["walls"].unique()) < 2:
        del values["walls"]
    return {name: binned(each, results.success, bins) for name, each in values.items()}


def binned(values: Int[Tensor, " episodes"], success: Bool[Tensor, " episodes"], bins: int = 10) -> Profile:
    """Success in about ``bins`` ranges of values; equal values stay together.

    From the smallest value on, a bin takes values until it holds a share 1 / bins of all episodes; the last one takes
    what is left, however little: there lie the rare and hard ones.

    >>> profile = binned(torch.tensor([1, 1, 2, 5]), torch.tensor([True, False, True, False]), bins=2)
    >>> profile.lowest.tolist(), profile.highest.tolist(), profile.rate.tolist()
    ([1, 2], [1, 5], [0.5, 0.5])
    """
    distinct, which, counts = values.cpu().unique(return_inverse=True, return_counts=True)
    least = -(-len(values) // max(1, bins))
    bin_of, held, number = [], 0, 0
    for count in counts.tolist():
        if held >= least:
            held, number = 0, number + 1
        held += count
        bin_of.append(number)
    bin_of = torch.tensor(bin_of, dtype=torch.int64)
    empty = torch.zeros(number + 1 if len(values) else 0, dtype=torch.int64)
    episodes = empty.scatter_add(0, bin_of, counts)
    return Profile(
        lowest=empty.scatter_reduce(0, bin_of, distinct, "amin", include_self=False),
        highest=empty.scatter_reduce(0, bin_of, distinct, "amax", include_self=False),
        mean=empty.double().scatter_add(0, bin_of, (distinct * counts).double()) / episodes,
        episodes=episodes,
        successes=empty.scatter_add(0, bin_of[which], success.cpu().long()),
    )


def walls_between(layouts: Layouts) -> Int[Tensor, " batch"]:
    """Walls in the rectangle of which start and goal are opposite corners."""
    height, width = layouts.walls.shape[1:]
    device = layouts.walls.device

    def spanned(one: Tensor, other: Tensor, side: int) -> Tensor:
        place = torch.arange(side, device=device)
        low, high = torch.minimum(one, other)[:, None], torch.maximum(one, other)[:, None]
        return (place >= low) & (place <= high)

    rows = spanned(layouts.start // width, layouts.goal // width, height)
    columns = spanned(layouts.start % width, layouts.goal % width, width)
    return (layouts.walls & rows[:, :, None] & columns[:, None, :]).sum((1, 2))


def walls_within(layouts: Layouts) -> Int[Tensor, " batch"]:
    """Walls of each grid, without the last rows and columns that are nothing but wall.

    So are those that fill up a smaller grid to the size of the largest one of its batch.
    """
    free = ~layouts.walls
    height, width = layouts.walls.shape[1:]

    def last(occupied: Tensor, side: int) -> Tensor:
        return (occupied * torch.arange(1, side + 1, device=occupied.device)).amax(1)

    area = last(free.any(2), height) * last(free.any(1), width)
    return area - free.sum((1, 2))
