"""Two maps of one grid: a coarse one on which far is near, and a fine one that it guides."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from iqlightning.gridworld.encoders.planning_encoder import PlanningEncoder
from iqlightning.gridworld.encoders.propagation import CLOSED, carrying_weight, propagate
from iqlightning.gridworld.game.settings import SIZES

__all__ = ["HierarchicalPlanner"]


class HierarchicalPlanner(PlanningEncoder):
    r"""The iteration of GridCNN on blocks of cells first, then on the cells themselves, told what the blocks found.

    With S x S cells a block, N the four neighbours, and maxima taken element by element::

        y     = relu(mean and maximum of x over each block, mapped by a 1x1 convolution)
        g    <- relu(y + A' max_N g + B' g)                    (H + W) / S times, on blocks
        z     = K x + G g of the block around the cell
        h    <- relu(z + A max_N h + B h), 0 on walls          ``fine`` times, on cells

    The coarse map knows roughly how far the goal is in (H + W) / S iterations; the fine one needs only as many as a
    detour around what the blocks cannot show. It plays grids of any size; a grid that is no multiple of S is filled up.
    An exported program plays those of more than one block, from S + 1 cells a side on.

    Args:
        observation_shape: (3, H, W).
        channels: C, of both maps.
        block: S.
        fine: iterations on cells; None for height + width, which makes the coarse map a mere help.
        hidden: width of the features of each action.
    """

    def __init__(
        self,
        observation_shape: tuple[int, ...],
        channels: int = 16,
        block: int = 2,
        fine: int | None = 16,
        hidden: int = 64,
    ) -> None:
        super().__init__(observation_shape, channels, hidden, iterations=fine)
        self.block = block
        # an exported program cannot have a number of blocks that is one in some calls only
        self.sides = (max(SIZES[0], block + 1), SIZES[1])
        self.coarse_stem = nn.Conv2d(6, channels, 1)
        self.stem = nn.Conv2d(3, channels, 1)
        self.guide = nn.Conv2d(channels, channels, 1, bias=False)
        self.coarse_weight, self.weight = (carrying_weight(channels) for _ in range(2))

    def plan(self, x: Float[Tensor, "grids 3 height width"]) -> Float[Tensor, "grids channels height width"]:
        """The fine maps after the last iteration."""
        height, width = x.shape[-2:]
        # Filled up by one cell less than a block, of which pooling leaves out what makes no whole one: nothing here
        # depends on whether a side is a multiple of S, and a program of any size can be exported.
        whole = F.pad(x, (0, self.block - 1, 0, self.block - 1))
        blocks = torch.cat([F.avg_pool2d(whole, self.block), F.max_pool2d(whole, self.block)], dim=1)
        g = propagate(self.coarse_stem(blocks), self.coarse_weight, sum(blocks.shape[-2:]))
        row, column = (torch.arange(side, device=x.device) // self.block for side in (height, width))
        guide = self.guide(g).index_select(2, row).index_select(3, column)
        z = (self.stem(x) + guide).masked_fill(x[:, :1] > 0.5, CLOSED)
        return propagate(z, self.weight, self.times(x))
