"""Soft Q imitation learning (Reddy, Dragan and Levine 2020, arXiv 1905.11108)."""

import torch
from jaxtyping import Float
from torch import Tensor

from iqlightning.losses.iq import BellmanTerms
from iqlightning.losses.td import td_target

__all__ = ["sqil_loss"]


def sqil_loss(
    expert: BellmanTerms,
    policy: BellmanTerms,
    gamma: float,
    policy_weight: float = 1.0,
    absorbing_states: bool = False,
    expert_reward: float = 1.0,
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """delta^2(D_E, 1) + policy_weight * delta^2(D_pi, 0) (equation 3 of the paper).

    delta^2(D, r) = E_D[(Q(s, a) - (r + gamma (1 - terminated) V(s')))^2] is the squared soft Bellman error at a
    constant reward: 1 on every expert transition, 0 on the policy's own. V(s') is a target: no gradient flows through
    it.

    Args:
        expert: Bellman terms of expert transitions.
        policy: of the policy's.
        gamma: discount in [0, 1).
        policy_weight: of the policy's error.
        absorbing_states: the expert's last transition pays 1 for ever, 1 / (1 - gamma), as in the code of LS-IQ.
            Without it, ending an episode forgoes rewards, and the policy is drawn away from a goal that ends it.
        expert_reward: another number in the place of 1: a unit of reward, and with it of Q and the temperature.

    Returns:
        the scalar to minimise and ``{"expert_error", "policy_error"}``.
    """
    rewards = torch.full_like(expert.q_a, expert_reward)
    if absorbing_states:
        rewards = torch.where(expert.terminated, rewards / (1 - gamma), rewards)
    expert_target = td_target(rewards, expert.next_v.detach(), expert.terminated, gamma)
    policy_target = td_target(torch.zeros_like(policy.q_a), policy.next_v.detach(), policy.terminated, gamma)
    expert_error = expert.weighted((expert.q_a - expert_target).square()).mean()
    policy_error = policy.weighted((policy.q_a - policy_target).square()).mean()
    return expert_error + policy_weight * policy_error, {"expert_error": expert_error, "policy_error": policy_error}
