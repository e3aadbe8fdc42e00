"""The Jensen-Shannon divergence, GAIL's."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from iqlightning.losses.divergences.divergence import PointwiseDivergence

__all__ = ["JensenShannon"]


class JensenShannon(PointwiseDivergence):
    """phi(r) = log(2 - exp(-r)) for r > -log 2, f(t) = t log t - (1 + t) log((1 + t) / 2) (Appendix B, table 4).

    E_{rho_E}[f] is twice the Jensen-Shannon divergence in nats. Slope phi'(r) = 1 / (2 exp(r) - 1); the pole at
    r = -log 2 is kept away by the cap.

    Args:
        max_weight: cap of the slope; rewards below log((1 + 1 / max_weight) / 2) meet the tangent.
    """

    def __init__(self, max_weight: float = 10.0) -> None:
        super().__init__(max_weight)

    def uncapped(self, rewards: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """log(2 - exp(-r)), written so that it is exact near r = 0."""
        return torch.log1p(-torch.expm1(-rewards))

    def generator(self, ratios: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """``t log t - (1 + t) log((1 + t) / 2)``."""
        return torch.special.xlogy(ratios, ratios) - (1 + ratios) * torch.log((1 + ratios) / 2)

    def where_slope_is(self, weight: float) -> float:
        """log((1 + 1 / weight) / 2)."""
        return math.log((1 + 1 / weight) / 2)
