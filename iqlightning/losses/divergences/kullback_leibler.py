"""Forward and reverse Kullback-Leibler divergences, the reverse in the reference's three forms."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from iqlightning.losses.divergences.divergence import Divergence, PointwiseDivergence

__all__ = ["ForwardKL", "ReverseKL", "ReverseKLDual", "ReverseKLFixed"]


class ForwardKL(PointwiseDivergence):
    """phi(r) = 1 + log r for r > 0, f(t) = -log t: KL(rho_E || rho) (Appendix B, table 4).

    Rewards are positive by definition, so an agent gains by living long: for tasks that end when they are done, another
    divergence serves better. Slope 1 / r; the pole at 0 is kept away by the cap.

    Args:
        max_weight: cap of the slope; rewards below 1 / max_weight meet the tangent.
    """

    def __init__(self, max_weight: float = 10.0) -> None:
        super().__init__(max_weight)

    def uncapped(self, rewards: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """1 + log r."""
        return 1 + torch.log(rewards)

    def generator(self, ratios: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """-log t."""
        return -torch.log(ratios)

    def where_slope_is(self, weight: float) -> float:
        """1 / weight."""
        return 1 / weight


class ReverseKL(PointwiseDivergence):
    """phi(r) = -exp(-r - 1) on all real numbers, f(t) = t log t: KL(rho || rho_E) (Appendix B, table 4).

    The reference's ``kl``. Slope exp(-r - 1) is 1 at r = -1, not at 0: where the policy equals the expert, the reward
    is -1 everywhere, and an agent gains by ending early.

    Args:
        max_weight: cap of the slope; rewards below -1 - log(max_weight) meet the tangent.
    """

    def __init__(self, max_weight: float = 10.0) -> None:
        super().__init__(max_weight)

    def uncapped(self, rewards: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """-exp(-r - 1)."""
        return -torch.exp(-rewards - 1)

    def generator(self, ratios: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """``t log t``."""
        return torch.special.xlogy(ratios, ratios)

    def where_slope_is(self, weight: float) -> float:
        """-1 - log(weight)."""
        return -1 - math.log(weight)


class ReverseKLFixed(PointwiseDivergence):
    """phi(r) = 1 - exp(-r) on all real numbers, f(t) = t log t - t + 1: KL(rho || rho_E) again.

    The reference's ``kl_fix``: its generator has f'(1) = 0, so that the reward is 0 where policy and expert agree.

    Args:
        max_weight: cap of the slope; rewards below -log(max_weight) meet the tangent.
    """

    def __init__(self, max_weight: float = 10.0) -> None:
        super().__init__(max_weight)

    def uncapped(self, rewards: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """1 - exp(-r)."""
        return -torch.expm1(-rewards)

    def generator(self, ratios: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """``t log t - t + 1``."""
        return torch.special.xlogy(ratios, ratios) - ratios + 1

    def where_slope_is(self, weight: float) -> float:
        """-log(weight)."""
        return -math.log(weight)


class ReverseKLDual(Divergence):
    """-log E_expert[exp(-r)]: KL(rho || rho_E) in the form of Donsker and Varadhan (1983).

    The reference's ``kl2``, whose weights are a softmax over the batch: not a mean over points, biased upwards on small
    batches, and indifferent to a constant added to all rewards. Weights are at most the batch's size, so that it needs
    no guard.
    """

    def __call__(
        self,
        expert_rewards: Float[Tensor, " batch"],
        policy_rewards: Float[Tensor, " other"] | None = None,
        *,
        expert_weights: Float[Tensor, " batch"] | None = None,
        policy_weights: Float[Tensor, " other"] | None = None,
    ) -> Float[Tensor, ""]:
        """Log N - logsumexp(-r); with weights W (log(N W) - logsumexp(log w - r)), W their mean, the measure's mass.

        A constant added to all rewards then adds W times itself, as it does to the other terms of the objective.
        """
        if expert_weights is None:
            return math.log(len(expert_rewards)) - torch.logsumexp(-expert_rewards, 0)
        total = torch.log(expert_weights.sum()) - torch.logsumexp(torch.log(expert_weights) - expert_rewards, 0)
        return expert_weights.mean() * total
