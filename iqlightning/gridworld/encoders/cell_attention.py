"""Attention over cells with relative positions, the same layer again and again."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from iqlightning.gridworld.encoders.planes import shifted
from iqlightning.gridworld.encoders.planning_encoder import PlanningEncoder
from iqlightning.gridworld.encoders.portable import repeat
from iqlightning.gridworld.encoders.propagation import CLOSED, carrying_weight
from iqlightning.gridworld.game.rules import STEPS

__all__ = ["CellAttention"]

# Row and column offset of the cells that a cell attends to: itself, above, right, below, left.
_POSITIONS = ((0, 0), *STEPS)


class CellAttention(PlanningEncoder):
    r"""Each cell attends to itself and its four neighbours, repeatedly and with shared weights.

    With x the planes of a cell, one head a channel c, and the sum over relative positions o with i + o free::

        z_i      = K x_i + k
        w_ioc    = softmax_o(beta_c h_i+o,c + b_oc)               content and relative position
        h_i     <- relu(z_i + A sum_o w_io h_i+o + B h_i)

    A head's keys are its values: as beta grows, attention selects the best neighbour. Relative positions alone enter,
    so it plays grids of any size and any ratio of sides; attention over all cells would cost the square of their number
    and has to learn anew what is next to what.

    Args:
        observation_shape: (3, H, W).
        channels: C, the number of heads.
        iterations: applications of the layer; None for height + width.
        hidden: width of the features of each action.
    """

    def __init__(
        self, observation_shape: tuple[int, ...], channels: int = 16, iterations: int | None = None, hidden: int = 64
    ) -> None:
        super().__init__(observation_shape, channels, hidden, iterations)
        self.stem = nn.Conv2d(3, channels, 1)
        self.sharpness = nn.Parameter(torch.full((channels, 1, 1), 8.0))
        self.position = nn.Parameter(torch.zeros(len(_POSITIONS), channels, 1, 1))
        self.weight = carrying_weight(channels)

    def plan(self, x: Float[Tensor, "grids 3 height width"]) -> Float[Tensor, "grids channels height width"]:
        """The maps after the last iteration."""
        height, width = x.shape[-2:]
        is_wall = x[:, :1] > 0.5  # observations may be noisy
        barred = F.pad(is_wall.to(x.dtype), (1, 1, 1, 1), value=1.0) * CLOSED
        bias = torch.stack(
            [shifted(barred, o, height, width) + b for o, b in zip(_POSITIONS, self.position, strict=True)]
        )
        z = self.stem(x).masked_fill(is_wall, CLOSED)
        weight = self.weight[:, :, None, None]

        def iterate(h: Tensor) -> Tensor:
            padded = F.pad(h, (1, 1, 1, 1))
            near = torch.stack([shifted(padded, o, height, width) for o in _POSITIONS])
            attended = (torch.softmax(self.sharpness * near + bias, dim=0) * near).sum(0)
            return F.relu(z + F.conv2d(torch.cat([attended, h], dim=1), weight))

        return repeat(iterate, F.relu(z), self.times(x))
