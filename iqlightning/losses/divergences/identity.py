"""The linear phi: no divergence at all."""

import math

from jaxtyping import Float
from torch import Tensor

from iqlightning.losses.divergences.divergence import PointwiseDivergence

__all__ = ["Identity"]


class Identity(PointwiseDivergence):
    """phi(r) = r on all real numbers: the study's choice.

    Its generator is 0 at t = 1 and infinite elsewhere: without a bound on rewards, the maximum over rewards is infinite
    unless the policy matches the expert. With the value term on expert states the objective is E[Q(s, a) - V(s)]: the
    Bellman terms cancel, and what remains is behaviour cloning at the given temperature (soft V) or a perceptron loss
    (V = max).
    """

    def __init__(self) -> None:
        super().__init__()

    def uncapped(self, rewards: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """``r``."""
        return rewards

    def generator(self, ratios: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """0 at 1, infinite elsewhere."""
        return ratios.new_zeros(ratios.shape).masked_fill(ratios != 1, math.inf)

    def where_slope_is(self, weight: float) -> float:
        """Nowhere: the slope is 1."""
        return -math.inf
