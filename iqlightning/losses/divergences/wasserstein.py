"""Wasserstein-1, and any other divergence with the same gradient penalty."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from iqlightning.losses.divergences.divergence import Divergence
from iqlightning.losses.divergences.gradient_penalty import GradientPenalty
from iqlightning.types import Transition

__all__ = ["Penalized", "Wasserstein1"]


class Wasserstein1(Divergence):
    """E_expert[r] over 1-Lipschitz functions: phi(r) = r, and a gradient penalty on Q (Garg et al. 2021, section 5).

    Kantorovich and Rubinstein's duality asks for rewards that are Lipschitz; as in the reference, the penalty is put on
    Q in their stead. Without the penalty it is :class:`Identity`, and what holds of that one holds here: with the value
    term on expert states only the penalty keeps the objective from being behaviour cloning.

    Args:
        weight: of the penalty; the reference's 10.
        target: norm of the gradient that is aimed at.
    """

    def __init__(self, weight: float = 10.0, target: float = 1.0) -> None:
        self.gradient_penalty = GradientPenalty(weight, target)

    def __call__(
        self,
        expert_rewards: Float[Tensor, " batch"],
        policy_rewards: Float[Tensor, " other"] | None = None,
        *,
        expert_weights: Float[Tensor, " batch"] | None = None,
        policy_weights: Float[Tensor, " other"] | None = None,
    ) -> Float[Tensor, ""]:
        """Mean reward of the expert."""
        return (expert_rewards if expert_weights is None else expert_weights * expert_rewards).mean()

    def penalty(
        self,
        q_function: Callable[[Tensor, Tensor | None], Tensor],
        expert: Transition,
        policy: Transition | None,
        scale: float = 1.0,
    ) -> Float[Tensor, ""]:
        """The gradient penalty."""
        return self.gradient_penalty(q_function, expert, policy, scale)


class Penalized(Divergence):
    """Any divergence with a gradient penalty on top, as the reference's offline classic control has (chi2).

    Args:
        divergence: the expert term.
        weight: of the penalty.
        target: norm of the gradient that is aimed at.
    """

    def __init__(self, divergence: Divergence, weight: float = 10.0, target: float = 1.0) -> None:
        self.divergence = divergence
        self.needs_policy_data = divergence.needs_policy_data
        self.domain = divergence.domain
        self.max_reward = divergence.max_reward
        self.gradient_penalty = GradientPenalty(weight, target)

    def __call__(
        self,
        expert_rewards: Float[Tensor, " batch"],
        policy_rewards: Float[Tensor, " other"] | None = None,
        *,
        expert_weights: Float[Tensor, " batch"] | None = None,
        policy_weights: Float[Tensor, " other"] | None = None,
    ) -> Float[Tensor, ""]:
        """The divergence's own."""
        return self.divergence(
            expert_rewards, policy_rewards, expert_weights=expert_weights, policy_weights=policy_weights
        )

    def penalty(
        self,
        q_function: Callable[[Tensor, Tensor | None], Tensor],
        expert: Transition,
        policy: Transition | None,
        scale: float = 1.0,
    ) -> Float[Tensor, ""]:
        """The gradient penalty, and the divergence's own where it has one."""
        own = self.divergence.penalty(q_function, expert, policy, scale)
        added = self.gradient_penalty(q_function, expert, policy, scale)
        return added if own is None else added + own
