"""What encoders of GridWorld's planes have in common: what they can read, and what lies beside each cell."""

from jaxtyping import Shaped
from torch import Tensor
from torch.nn import functional as F

from iqlightning.errors import UserError
from iqlightning.gridworld.game.rules import STEPS
from iqlightning.nets.encoders.encoder import Encoder

__all__ = ["neighbours", "require_grid", "shifted"]

_GRID_PLANES = 3  # walls, player, goal


def require_grid(encoder: Encoder, observation_shape: tuple[int, ...]) -> None:
    """For encoders that read a grid, before they are built.

    Raises:
        UserError: if observations are of another shape than (3, height, width).
    """
    if len(observation_shape) != 3 or observation_shape[0] != _GRID_PLANES:
        raise UserError(
            f"{type(encoder).__name__} reads the planes walls, player and goal, shape (3, height, width), not "
            f"{tuple(observation_shape)}; for other grids take SmallCNN, for vectors MLP"
        )


def shifted(
    padded: Shaped[Tensor, "batch channels padded_height padded_width"],
    step: tuple[int, int],
    height: int,
    width: int,
) -> Shaped[Tensor, "batch channels height width"]:
    """What lies a step of (rows, columns) from each cell, of maps with a border of one cell."""
    row, column = 1 + step[0], 1 + step[1]
    return padded[:, :, row : row + height, column : column + width]


def neighbours(
    cells: Shaped[Tensor, "batch channels height width"], outside: float = 0.0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What lies above, right of, below and left of each cell, in the order of the actions.

    Args:
        cells: maps.
        outside: what lies beyond the edge.
    """
    height, width = cells.shape[2:]
    padded = F.pad(cells, (1, 1, 1, 1), value=outside)
    up, right, down, left = (shifted(padded, step, height, width) for step in STEPS)
    return up, right, down, left
