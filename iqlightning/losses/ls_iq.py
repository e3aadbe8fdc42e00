r"""Least-squares inverse Q-learning (Al-Hafez et al. 2023, arXiv 2303.00599).

    max_Q  E_E[r] - E_mix[V(s) - gamma V(s')] - c E_mix[r^2],    mix: half expert, half policy

Squared rewards on the mixture bound the optimal reward to [-1 / c, 1 / c] and make the objective a squared Bellman
error with targets +-1 / c, which in turn bounds Q by 1 / (c (1 - gamma)).
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from iqlightning.errors import UserError
from iqlightning.losses.iq import BellmanTerms, absorbed

__all__ = ["RewardBounds", "ls_iq_loss"]


class RewardBounds(NamedTuple):
    """What the weight of the squared reward implies.

    Attributes:
        reward: 1 / c, largest absolute reward of the optimum.
        q: 1 / (c (1 - gamma)), largest absolute return.
    """

    reward: float
    q: float

    @staticmethod
    def of(c: float, gamma: float) -> "RewardBounds":
        """The bounds for a weight c > 0 and a discount below 1."""
        if not c > 0:
            raise UserError(f"the weight c of LSIQ's squared rewards must be positive, not {c}")
        return RewardBounds(1 / c, 1 / (c * (1 - gamma)))


def ls_iq_loss(
    expert: BellmanTerms,
    policy: BellmanTerms,
    c: float,
    gamma: float,
    clip_targets: bool = True,
    fixed_expert_target: bool = False,
    absorbing_states: bool = True,
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """The negated objective and its terms; the equation is the module's.

    Args:
        expert: Bellman terms of expert transitions.
        policy: of the policy's transitions; each half counts the same if they are equally many.
        c: weight of the squared reward.
        gamma: discount in [0, 1).
        clip_targets: V(s') is kept within the bounds of Q before it is used (section 4 of the paper).
        fixed_expert_target: the expert term is -(Q(s, a) - Q_max)^2 instead of r: every expert move is worth the most
            that anything can be worth, and no error is bootstrapped along demonstrations.
        absorbing_states: a terminal transition's reward is what its absorbing state pays for ever, so that its square
            counts 1 - gamma times (see ``losses.iq.absorbed``).

    Returns:
        the scalar to minimise and ``{"expert_term", "value_term", "reward_penalty"}``.
    """
    bounds = RewardBounds.of(c, gamma)
    if clip_targets:
        expert, policy = expert.clipped(bounds.q), policy.clipped(bounds.q)
    expert_terms = -(expert.q_a - bounds.q).square() if fixed_expert_target else expert.rewards(gamma)
    expert_term = expert.weighted(expert_terms).mean()
    parts = (expert, policy)
    value_term = torch.cat([each.weighted(each.value_drop(gamma)) for each in parts]).mean()

    def squares(part: BellmanTerms) -> Tensor:
        rewards = part.rewards(gamma)
        if not absorbing_states:
            return part.weighted(rewards.square())
        rewards, steps = absorbed(rewards, part.terminated, gamma)
        return part.weighted(steps * rewards.square())

    penalty = c * torch.cat([squares(part) for part in parts]).mean()
    loss = value_term - expert_term + penalty
    return loss, {"expert_term": expert_term, "value_term": value_term, "reward_penalty": penalty}
