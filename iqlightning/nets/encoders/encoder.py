"""What every encoder is: observations in, features out."""

from abc import abstractmethod

from torch import Tensor

from iqlightning.errors import UserError
from iqlightning.nets.recipe import RecordedModule

__all__ = ["Encoder", "require_actions", "require_planes"]


class Encoder(RecordedModule):
    """Turns observations (B, *shape), scaled to about [0, 1], into features (B, *feature_shape).

    ``feature_shape`` is ``(F,)``, or ``(A, F)`` where the encoder has features for each of the A actions; a head then
    shares its weights among the actions, which is how an encoder that treats all directions alike keeps doing so.

    A subclass takes the observation's shape first and gives every other argument a default:
    ``MyEncoder(observation_shape, width=32)``. That and one line of YAML, ``encoder: MyEncoder``, add an encoder.
    """

    feature_shape: tuple[int, ...]

    shares_work: bool = False
    """Whether a pass over many observations costs less than passes over parts of them, gradients included."""

    sides: tuple[int, int] | None = None
    """Smallest and largest height and width of what it reads; None where it reads the size that it was built for."""

    reads_planes: bool = False
    """Whether it reads planes of 0 and 1 and nothing else."""

    @abstractmethod
    def forward(self, observations: Tensor) -> Tensor:
        """(B, *shape) to (B, *feature_shape)."""


def require_planes(encoder: Encoder, observation_high: float) -> None:
    """For networks, once their encoder is built.

    Raises:
        UserError: if the encoder reads planes of 0 and 1, and observations are bytes that reach further.
    """
    if encoder.reads_planes and observation_high != 1.0:
        raise UserError(
            f"{type(encoder).__name__} reads planes of 0 and 1, and the environment's observations reach "
            f"{observation_high:g}; take NatureCNN, SmallCNN or another encoder of pictures"
        )


def require_actions(encoder: Encoder, num_actions: int) -> None:
    """For networks, once their encoder is built.

    Raises:
        UserError: if the encoder has features of each of its own actions, and the environment another number of them.
    """
    if len(encoder.feature_shape) == 2 and encoder.feature_shape[0] != num_actions:
        raise UserError(
            f"{type(encoder).__name__} has features for each of {encoder.feature_shape[0]} actions, but the "
            f"environment has {num_actions}; take MLP, SmallCNN or another encoder of the whole state"
        )
