"""What a cell hears of its neighbours, iteration after iteration: the layer of GridCNN, on grids that are images."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from iqlightning.gridworld.encoders.planes import shifted
from iqlightning.gridworld.encoders.portable import repeat
from iqlightning.gridworld.game.rules import STEPS

__all__ = ["CLOSED", "carrying_weight", "propagate"]

CLOSED = -1e4
"""A pre-activation this low keeps walls at exactly zero."""


def carrying_weight(channels: int) -> nn.Parameter:
    """[A B], (C, 2 C), as such layers begin: A of what the neighbours hold, B of the cell's own.

    What a neighbour says has to survive one iteration for each cell of a path, so A begins close to a rotation; a B as
    large would drown it in the cell's own echo, and some seeds then never learn.
    """
    carry, echo = torch.empty(2, channels, channels)
    nn.init.orthogonal_(carry, gain=0.9)
    nn.init.orthogonal_(echo, gain=0.2)
    return nn.Parameter(torch.cat([carry, echo], dim=1))


def propagate(
    z: Float[Tensor, "grids channels height width"], weight: Float[Tensor, "channels twice"], times: int | torch.SymInt
) -> Float[Tensor, "grids channels height width"]:
    """H <- relu(z + A max_N h + B h), so many times from relu(z) on, N the four neighbours and 0 outside the grid.

    Args:
        z: :data:`CLOSED` on walls.
        weight: [A B].
        times: iterations; a symbol becomes a loop in an exported program.
    """
    height, width = z.shape[-2:]
    kernel = weight[:, :, None, None]

    def iterate(h: Tensor) -> Tensor:
        padded = F.pad(h, (1, 1, 1, 1))
        up, right, down, left = STEPS
        vertical = torch.maximum(shifted(padded, up, height, width), shifted(padded, down, height, width))
        horizontal = torch.maximum(shifted(padded, left, height, width), shifted(padded, right, height, width))
        return F.relu(z + F.conv2d(torch.cat([torch.maximum(vertical, horizontal), h], dim=1), kernel))

    return repeat(iterate, F.relu(z), times)
