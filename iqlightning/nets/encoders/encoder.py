"""What every encoder is: observations in, features out."""

from abc import abstractmethod

from torch import Tensor

from iqlightning.nets.recipe import RecordedModule

__all__ = ["Encoder"]


class Encoder(RecordedModule):
    """Turns observations (B, *shape), scaled to about [0, 1], into features (B, *feature_shape).

    ``feature_shape`` is ``(F,)``, or ``(A, F)`` where the encoder has features for each of the A actions; a head then
    shares its weights among the actions, which is how an encoder that treats all directions alike keeps doing so.

    A subclass takes the observation's shape first and gives every other argument a default:
    ``MyEncoder(observation_shape, width=32)``. That and one line of YAML, ``encoder: MyEncoder``, add an encoder.
    """

    feature_shape: tuple[int, ...]

    @abstractmethod
    def forward(self, observations: Tensor) -> Tensor:
        """(B, *shape) to (B, *feature_shape)."""
