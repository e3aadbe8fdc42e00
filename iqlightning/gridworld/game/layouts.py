"""Drawing grids: walls, start and goal as a pure function of configuration, seed, episode and split.

Whatever cannot be solved, or belongs to another split, is drawn anew under the next attempt's keys, the pending grids
only. The accepted grid is thus uniform among the acceptable ones, and the same alone, in any batch and on any device.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from iqlightning.errors import unknown
from iqlightning.gridworld.game import bitboards
from iqlightning.gridworld.game.families import family_walls
from iqlightning.gridworld.game.planning import manhattan_distance
from iqlightning.gridworld.game.settings import GridWorldSettings
from iqlightning.keyed import Stream, hash_keys, integers, uniform

__all__ = ["SPLITS", "Layouts", "draw_layouts", "splits_are_disjoint", "static_walls"]

#: Which of eight equal shares of all grids belong to a split. ``any`` takes every grid.
SPLITS: dict[str, tuple[int, ...]] = {
    "any": (0, 1, 2, 3, 4, 5, 6, 7),
    "test": (0, 1),
    "validation": (2,),
    "train": (3, 4, 5, 6, 7),
}
_SHARES = 8

# Unsolvable draws of a grid before a way from start to goal is kept free of walls.
_PATIENCE = 32

# More rounds than any grid needs: no share that is asked for is rarer than one in sixteen.
_ROUNDS = 4096

# Up to here walls are picked one after the other; beyond, by the smallest of one number a cell.
_FEW_WALLS = 16

# Keys of the numbers that one attempt draws: goal, start, and from there on the walls.
_GOAL_KEY, _START_KEY, _WALL_KEY = 0, 1, 2

# In the place of the attempt's number, for what all attempts of an episode share: its size.
_SIZE = -1


class Layouts(NamedTuple):
    """B grids before the first move.

    Attributes:
        walls: (B, H, W) bool.
        start: (B,) int64, flat cell of the player.
        goal: (B,) int64, flat cell.
    """

    walls: Bool[Tensor, "batch height width"]
    start: Int[Tensor, " batch"]
    goal: Int[Tensor, " batch"]

    def select(self, indices: Tensor | slice) -> "Layouts":
        """The chosen grids (indices, mask or slice), in that order."""
        return Layouts(self.walls[indices], self.start[indices], self.goal[indices])

    def to(self, device: str | torch.device) -> "Layouts":
        """The same grids on another device."""
        return Layouts(self.walls.to(device), self.start.to(device), self.goal.to(device))

    @staticmethod
    def concatenate(parts: Iterable["Layouts"]) -> "Layouts":
        """One after the other."""
        return Layouts(*(torch.cat(column) for column in zip(*parts, strict=True)))


def draw_layouts(
    config: GridWorldSettings,
    seeds: Int[Tensor, " batch"],
    episodes: Int[Tensor, " batch"],
    split: str = "any",
    device: str | torch.device = "cpu",
) -> Layouts:
    """The grids of these episodes of these seeds.

    The start is uniform over the free cells from which the goal can be reached (or the top-left corner), a random goal
    uniform over all cells, random walls uniform over the sets of exactly ``config.wall_count`` other cells, all of it
    given that the grid is solvable and belongs to the split.

    The splits ``train``, ``validation`` and ``test`` share no grid, as far as :func:`splits_are_disjoint`; ``any``
    takes all. The grids do not depend on the device.

    Raises:
        UserError: if there is no such split.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    device = torch.device(device)
    seeds, episodes = seeds.to(device), episodes.to(device)
    if config.min_size is not None:
        return _draw_sizes(config, seeds, episodes, split)
    shares = SPLITS[split if split == "any" or splits_are_disjoint(config) else "any"]
    return _draw_until_accepted(config, seeds, episodes, shares)


@lru_cache(maxsize=256)
def splits_are_disjoint(config: GridWorldSettings) -> bool:
    """Whether there are enough different grids to keep some apart for validation and test.

    A split is decided by a hash of what varies: walls and goal, or the start where these two are fixed. Tiny grids, and
    a fixed level with a fixed start, offer so few that a split could be empty; then all splits draw from the same
    grids.
    """
    if config.min_size is not None:
        return all(splits_are_disjoint(config.of_size(*size)) for size in config.sizes)
    sample = torch.arange(1024)
    layouts = _draw_until_accepted(config, torch.zeros_like(sample), sample, SPLITS["any"])
    deciding = layouts.goal if _arrangement_varies(config) else layouts.start
    shares = torch.bincount(_share(config, bitboards.pack(layouts.walls), deciding), minlength=_SHARES)
    rarest = min(int(shares[list(SPLITS[split])].sum()) for split in ("train", "validation", "test"))
    return rarest >= len(sample) // (2 * _SHARES)


@lru_cache(maxsize=64)
def static_walls(config: GridWorldSettings) -> Bool[Tensor, "height width"]:
    """The one arrangement of walls of the fixed levels: the same for every seed, corner connected with corner."""
    free = GridWorldSettings(
        "random_walls", config.height, config.width, num_walls=config.wall_count, random_start=False
    )
    for attempt in range(_PATIENCE + 1):
        base = hash_keys(Stream.STATIC_WALLS, torch.zeros(1, dtype=torch.int64), attempt)
        rows, goal = _arrange(free, base, keep_way=attempt == _PATIENCE)
        if _place_start(free, base, rows, goal)[1]:
            return bitboards.unpack(rows, config.width)[0]
    raise AssertionError("a way that is kept free can be walked")


def _draw_sizes(config: GridWorldSettings, seeds: Tensor, episodes: Tensor, split: str) -> Layouts:
    """Grids of several sizes, each the one that a configuration of its size alone has, in the largest one's corner."""
    batch, device = seeds.shape[0], seeds.device
    walls = torch.ones((batch, config.height, config.width), dtype=torch.bool, device=device)
    start, goal = torch.zeros_like(seeds), torch.zeros_like(seeds)
    which = integers(hash_keys(Stream.LAYOUT, seeds, episodes, _SIZE), bound=len(config.sizes))
    for index, (height, width) in enumerate(config.sizes):
        chosen = (which == index).nonzero().squeeze(1)
        if len(chosen):
            drawn = draw_layouts(config.of_size(height, width), seeds[chosen], episodes[chosen], split, device)
            walls[chosen, :height, :width] = drawn.walls
            start[chosen] = drawn.start // width * config.width + drawn.start % width
            goal[chosen] = drawn.goal // width * config.width + drawn.goal % width
    return Layouts(walls, start, goal)


def _draw_until_accepted(
    config: GridWorldSettings, seeds: Tensor, episodes: Tensor, shares: tuple[int, ...]
) -> Layouts:
    """Draws pending grids, attempt by attempt, until they lie in one of the shares and can be solved."""
    batch, device = seeds.shape[0], seeds.device
    start, goal = torch.empty_like(seeds), torch.empty_like(seeds)
    rows = torch.empty((batch, config.height), dtype=bitboards.row_dtype(config.width), device=device)
    attempts, failures = torch.zeros_like(seeds), torch.zeros_like(seeds)
    pending = torch.arange(batch, device=device)
    for rounds in range(_ROUNDS):
        if not len(pending):
            return Layouts(bitboards.unpack(rows, config.width), start, goal)
        stuck = failures[pending] >= _PATIENCE
        groups = ((pending[~stuck], False), (pending[stuck], True)) if rounds >= _PATIENCE else ((pending, False),)
        rest = []
        for part, keep_way in groups:
            if len(shares) < _SHARES:
                # The fewer grids are left, the more of their attempts are looked at in one round.
                ahead = max(_SHARES // len(shares), min(max(batch, 64) // max(len(part), 1), 32))
                tries = attempts[part].unsqueeze(1) + torch.arange(ahead, device=device)
                base = hash_keys(Stream.LAYOUT, seeds[part].unsqueeze(1), episodes[part].unsqueeze(1), tries)
                in_share, first = _in_shares(config, base, keep_way, shares).max(1)
                attempts[part] += torch.where(in_share, first + 1, ahead)
                rest.append(part[~in_share])
                part, base = part[in_share], base.gather(1, first.unsqueeze(1)).squeeze(1)[in_share]
            else:
                base = hash_keys(Stream.LAYOUT, seeds[part], episodes[part], attempts[part])
                attempts[part] += 1
            arranged, aim = _arrange(config, base, keep_way)
            begin, solvable = _place_start(config, base, arranged, aim)
            # those that cannot be solved are drawn anew, and written over
            rows[part], start[part], goal[part] = arranged, begin, aim
            if not solvable.all():
                unsolved = part[~solvable]
                failures[unsolved] += 1
                rest.append(unsolved)
        pending = torch.cat(rest) if rest else pending[:0]
    raise AssertionError(f"no grid of {config} was acceptable in {_ROUNDS} rounds")


def _in_shares(config: GridWorldSettings, base: Tensor, keep_way: bool, shares: tuple[int, ...]) -> Tensor:
    """(B, attempts) bool: which attempts of each grid, by their keys, lie in one of the shares."""
    keys = base.flatten()
    rows, goal = _arrange(config, keys, keep_way)
    deciding = goal if _arrangement_varies(config) else _place_start(config, keys, rows, goal)[0]
    wanted = torch.isin(torch.arange(_SHARES), torch.tensor(shares)).to(base.device)
    return wanted[_share(config, rows, deciding)].view_as(base)


def _arrangement_varies(config: GridWorldSettings) -> bool:
    """Whether walls or goal differ between grids, so that they can decide the split; else the start has to."""
    return config.random_goal or (config.random_walls and config.wall_count > 0)


def _share(config: GridWorldSettings, rows: Tensor, cell: Tensor) -> Tensor:
    """Which of the eight shares a grid belongs to, by its walls and one cell: the goal, or else the start.

    For any walls the cells fall into equal shares, which matters where there is little else to tell grids apart; which
    share is which depends on a multilinear hash of the walls.
    """
    of_cell, factors = _share_tables(config, rows.device)
    of_walls = hash_keys(Stream.SPLIT, (rows.to(torch.int64) * factors).sum(1))
    return (of_walls + of_cell[cell]) & (_SHARES - 1)


@lru_cache(maxsize=64)
def _share_tables(
    config: GridWorldSettings, device: torch.device
) -> tuple[Int[Tensor, " cells"], Int[Tensor, " height"]]:
    """What a cell adds to the share of its grid, and the odd factors of the rows in the hash of the walls."""
    order = hash_keys(Stream.SPLIT, torch.arange(config.num_cells, device=device)).argsort().argsort()
    factors = hash_keys(Stream.SPLIT, config.num_cells + torch.arange(config.height, device=device)) | 1
    return order * _SHARES // config.num_cells, factors


def _arrange(config: GridWorldSettings, base: Tensor, keep_way: bool) -> tuple[Tensor, Tensor]:
    """Walls as bitboards, and the goal; with ``keep_way`` a way to the goal is kept free of random walls."""
    cells = config.num_cells
    if not config.random_walls:
        rows, connected = _static_cells(config, base.device)
        goal = connected[-1:].expand(len(base))
        if config.random_goal:
            first = 0 if config.random_start else 1  # a fixed start is the first of the connected cells
            goal = connected[first + integers(base, _GOAL_KEY, bound=len(connected) - first)]
        return rows.expand(len(base), -1), goal
    if config.layout != "random":
        walls = family_walls(config.layout, base, config.height, config.width)
        first = 0 if config.random_start else 1  # a fixed start is the first of the free cells
        chosen = first + integers(base, _GOAL_KEY, bound=cells - config.wall_count - first)
        free = (~walls).flatten(1).cumsum(1, dtype=torch.int16)
        return bitboards.pack(walls), (free <= chosen.to(torch.int16).unsqueeze(1)).sum(1)
    goal = torch.full_like(base, cells - 1)
    if config.random_goal:
        first = 0 if config.random_start else 1
        goal = first + integers(base, _GOAL_KEY, bound=cells - first)
    if not keep_way and config.wall_count <= _FEW_WALLS:
        return bitboards.single(_few_walls(config, base, goal), config.height, config.width), goal
    way = None
    if keep_way:
        goal, way = _random_way(config, base, goal)
    walls = _many_walls(config, base, goal, way)
    return bitboards.pack(walls.view(-1, config.height, config.width)), goal


def _place_start(config: GridWorldSettings, base: Tensor, rows: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
    """A start from which the goal can be reached, and whether there is one."""
    height, width = config.height, config.width
    if not config.random_walls:
        connected = _static_cells(config, base.device)[1]
        if not config.random_start:
            return torch.zeros_like(base), torch.ones_like(base, dtype=torch.bool)
        chosen = integers(base, _START_KEY, bound=len(connected) - 1)
        chosen += connected[chosen] >= goal
        return connected[chosen], torch.ones_like(base, dtype=torch.bool)
    free = bitboards.full(len(base), height, width, base.device) & ~rows
    reached = bitboards.flood(bitboards.single(goal.unsqueeze(1), height, width), free)
    if not config.random_start:
        start = torch.zeros_like(goal)
        return start, bitboards.has_cell(reached, start, width)
    starts = bitboards.unpack(reached & ~bitboards.single(goal.unsqueeze(1), height, width), width)
    counted = starts.flatten(1).cumsum(1, dtype=torch.int16)
    count = counted[:, -1].to(torch.int64)
    chosen = integers(base, _START_KEY, bound=count)
    # the first cell at which more than `chosen` starts have been counted
    return (counted <= chosen.to(torch.int16).unsqueeze(1)).sum(1).clamp_(max=config.num_cells - 1), count > 0


@lru_cache(maxsize=64)
def _static_cells(config: GridWorldSettings, device: torch.device) -> tuple[Tensor, Tensor]:
    """The fixed walls as (1, H) bitboards, and the cells connected with the top-left corner in ascending order."""
    rows = bitboards.pack(static_walls(config).unsqueeze(0).to(device))
    corner = bitboards.single(torch.zeros((1, 1), dtype=torch.int64, device=device), config.height, config.width)
    reached = bitboards.flood(corner, bitboards.full(1, config.height, config.width, device) & ~rows)
    return rows, bitboards.unpack(reached, config.width).flatten().nonzero().squeeze(1)


def _few_walls(config: GridWorldSettings, base: Tensor, goal: Tensor) -> Tensor:
    """(B, walls) different cells other than the goal (and a fixed start), uniform among such sets.

    Floyd's algorithm (Bentley and Floyd 1987, "A sample of brilliance"): the j-th wall is drawn from one more cell than
    the one before; if it is taken, that newest cell, which cannot be, takes its place.
    """
    corner = 0 if config.random_start else 1
    count, options = config.wall_count, config.num_cells - 1 - corner
    # a wall of all grids is one stretch of memory
    numbers = uniform(base, torch.arange(_WALL_KEY, _WALL_KEY + count, device=base.device).unsqueeze(1))
    chosen = torch.empty((count, len(base)), dtype=torch.int64, device=base.device)
    for j in range(count):
        newest = options - count + j
        drawn = (numbers[j] * (newest + 1)).to(torch.int64)
        taken = (chosen[:j] == drawn).any(0)
        chosen[j] = drawn.masked_fill_(taken, newest)
    chosen += corner
    return chosen.add_(chosen >= goal).t()


def _many_walls(config: GridWorldSettings, base: Tensor, goal: Tensor, way: Tensor | None) -> Tensor:
    """(B, cells) bool: walls at the cells with the smallest numbers, off the goal, the way and a fixed start."""
    count = config.wall_count
    numbers = hash_keys(base.unsqueeze(1), torch.arange(_WALL_KEY, _WALL_KEY + config.num_cells, device=base.device))
    never = torch.iinfo(torch.int64).max
    numbers.scatter_(1, goal.unsqueeze(1), never)
    if not config.random_start:
        numbers[:, 0] = never
    if way is not None:
        numbers.masked_fill_(way, never)
    if count == 0:
        return torch.zeros_like(numbers, dtype=torch.bool)
    return numbers <= numbers.kthvalue(count, 1, keepdim=True).values


def _random_way(config: GridWorldSettings, base: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
    """The goal and (B, cells) bool, a random shortest way to it that leaves room for all walls.

    It comes from the corner where the start is fixed, else from a random cell. With so many walls that not every cell
    is near enough, a random goal, or that cell, is one that is.
    """
    height, width, cells = config.height, config.width, config.num_cells
    longest = cells - config.wall_count - 1
    device = base.device
    every = torch.arange(cells, device=device)
    if config.random_start:
        away = manhattan_distance(every, goal.unsqueeze(1), width)
        numbers = uniform(Stream.PATH, base.unsqueeze(1), every)
        origin = numbers.masked_fill_((away > longest) | (away == 0), 2.0).argmin(1)
    else:
        origin = torch.zeros_like(goal)
        if config.random_goal:
            near = every[1:][(every // width + every % width)[1:] <= longest]
            goal = near[integers(Stream.PATH, base, bound=len(near))]
    row, column = origin // width, origin % width
    way = torch.zeros((len(base), cells), dtype=torch.bool, device=device).scatter_(1, origin.unsqueeze(1), True)
    for step in range(height + width - 2):
        down, across = goal // width - row, goal % width - column
        number = integers(Stream.PATH, base, cells + step, bound=down.abs() + across.abs())
        vertical = number < down.abs()
        row = row + torch.where(vertical, down.sign(), 0)
        column = column + torch.where(vertical, 0, across.sign())
        way.scatter_(1, (row * width + column).unsqueeze(1), True)
    return goal, way
