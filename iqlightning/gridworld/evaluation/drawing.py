"""How a grid is drawn with matplotlib: cells, player, and where they are on a sheet."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_rgba
from matplotlib.patches import Circle

from iqlightning.gridworld.game.palette import FLOOR, GOAL, PLAYER, REWARD_SCALE, VALUE_SCALE, VISIT_SCALE, WALL

__all__ = ["REWARD_COLOURS", "VALUE_COLOURS", "VISIT_COLOURS", "Frame", "draw_cells", "draw_player"]

VALUE_COLOURS: Colormap = LinearSegmentedColormap.from_list("value", VALUE_SCALE)
REWARD_COLOURS: Colormap = LinearSegmentedColormap.from_list("reward", REWARD_SCALE)
VISIT_COLOURS: Colormap = LinearSegmentedColormap.from_list("visits", VISIT_SCALE)


class Frame(NamedTuple):
    """Where a grid is, in the units of its axes, y upwards: its upper left corner and the side of a cell."""

    left: float
    top: float
    side: float = 1.0

    def centre(self, row: np.ndarray | int, column: np.ndarray | int) -> tuple[Any, Any]:
        """(x, y) of the middle of cells."""
        return self.left + (column + 0.5) * self.side, self.top - (row + 0.5) * self.side


def draw_cells(
    axes: Axes,
    frame: Frame,
    walls: Bool[np.ndarray, "height width"],
    goal: int,
    colours: Float[np.ndarray, "height width rgba"] | None = None,
) -> Float[np.ndarray, "height width rgba"]:
    """Draws floor, walls and goal, with thin lines between the cells unless these are many.

    Args:
        axes: what is drawn on; its limits stay as they are.
        frame: where.
        walls: of the grid.
        goal: flat cell.
        colours: of cells other than walls and the goal; None for the floor's.

    Returns:
        The colour of each cell.
    """
    height, width = walls.shape
    cells = np.empty((height, width, 4))
    cells[:] = to_rgba(FLOOR) if colours is None else colours
    cells[walls] = to_rgba(WALL)
    cells[divmod(goal, width)] = to_rgba(GOAL)
    right, bottom = frame.left + width * frame.side, frame.top - height * frame.side
    axes.imshow(cells, interpolation="nearest", extent=(frame.left, right, bottom, frame.top), aspect="auto")
    if max(height, width) <= 40:
        style: dict[str, Any] = {"colors": "white", "linewidths": min(1.0, 12 / max(height, width))}
        axes.hlines(frame.top - frame.side * np.arange(1, height), frame.left, right, **style)
        axes.vlines(frame.left + frame.side * np.arange(1, width), bottom, frame.top, **style)
    return cells


def draw_player(axes: Axes, frame: Frame, cell: int, width: int) -> None:
    """A disc in a flat cell of a grid with so many columns."""
    place = frame.centre(*divmod(cell, width))
    axes.add_patch(Circle(place, 0.3 * frame.side, facecolor=PLAYER, edgecolor="white", linewidth=1.0))
