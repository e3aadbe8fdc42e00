"""Which action led from one observation to the next?"""

import math
from typing import TYPE_CHECKING

import torch
from gymnasium import spaces as gymnasium_spaces
from jaxtyping import Float
from torch import Tensor, nn

from iqlightning.nets.heads import PlainHead
from iqlightning.nets.q_network import EncoderFactory
from iqlightning.spaces import Spaces, action_shape, num_actions

if TYPE_CHECKING:
    from iqlightning.agents.observation_scale import ObservationScale

__all__ = ["InverseDynamics"]


class InverseDynamics(nn.Module):
    """Outputs of p(a | s, s') = linear(encoder([s, s' - s])), joined along the first dimension.

    Of discrete actions the outputs are logits (B, A); of continuous ones means (B, D) in units of half the action's
    range, with a standard deviation of 1 in them.

    Args:
        spaces: of the environment.
        encoder: builds the encoder from the shape of the two that are joined.
        sees: how observations are scaled; what is fitted of it belongs to the agent.
    """

    middle: Tensor
    half_range: Tensor

    def __init__(self, spaces: Spaces, encoder: EncoderFactory, sees: "ObservationScale") -> None:
        super().__init__()
        first, *rest = sees.shape
        self.sees = sees
        self.encoder = encoder((2 * first, *rest))
        self.discrete = isinstance(spaces.action, gymnasium_spaces.Discrete)
        self.action_shape = action_shape(spaces.action)
        outputs = num_actions(spaces.action) if self.discrete else math.prod(self.action_shape)
        self.head = PlainHead(self.encoder.feature_shape, outputs)
        if isinstance(spaces.action, gymnasium_spaces.Box):
            low, high = (torch.as_tensor(end).float().flatten() for end in (spaces.action.low, spaces.action.high))
            self.register_buffer("middle", (low + high) / 2, persistent=False)
            self.register_buffer("half_range", (high - low) / 2, persistent=False)

    def forward(self, observations: Tensor, next_observations: Tensor) -> Float[Tensor, "batch outputs"]:
        """(B, *shape) and their successors to logits or means."""
        dtype = next(self.head.parameters()).dtype
        first, second = (self.sees.see(part, dtype) for part in (observations, next_observations))
        # an encoder that is shown the change need not learn to subtract
        return self.head(self.encoder(torch.cat([first, second - first], dim=1)))

    def guess(self, outputs: Float[Tensor, "batch outputs"]) -> Tensor:
        """What an agent takes for actions that nobody has seen: probabilities (B, A), or means (B, *shape) in range."""
        if self.discrete:
            return torch.softmax(outputs, dim=1)
        return (self.middle + self.half_range * outputs.clamp(-1, 1)).unflatten(1, self.action_shape)

    def log_prob(self, outputs: Float[Tensor, "batch outputs"], actions: Tensor) -> Float[Tensor, " batch"]:
        """Log p(a | s, s'), in nats; of continuous actions up to a constant."""
        if self.discrete:
            return torch.log_softmax(outputs, dim=1).gather(1, actions[:, None])[:, 0]
        units = (actions.flatten(1) - self.middle) / self.half_range
        return -0.5 * (units - outputs).square().sum(1)

    def doubt(self, outputs: Float[Tensor, "batch outputs"]) -> Float[Tensor, ""]:
        """Mean entropy of p as a share of log A; of continuous actions 0, since it does not tell."""
        if not self.discrete:
            return outputs.new_zeros(())
        log_p = torch.log_softmax(outputs, dim=1)
        return -(log_p.exp() * log_p).sum(1).mean() / math.log(outputs.shape[1])
