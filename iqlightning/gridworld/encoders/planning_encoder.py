"""What encoders that plan share: one map of the whole grid, read out where the player is and kept while it moves."""

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from iqlightning.gridworld.encoders.plan_memory import PlanMemory
from iqlightning.gridworld.encoders.planes import require_grid
from iqlightning.gridworld.encoders.portable import player_cell
from iqlightning.gridworld.game.rules import cell_steps
from iqlightning.gridworld.game.settings import SIZES
from iqlightning.nets.encoders.encoder import Encoder

__all__ = ["PlanningEncoder"]

_READ_PLANES = 3  # walls, goal, inside


class PlanningEncoder(Encoder):
    """A map h of the grid without the player, and features of each action from the cells it leads from and to.

    With x the planes walls, goal and inside, p the player's cell and p(a) the cell that action a points at::

        h       = plan(x)                                         (G, C, H, W), once for each distinct grid
        f(s, a) = relu(M [h_p; x_p; h_p(a); x_p(a)] + m)          (hidden,), M shared by the actions

    Outside of the grid h and x are zero. All positions of a grid share one plan, so a batch of whole episodes pays for
    one a grid. A subclass is a network for :meth:`plan`; it may be of any size if its plan is.

    Args:
        observation_shape: (3, H, W).
        channels: C, as far as an action reads them (:meth:`facing`).
        hidden: width of the features of each action.
        iterations: of a plan that repeats one layer; None for height + width of the grid at hand.

    Shapes:
        observations (B, 3, H, W) to features (B, 4, hidden).
    """

    shares_work = True  # s and s' lie on one grid
    sides = SIZES
    reads_planes = True

    def __init__(
        self, observation_shape: tuple[int, ...], channels: int, hidden: int, iterations: int | None = None
    ) -> None:
        super().__init__()
        require_grid(self, observation_shape)
        self.iterations = iterations
        self.readout = nn.Linear(2 * (channels + _READ_PLANES), hidden)
        self.feature_shape = (4, hidden)
        self._memory = PlanMemory()

    @abstractmethod
    def plan(self, x: Float[Tensor, "grids 3 height width"]) -> Float[Tensor, "grids channels height width"]:
        """Planes walls, goal and inside of distinct grids to their maps."""

    def forward(self, observations: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 4 hidden"]:
        """Features of the four actions at the player's cell."""
        width = observations.shape[-1]
        row, column = player_cell(observations[:, 1])
        plans, which = self._memory.plans(
            observations[:, ::2], self.parameters(), self._bordered_plan, keep=not self.training
        )
        stride = width + 2
        here = (row + 1) * stride + column + 1
        there = torch.stack([here + step for step in cell_steps(stride)], dim=1)
        own = plans[which, here][:, None].expand(-1, 4, -1)
        read = torch.cat([self.facing(own), self.facing(plans[which[:, None], there])], dim=-1)
        return F.relu(self.readout(read))

    def times(self, x: Float[Tensor, "grids 3 height width"]) -> int | torch.SymInt:
        """How often the layer is applied to these grids."""
        return self.iterations or x.shape[-2] + x.shape[-1]

    def facing(self, cells: Float[Tensor, "batch 4 held"]) -> Float[Tensor, "batch 4 read"]:
        """What each action reads of [h; x] of a cell: all of it, unless the map holds something for each direction."""
        return cells

    def _bordered_plan(self, planes: Tensor) -> Tensor:
        """Planes walls and goal to [h; x] of every cell and a border of zeros, (G, (H + 2) (W + 2), C + 3)."""
        x = torch.cat([planes, torch.ones_like(planes[:, :1])], dim=1)
        return F.pad(torch.cat([self.plan(x), x], dim=1), (1, 1, 1, 1)).flatten(2).transpose(1, 2)
