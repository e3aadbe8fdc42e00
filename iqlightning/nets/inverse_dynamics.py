"""Which action led from one observation to the next?"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from iqlightning.nets.heads import PlainHead
from iqlightning.nets.q_network import EncoderFactory

__all__ = ["InverseDynamics"]


class InverseDynamics(nn.Module):
    """Logits of p(a | s, s') = linear(encoder([s, s' - s])), observation and change joined along their first dimension.

    Args:
        observation_shape: shape of one observation.
        num_actions: A.
        observation_high: the value that is scaled to 1.
        encoder: builds the encoder for observations of twice as many channels (or numbers, where they are vectors).
    """

    def __init__(
        self, observation_shape: tuple[int, ...], num_actions: int, observation_high: float, encoder: EncoderFactory
    ) -> None:
        super().__init__()
        self.observation_high = float(observation_high)
        self.encoder = encoder((2 * observation_shape[0], *observation_shape[1:]))
        self.head = PlainHead(self.encoder.feature_shape, num_actions)

    def forward(self, observations: Tensor, next_observations: Tensor) -> Float[Tensor, "batch actions"]:
        """(B, *shape) and their successors to (B, A)."""
        dtype = next(self.head.parameters()).dtype
        first, second = (part.to(dtype) / self.observation_high for part in (observations, next_observations))
        # an encoder that is shown the change need not learn to subtract
        return self.head(self.encoder(torch.cat([first, second - first], dim=1)))
