"""What every encoder is: observations in, features out."""

from abc import abstractmethod

from torch import Tensor

from iqlightning.errors import UserError
from iqlightning.nets.recipe import RecordedModule

__all__ = ["Encoder", "require_grid"]

_GRID_PLANES = 3  # walls, player, goal


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

    @abstractmethod
    def forward(self, observations: Tensor) -> Tensor:
        """(B, *shape) to (B, *feature_shape)."""


def require_grid(encoder: Encoder, observation_shape: tuple[int, ...]) -> None:
    """For encoders that read a grid, before they are built.

    Raises:
        UserError: if observations are of another shape than (3, height, width).
    """
    if len(observation_shape) != 3 or observation_shape[0] != _GRID_PLANES:
        raise UserError(
            f"{type(encoder).__name__} reads the planes walls, player and goal, shape (3, height, width), not "
            f"{tuple(observation_shape)}; for other observations take MLP or another encoder"
        )
