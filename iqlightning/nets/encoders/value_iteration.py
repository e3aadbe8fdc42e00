"""The value iteration network of Tamar et al. 2016 (arXiv 1602.02867), read out at the player."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from iqlightning.nets.encoders.planning_encoder import PlanningEncoder

__all__ = ["ValueIterationNetwork"]


class ValueIterationNetwork(PlanningEncoder):
    r"""Value iteration as a recurrent convolution with a maximum over channels (eq. 3 and section 4 of the paper).

    With r a reward map made of the grid, and one channel of q for each of Q abstract actions::

        r     = w * relu(W x + b)          3x3, then 1x1
        q^k   = [W_r W_v] * [r; v^k-1]     3x3, the same at every iteration; v^0 = 0
        v^k   = max over channels of q^k
        h     = [q^K; v^K]

    The paper reads q at the player; here the cell ahead is read as well. It plays grids of any size: each iteration
    carries values one cell further, and ``iterations=None`` takes height + width of the grid at hand.

    Args:
        observation_shape: (3, H, W).
        actions: Q.
        channels: of the layer from which the reward is made.
        iterations: K; None for height + width.
        hidden: width of the features of each action.

    Shapes:
        observations (B, 3, H, W) to features (B, 4, hidden).
    """

    def __init__(
        self,
        observation_shape: tuple[int, ...],
        actions: int = 10,
        channels: int = 64,
        iterations: int | None = None,
        hidden: int = 64,
    ) -> None:
        super().__init__(observation_shape, actions + 1, hidden)
        self.iterations = iterations
        self.features = nn.Conv2d(3, channels, 3, padding=1)
        self.reward = nn.Conv2d(channels, 1, 1, bias=False)
        self.from_reward = nn.Conv2d(1, actions, 3, padding=1, bias=False)
        self.from_value = nn.Conv2d(1, actions, 3, padding=1, bias=False)
        with torch.no_grad():
            # Each abstract action begins as a move to some neighbour, discounted: what is far is then heard of at all.
            place = torch.arange(actions) % 9
            self.from_value.weight.mul_(0.1).flatten(1)[torch.arange(actions), place] += 0.9

    def plan(self, x: Float[Tensor, "grids 3 height width"]) -> Float[Tensor, "grids channels height width"]:
        """Q-maps and value map of the last iteration."""
        iterations = self.iterations or sum(x.shape[-2:])
        base = self.from_reward(self.reward(F.relu(self.features(x))))
        q = base
        for _ in range(iterations):
            q = base + self.from_value(q.amax(1, keepdim=True))
        return torch.cat([q, q.amax(1, keepdim=True)], dim=1)
