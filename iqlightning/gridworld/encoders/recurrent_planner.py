"""A gated recurrent convolution over the grid that knows four directions, run for as long as the grid is large."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from iqlightning.gridworld.encoders.four_directions import DIRECTIONS, directed_kernel, facing
from iqlightning.gridworld.encoders.planning_encoder import PlanningEncoder
from iqlightning.gridworld.encoders.portable import repeat

__all__ = ["RecurrentPlanner"]


class RecurrentPlanner(PlanningEncoder):
    r"""A convolutional gated unit, the same at every iteration, that is shown the grid anew each time.

    With x the planes of the grid, and C channels h^d for each of four directions d::

        m     = max over d of h^d
        u, c  = split(K^d * m + X^d * x)                3x3; X * x is the recall of the grid
        h^d  <- h^d + sigmoid(u) (tanh(c) - h^d)        h = 0 at first

    It is the gated path planning network of Lee et al. 2018 (arXiv 1806.06408, section 3) with a minimal gated unit
    (Zhou et al. 2016, arXiv 1603.09420) in the place of the LSTM, and with the recall that lets a network think longer
    than it was trained to (Bansal et al. 2022, arXiv 2202.05826). Its gates can hold on to what a cell has found out.
    Unlike GridCNN it is told nothing about walls, and unlike a value iteration network it passes on more than a number.

    Kernels turn with the direction they are for (:mod:`.four_directions`), so that "the goal
    is that way" is learned for all four at once; the features of an action are those of its direction. It plays grids
    of any size.

    Args:
        observation_shape: (3, H, W).
        channels: C.
        iterations: applications of the unit; None for height + width.
        hidden: width of the features of each action.
    """

    def __init__(
        self, observation_shape: tuple[int, ...], channels: int = 8, iterations: int | None = None, hidden: int = 64
    ) -> None:
        super().__init__(observation_shape, channels, hidden, iterations)
        self.channels = channels
        # gates first, then candidates
        self.kernel = nn.Parameter(torch.empty(2, channels, channels, 3, 3))
        self.recall = nn.Parameter(torch.empty(2, channels, 3, 3, 3))
        self.bias = nn.Parameter(torch.zeros(2, channels))
        nn.init.normal_(self.kernel, std=0.3 * (9 * channels) ** -0.5)
        nn.init.normal_(self.recall, std=27**-0.5)
        with torch.no_grad():
            # What a neighbour says has to survive one iteration for each cell of a path: candidates begin as what the
            # neighbour ahead holds, turned, and the gates begin open.
            nn.init.orthogonal_(ahead := torch.empty(channels, channels))
            self.kernel[1, :, :, 0, 1] += ahead
            self.bias[0] = 2.0

    def plan(self, x: Float[Tensor, "grids 3 height width"]) -> Float[Tensor, "grids channels height width"]:
        """The state after the last iteration."""
        kernel, recall = (torch.cat([directed_kernel(each) for each in part]) for part in (self.kernel, self.recall))
        z = F.conv2d(x, recall, self.bias[:, None].expand(-1, DIRECTIONS, -1).flatten(), padding=1)
        update, candidate = z.chunk(2, dim=1)

        def iterate(h: Tensor) -> Tensor:
            best = h.unflatten(1, (DIRECTIONS, self.channels)).amax(1)
            update, candidate = (z + F.conv2d(best, kernel, padding=1)).chunk(2, dim=1)
            return torch.lerp(h, torch.tanh(candidate), torch.sigmoid(update))

        begin = torch.sigmoid(update) * torch.tanh(candidate)
        return repeat(iterate, begin, self.times(x))

    def facing(self, cells: Float[Tensor, "batch 4 held"]) -> Float[Tensor, "batch 4 read"]:
        """The channels of the action's own direction."""
        return facing(cells, self.channels)
