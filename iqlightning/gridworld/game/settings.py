"""What a GridWorld is made of: its level, size, walls and limits, checked when it is built."""

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from gymnasium import spaces

from iqlightning.errors import UserError, unknown
from iqlightning.gridworld.game.families import FAMILIES, free_cells, smallest_side
from iqlightning.gridworld.game.rules import ACTIONS
from iqlightning.spaces import Spaces

__all__ = ["DEFAULT_WALLS", "LEVELS", "SIZES", "GridWorldSettings"]

#: Level to (random walls, random goal). The start is random on all of them unless ``random_start`` is off.
LEVELS: dict[str, tuple[bool, bool]] = {
    "static": (False, False),
    "random_walls": (True, False),
    "random_goal": (False, True),
    "random_everything": (True, True),
}

#: Smallest and largest height and width.
SIZES = (2, 64)

#: Walls where neither a number nor a density is asked for (fewer on grids too small for them): the study's.
DEFAULT_WALLS = 5

_Settings = TypeVar("_Settings", bound="GridWorldSettings")


@dataclass(frozen=True)
class GridWorldSettings:
    """A GridWorld: a player walks to a goal around walls, four moves, one step at a time.

    Cells are (row, column) with row 0 on top; a flat cell is ``row * width + column``. Actions are 0 up, 1 right, 2
    down, 3 left; a move into a wall or over the edge leaves the player in place and costs a move. An observation is
    uint8 (3, height, width), planes of 0 and 1: walls, player, goal. The reward is +10 on the move that reaches the
    goal, -1 on any other. An episode terminates at the goal and is truncated after ``move_limit`` moves. Every grid is
    solvable.

    Attributes:
        level: ``static`` (one fixed arrangement of walls, goal bottom right), ``random_walls`` (goal bottom right),
            ``random_goal`` (the fixed walls, goal anywhere connected) or ``random_everything``.
        height: rows, 2 to 64.
        width: columns, 2 to 64.
        num_walls: the exact number of walls; or
        wall_density: the share of all cells that are walls, rounded to a whole number. Neither: 5 walls.
        random_start: a random free cell instead of the top-left corner.
        max_moves: moves before an episode is cut off; None means height x width.
        layout: ``random`` (walls anywhere), ``maze`` (a random spanning tree; of a side of even length the last row or
            column is wall) or ``rooms`` (with one door between neighbours). The number of walls of a maze and of rooms
            is given by the size, and their level is ``random_everything``.
        min_size: if given, episodes differ in size: from ``min_size`` on both sides up to ``height`` x ``width``, all
            sizes between equally often. A smaller grid lies in the top-left corner of the largest, with walls around,
            and has its own number of walls, by ``wall_density`` for instance. None: all are ``height`` x ``width``.
        max_size: with ``min_size``, the longer side of the largest grids; None means that of ``height`` x ``width``.

    Raises:
        UserError: if a value is out of range or no such grid can exist.
    """

    level: str = "random_everything"
    height: int = 10
    width: int = 10
    num_walls: int | None = None
    wall_density: float | None = None
    random_start: bool = True
    max_moves: int | None = None
    layout: str = "random"
    min_size: int | None = None
    max_size: int | None = None

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise unknown("level", self.level, LEVELS)
        for side, size in (("height", self.height), ("width", self.width)):
            if not isinstance(size, int) or not SIZES[0] <= size <= SIZES[1]:
                raise UserError(f"{side} must be a whole number between {SIZES[0]} and {SIZES[1]}, not {size}")
        self._check_layout()
        if self.num_walls is not None and self.wall_density is not None:
            raise UserError(
                f"num_walls ({self.num_walls}) and wall_density ({self.wall_density}) exclude each other; give one"
            )
        if self.wall_density is not None and not 0.0 <= self.wall_density < 1.0:
            raise UserError(f"wall_density must be at least 0 and below 1, not {self.wall_density}")
        if self.wall_count < 0 or self.wall_count > self.max_walls:
            raise UserError(
                f"{self.wall_count} walls do not fit on a solvable {self.height}x{self.width} grid of level "
                f"'{self.level}'; valid: 0 to {self.max_walls}"
            )
        if self.max_moves is not None and self.max_moves < 1:
            raise UserError(f"max_moves must be at least 1, not {self.max_moves}")
        if self.min_size is not None:
            smallest = min(self.height, self.width)
            if not isinstance(self.min_size, int) or not SIZES[0] <= self.min_size <= smallest:
                raise UserError(f"min_size must be a whole number from {SIZES[0]} to {smallest}, not {self.min_size}")
            largest = max(self.height, self.width)
            if self.max_size is not None and not self.min_size <= self.max_size <= largest:
                raise UserError(f"max_size must be from min_size {self.min_size} to {largest}, not {self.max_size}")
            self.of_size(self.min_size, self.min_size)  # complains if the walls do not fit on the smallest grid
        elif self.max_size is not None:
            raise UserError(f"max_size {self.max_size} is the upper end of a range of sizes: give min_size as well")

    def _check_layout(self) -> None:
        if self.layout not in FAMILIES:
            raise unknown("layout", self.layout, FAMILIES)
        if self.layout == "random":
            return
        if self.level != "random_everything":
            raise UserError(f"layout '{self.layout}' has random walls and goals: its level is random_everything only")
        if self.num_walls is not None or self.wall_density is not None:
            raise UserError(
                f"the number of walls of layout '{self.layout}' is given by the size; "
                "leave out num_walls and wall_density, or take layout 'random'"
            )
        if min(self.height, self.width) < smallest_side(self.layout):
            raise UserError(
                f"layout '{self.layout}' needs sides of at least {smallest_side(self.layout)}, "
                f"not {self.height}x{self.width}"
            )

    @staticmethod
    def level_of(random_walls: bool, random_goal: bool) -> str:
        """The level with these two settings."""
        return next(level for level, flags in LEVELS.items() if flags == (random_walls, random_goal))

    def of_size(self: _Settings, height: int, width: int) -> _Settings:
        """The same with grids of one size."""
        return replace(self, height=height, width=width, min_size=None, max_size=None)

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """(height, width) of the grids that episodes are played on, from the smallest to the largest."""
        if self.min_size is None:
            return ((self.height, self.width),)
        more = max(self.height, self.width) - self.min_size
        growth = [step / more for step in range(more + 1)] if more else [1.0]
        sides = (self.height - self.min_size, self.width - self.min_size)
        sizes = [(self.min_size + round(g * sides[0]), self.min_size + round(g * sides[1])) for g in growth]
        return tuple(size for size in sizes if max(size) <= (self.max_size or max(size)))

    @property
    def random_walls(self) -> bool:
        """Whether walls differ from episode to episode."""
        return LEVELS[self.level][0]

    @property
    def random_goal(self) -> bool:
        """Whether the goal differs from episode to episode; otherwise it is bottom right."""
        return LEVELS[self.level][1]

    @property
    def num_cells(self) -> int:
        """Height x width."""
        return self.height * self.width

    @property
    def max_walls(self) -> int:
        """The largest number of walls that leaves a solvable grid.

        Two free neighbours are enough where start or goal can be anywhere; a shortest way from corner to corner has to
        stay free where both corners are given (always so for the fixed arrangement of walls).
        """
        corner_to_corner = not self.random_walls or not (self.random_start or self.random_goal)
        return self.num_cells - (self.height + self.width - 1 if corner_to_corner else 2)

    @property
    def wall_count(self) -> int:
        """The exact number of walls of every grid (of the largest ones, where sizes differ)."""
        if self.layout != "random":
            return self.num_cells - free_cells(self.layout, self.height, self.width)
        if self.num_walls is not None:
            return self.num_walls
        if self.wall_density is not None:
            return round(self.wall_density * self.num_cells)
        return min(DEFAULT_WALLS, self.max_walls)

    @property
    def move_limit(self) -> int:
        """Moves before an episode is cut off."""
        return self.num_cells if self.max_moves is None else self.max_moves

    @property
    def spaces(self) -> Spaces:
        """Planes (3, height, width) of zeros and ones; up, right, down, left."""
        return Spaces(spaces.Box(0, 1, (3, self.height, self.width), np.uint8), spaces.Discrete(len(ACTIONS)))
