"""Pictures of a grid in the study's colours, and as text."""

import numpy as np
from jaxtyping import Shaped, UInt8
from torch import Tensor

from iqlightning.gridworld.game.palette import FLOOR, GOAL, LINE, PLAYER, WALL, rgb

__all__ = ["render_ansi", "render_rgb"]


def render_rgb(
    walls: Shaped[np.ndarray | Tensor, "height width"], player: int, goal: int, cell_pixels: int = 32
) -> UInt8[np.ndarray, "rows columns 3"]:
    """(H * cell_pixels, W * cell_pixels, 3) uint8: one grid, the player (a disc) and the goal (a square) at flat cells.

    Both can be seen where the player has reached the goal. Below 8 pixels a cell there is no room for lines.
    """
    blocked = np.asarray(walls).astype(bool)
    width = blocked.shape[1]
    cells = np.where(blocked[..., None], rgb(WALL), rgb(FLOOR)).astype(np.uint8)
    picture = cells.repeat(cell_pixels, 0).repeat(cell_pixels, 1)
    if cell_pixels >= 8:
        picture[::cell_pixels] = rgb(LINE)
        picture[:, ::cell_pixels] = rgb(LINE)
    margin = cell_pixels // 8
    inset = slice(margin, cell_pixels - margin)
    _cell(picture, goal, width, cell_pixels)[inset, inset] = rgb(GOAL)
    offset = np.arange(cell_pixels) - (cell_pixels - 1) / 2
    disc = offset[:, None] ** 2 + offset**2 <= (0.3 * cell_pixels) ** 2
    if cell_pixels < 4:
        disc[:] = True
    _cell(picture, player, width, cell_pixels)[disc] = rgb(PLAYER)
    return picture


def _cell(picture: np.ndarray, cell: int, width: int, pixels: int) -> np.ndarray:
    """The part of the picture that shows a flat cell."""
    row, column = divmod(int(cell), width)
    return picture[row * pixels : (row + 1) * pixels, column * pixels : (column + 1) * pixels]


def render_ansi(walls: Shaped[np.ndarray | Tensor, "height width"], player: int, goal: int) -> str:
    """One character a cell: ``#`` wall, ``.`` floor, ``P`` player, ``G`` goal, ``*`` the player at the goal."""
    cells = np.where(np.asarray(walls).astype(bool), "#", ".")
    cells.flat[int(goal)] = "G"
    cells.flat[int(player)] = "*" if int(player) == int(goal) else "P"
    return "\n".join("".join(row) for row in cells) + "\n"
