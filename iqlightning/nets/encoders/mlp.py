"""A multilayer perceptron on the flattened observation: the study's network."""

import itertools
import math
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from iqlightning.nets.encoders.encoder import Encoder

__all__ = ["MLP"]


class MLP(Encoder):
    """flatten -> [linear -> activation] for each hidden width.

    Args:
        observation_shape: shape of one observation.
        hidden: widths of the hidden layers; the study's are 150 and 100.
        activation: name of a class in ``torch.nn``.
    """

    def __init__(
        self, observation_shape: tuple[int, ...], hidden: Sequence[int] = (150, 100), activation: str = "ReLU"
    ) -> None:
        super().__init__()
        widths = [math.prod(observation_shape), *hidden]
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in itertools.pairwise(widths):
            layers += [nn.Linear(inputs, outputs), getattr(nn, activation)()]
        self.layers = nn.Sequential(*layers)
        self.feature_shape = (widths[-1],)

    def forward(self, observations: Tensor) -> Float[Tensor, "batch features"]:
        """(B, *shape) to (B, hidden[-1])."""
        return self.layers(observations)
