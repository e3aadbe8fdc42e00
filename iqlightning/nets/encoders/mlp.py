"""A multilayer perceptron on the flattened observation: the study's network."""

import itertools
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from iqlightning.errors import UserError
from iqlightning.nets.encoders.encoder import Encoder

__all__ = ["MLP"]


class MLP(Encoder):
    """flatten -> divide by the scale, if there is one -> [linear -> activation] for each hidden width.

    Args:
        observation_shape: shape of one observation.
        hidden: widths of the hidden layers; the study's are 150 and 100.
        activation: name of a class in ``torch.nn``.
        scale: what each number of an observation is divided by, such as its standard deviation among the
            demonstrations; None for no division. Nothing is subtracted, so that mirrored observations stay so.

    Raises:
        UserError: if there are more or fewer scales than numbers of an observation, or one is not positive and finite.
    """

    scale: Tensor | None

    def __init__(
        self,
        observation_shape: tuple[int, ...],
        hidden: Sequence[int] = (150, 100),
        activation: str = "ReLU",
        scale: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        widths = [math.prod(observation_shape), *hidden]
        if scale is not None:
            _check_scale(scale, widths[0])
        # a setting, not a weight: it comes back with the arguments, and is no part of the state
        self.register_buffer("scale", None if scale is None else torch.tensor(scale), persistent=False)
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in itertools.pairwise(widths):
            layers += [nn.Linear(inputs, outputs), getattr(nn, activation)()]
        self.layers = nn.Sequential(*layers)
        self.feature_shape = (widths[-1],)

    def forward(self, observations: Tensor) -> Float[Tensor, "batch features"]:
        """(B, *shape) to (B, hidden[-1])."""
        if self.scale is not None:
            observations = observations.flatten(1) / self.scale.to(observations.dtype)
        return self.layers(observations)


def _check_scale(scale: Sequence[float], numbers: int) -> None:
    if len(scale) != numbers:
        raise UserError(f"MLP's scale needs one number for each of the {numbers} of an observation, not {len(scale)}")
    for each in scale:
        if not 0 < each < math.inf:
            raise UserError(f"MLP's scale divides observations and must be positive and finite, not {each:g}")
