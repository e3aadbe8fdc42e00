"""The value iteration network of Tamar et al. 2016 (arXiv 1602.02867), read out at the player."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from iqlightning.gridworld.encoders.four_directions import directed_kernel, facing, scalar_kernel
from iqlightning.gridworld.encoders.planning_encoder import PlanningEncoder
from iqlightning.gridworld.encoders.portable import repeat

__all__ = ["ValueIterationNetwork"]


class ValueIterationNetwork(PlanningEncoder):
    r"""Value iteration as a recurrent convolution with a maximum over channels (eq. 3 and section 4 of the paper).

    With r a reward map made of the grid, and one channel of q for each abstract action::

        r     = w * relu(W x + b)          3x3, then 1x1
        q^k   = [W_r W_v] * [r; v^k-1]     3x3, the same at every iteration; v^0 = 0
        v^k   = max over channels of q^k
        h     = [q^K; v^K]

    The paper reads q at the player; here the cell ahead is read as well. ``symmetric`` ties the kernels: there are
    ``actions`` abstract actions for each of the four directions, whose kernels are turned versions of each other, and
    what makes the reward is the same from all sides (Zhao et al. 2022, arXiv 2206.03674). It plays grids of any size:
    each iteration carries values one cell further.

    Args:
        observation_shape: (3, H, W).
        actions: abstract actions, for each direction if ``symmetric``, in all otherwise.
        channels: of the layer from which the reward is made.
        iterations: K; None for height + width.
        hidden: width of the features of each action.
        symmetric: tie the kernels; without it the network is the paper's.
    """

    def __init__(
        self,
        observation_shape: tuple[int, ...],
        actions: int = 8,
        channels: int = 64,
        iterations: int | None = None,
        hidden: int = 64,
        symmetric: bool = True,
    ) -> None:
        super().__init__(observation_shape, actions + 1, hidden, iterations)
        self.actions = actions
        self.symmetric = symmetric
        self.features = nn.Conv2d(3, channels, 3, padding=1)
        self.reward = nn.Conv2d(channels, 1, 1, bias=False)
        self.from_reward = nn.Conv2d(1, actions, 3, padding=1, bias=False)
        self.transition = nn.Conv2d(1, actions, 3, padding=1, bias=False)
        with torch.no_grad():
            # Each abstract action begins as a move to some neighbour, discounted: what is far is then heard of at all.
            place = torch.ones(actions, dtype=torch.int64) if symmetric else torch.arange(actions) % 9
            self.transition.weight.mul_(0.1).flatten(1)[torch.arange(actions), place] += 0.9

    def plan(self, x: Float[Tensor, "grids 3 height width"]) -> Float[Tensor, "grids channels height width"]:
        """Q-maps and value map of the last iteration."""
        kernels = self.features.weight, self.from_reward.weight, self.transition.weight
        if self.symmetric:
            kernels = scalar_kernel(kernels[0]), directed_kernel(kernels[1]), directed_kernel(kernels[2])
        reward = self.reward(F.relu(F.conv2d(x, kernels[0], self.features.bias, padding=1)))
        base = F.conv2d(reward, kernels[1], padding=1)

        def iterate(q: Tensor) -> Tensor:
            return base + F.conv2d(q.amax(1, keepdim=True), kernels[2], padding=1)

        # from q = 0, of which base is the first; begun with base itself, a loop in an exported program shares it
        q = repeat(iterate, torch.zeros_like(base), self.times(x) + 1)
        return torch.cat([q, q.amax(1, keepdim=True)], dim=1)

    def facing(self, cells: Float[Tensor, "batch 4 held"]) -> Float[Tensor, "batch 4 read"]:
        """Of directed q-maps the action's own."""
        return facing(cells, self.actions) if self.symmetric else cells
