"""The squared Hellinger distance."""

from jaxtyping import Float
from torch import Tensor

from iqlightning.losses.divergences.divergence import PointwiseDivergence

__all__ = ["Hellinger"]


class Hellinger(PointwiseDivergence):
    """phi(r) = r / (1 + r) for r > -1, f(t) = (sqrt(t) - 1)^2 (Appendix B, table 4).

    Slope phi'(r) = 1 / (1 + r)^2; the pole at r = -1 is kept away by the cap.

    Args:
        max_weight: cap of the slope; rewards below 1 / sqrt(max_weight) - 1 meet the tangent.
    """

    def __init__(self, max_weight: float = 10.0) -> None:
        super().__init__(max_weight)

    def uncapped(self, rewards: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """``r / (1 + r)``."""
        return rewards / (1 + rewards)

    def generator(self, ratios: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """(sqrt(t) - 1)^2."""
        return (ratios.sqrt() - 1).square()

    def where_slope_is(self, weight: float) -> float:
        """1 / sqrt(weight) - 1."""
        return weight**-0.5 - 1
