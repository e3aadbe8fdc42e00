"""Pearson's chi2: on expert samples alone, and on the mixture of expert and policy."""

import torch
from jaxtyping import Float
from torch import Tensor

from iqlightning.errors import UserError
from iqlightning.losses.divergences.divergence import Divergence, PointwiseDivergence

__all__ = ["Chi2", "Chi2Mixture"]


class Chi2(PointwiseDivergence):
    """phi(r) = r - r^2 / (4 alpha) on all real numbers, f(t) = alpha (t - 1)^2 (Appendix B, table 4; section 5).

    The maximum of phi is at r = 2 alpha; beyond it a higher reward counts for less. alpha = 1 is the paper's phi;
    its offline experiments use 0.5. It sees expert samples only, which suits offline runs; online, rewards of the
    policy's transitions stay unbounded, and such runs are reported to diverge: take :class:`Chi2Mixture`.

    Args:
        alpha: weight of the divergence against the penalty, > 0, in units of reward.
    """

    def __init__(self, alpha: float = 0.5) -> None:
        _require_positive(alpha, "Chi2")
        self.alpha = alpha
        super().__init__()

    def uncapped(self, rewards: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """``r - r^2 / (4 alpha)``."""
        return rewards - rewards.square() / (4 * self.alpha)

    def generator(self, ratios: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """``alpha (t - 1)^2``; phi falls beyond 2 alpha, which is t < 0 here."""
        return self.alpha * (ratios - 1).square()

    def where_slope_is(self, weight: float) -> float:
        """2 alpha (1 - weight)."""
        return 2 * self.alpha * (1 - weight)


class Chi2Mixture(Divergence):
    r"""E_expert[r] - 1 / (4 alpha) (E_expert[r^2] + E_policy[r^2]) / 2: the reference's online regulariser.

    With the policy's E[r] subtracted, the maximum over rewards is 4 alpha chi2(rho_E || (rho_E + rho) / 2), reached at
    r = 4 alpha (rho_E - rho) / (rho_E + rho): rewards of the optimum stay within [-4 alpha, 4 alpha] (Al-Hafez et al.
    2023, arXiv 2303.00599, section 3, where 1 / (4 alpha) is called c).

    Args:
        alpha: weight of the divergence against the penalty, > 0, in units of reward.
    """

    needs_policy_data = True

    def __init__(self, alpha: float = 0.5) -> None:
        _require_positive(alpha, "Chi2Mixture")
        self.alpha = alpha
        self.max_reward = 4 * alpha

    def __call__(
        self,
        expert_rewards: Float[Tensor, " batch"],
        policy_rewards: Float[Tensor, " other"] | None = None,
        *,
        expert_weights: Float[Tensor, " batch"] | None = None,
        policy_weights: Float[Tensor, " other"] | None = None,
    ) -> Float[Tensor, ""]:
        """Expert and policy count half each, whatever the sizes of their batches."""
        if policy_rewards is None:
            raise UserError(
                "Chi2Mixture reads rewards of the policy's own transitions, which an offline run does not have; "
                "take Chi2, or an online run (--data.online)"
            )
        expert = torch.ones_like(expert_rewards) if expert_weights is None else expert_weights
        policy = torch.ones_like(policy_rewards) if policy_weights is None else policy_weights
        squares = ((expert * expert_rewards.square()).mean() + (policy * policy_rewards.square()).mean()) / 2
        return (expert * expert_rewards).mean() - squares / (4 * self.alpha)


def _require_positive(alpha: float, owner: str) -> None:
    if not alpha > 0:
        raise UserError(f"alpha of {owner} must be positive, not {alpha}")
