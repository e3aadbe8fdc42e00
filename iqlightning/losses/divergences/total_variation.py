"""Total variation: bounded rewards."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from iqlightning.errors import UserError
from iqlightning.losses.divergences.divergence import PointwiseDivergence

__all__ = ["TotalVariation"]


class TotalVariation(PointwiseDivergence):
    """phi(r) = r for |r| <= bound, minus infinity outside (Appendix B, table 4, with bound 1/2), f(t) = bound |t - 1|.

    The barrier is the concave exterior penalty ``penalty * max(|r| - bound, 0)^2``: no effect on rewards within
    the bound, and a gradient that leads back where an indicator would have none. The share of rewards beyond the bound
    is logged as ``guarded``. Its generator is
    bound |t - 1| + (t - 1)^2 / (4 penalty), total variation and a little chi2.

    Args:
        bound: largest absolute reward, in units of reward.
        penalty: weight of the barrier.
    """

    def __init__(self, bound: float = 0.5, penalty: float = 5.0) -> None:
        if not (bound > 0 and penalty > 0):
            raise UserError(f"TotalVariation needs a positive bound and penalty, not {bound} and {penalty}")
        self.bound = bound
        self.penalty_weight = penalty
        super().__init__()
        self.domain = (-bound, bound)

    def uncapped(self, rewards: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """``r - penalty * max(|r| - bound, 0)^2``."""
        return rewards - self.penalty_weight * F.relu(rewards.abs() - self.bound).square()

    def generator(self, ratios: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """``bound |t - 1| + (t - 1)^2 / (4 penalty)``."""
        return self.bound * (ratios - 1).abs() + (ratios - 1).square() / (4 * self.penalty_weight)

    def where_slope_is(self, weight: float) -> float:
        """-bound - (weight - 1) / (2 penalty), for weights above 1."""
        return -self.bound - (weight - 1) / (2 * self.penalty_weight)
