r"""The inverse soft-Q objective (Garg et al. 2021, arXiv 2106.12142, eq. 9, 10 and 12).

    maximise_Q  E_expert[phi(r)] - value term,      r = Q(s, a) - gamma (1 - terminated) V(s')

The value term is (1 - gamma) E_{s0}[V(s0)] or, by telescoping along trajectories of any policy's occupancy measure,
E_{s, s'}[V(s) - gamma (1 - terminated) V(s')] over states of the expert, or of expert and policy.
"""

from abc import abstractmethod
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from iqlightning.losses.divergences import Divergence
from iqlightning.recorded import Recorded

__all__ = [
    "BellmanTerms",
    "ExpertAndPolicyStates",
    "ExpertStates",
    "ExpertStatesAsInitial",
    "InitialStates",
    "ValueTerm",
    "absorbed",
    "inverse_reward",
    "iq_loss",
]


class BellmanTerms(NamedTuple):
    """What the objective reads of a batch of transitions, each (B,).

    ``weights`` says how many transitions each stands for; None for one each.
    """

    q_a: Tensor
    v: Tensor
    next_v: Tensor
    terminated: Tensor
    weights: Tensor | None = None

    def weighted(self, values: Tensor) -> Tensor:
        """Numbers (B,), each times the transitions it stands for."""
        return values if self.weights is None else self.weights * values

    def rewards(self, gamma: float) -> Tensor:
        """R = Q(s, a) - gamma (1 - terminated) V(s')."""
        return inverse_reward(self.q_a, self.next_v, self.terminated, gamma)

    def clipped(self, limit: float) -> "BellmanTerms":
        """With V(s') kept within +- a limit."""
        return self._replace(next_v=self.next_v.clamp(-limit, limit))

    def value_drop(self, gamma: float) -> Tensor:
        """V(s) - gamma (1 - terminated) V(s')."""
        return inverse_reward(self.v, self.next_v, self.terminated, gamma)


def absorbed(
    rewards: Float[Tensor, " batch"], terminated: Bool[Tensor, " batch"], gamma: float
) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    """Rewards per step and the number of steps they stand for, if an ended episode went on in its last state.

    A terminal transition's reward is then the sum of a constant reward for ever, r_A / (1 - gamma): a divergence sees
    r_A with weight 1 / (1 - gamma) instead of one large reward, and chi2's penalty on it shrinks by 1 - gamma, as in
    the code of LS-IQ (Al-Hafez et al. 2023, arXiv 2303.00599). Without it, phi's bound on rewards is a bound on what
    reaching a terminal state can be worth.
    """
    return (
        torch.where(terminated, (1 - gamma) * rewards, rewards),
        torch.where(terminated, 1 / (1 - gamma), torch.ones_like(rewards)),
    )


def inverse_reward(
    q_a: Float[Tensor, " batch"], next_v: Float[Tensor, " batch"], terminated: Bool[Tensor, " batch"], gamma: float
) -> Float[Tensor, " batch"]:
    """The inverse soft Bellman operator, r = Q(s, a) - gamma (1 - terminated) V(s') (definition 3.1)."""
    return q_a - gamma * next_v.masked_fill(terminated, 0.0)


class ValueTerm(Recorded):
    """The term that is subtracted; see the module's equation."""

    needs_policy_data: bool = False
    needs_initial_states: bool = False

    @abstractmethod
    def __call__(
        self, expert: BellmanTerms, policy: BellmanTerms | None, initial_v: Tensor | None, gamma: float
    ) -> Float[Tensor, ""]:
        """The scalar to be minimised."""


class InitialStates(ValueTerm):
    """``v0``: (1 - gamma) E_{s0}[V(s0)] over true initial states (eq. 9)."""

    needs_initial_states = True

    def __call__(
        self, expert: BellmanTerms, policy: BellmanTerms | None, initial_v: Tensor | None, gamma: float
    ) -> Float[Tensor, ""]:
        """(1 - gamma) mean V(s0)."""
        assert initial_v is not None
        return (1 - gamma) * initial_v.mean()


class ExpertStatesAsInitial(ValueTerm):
    """``v0`` over every state of the expert: (1 - gamma) E_expert[V(s)].

    An expert that began in one of its later states would have gone on as it did, so that each may stand for an initial
    one, as in the authors' code. One demonstration has a single initial state, whose V nothing else holds: there Q
    falls without limit (on Hopper to -20 while it is 17 on the demonstration).
    """

    def __call__(
        self, expert: BellmanTerms, policy: BellmanTerms | None, initial_v: Tensor | None, gamma: float
    ) -> Float[Tensor, ""]:
        """(1 - gamma) mean V(s)."""
        return (1 - gamma) * expert.weighted(expert.v).mean()


class ExpertStates(ValueTerm):
    """``expert``: E_expert[V(s) - gamma (1 - terminated) V(s')] (eq. 10 with the expert's own states)."""

    def __call__(
        self, expert: BellmanTerms, policy: BellmanTerms | None, initial_v: Tensor | None, gamma: float
    ) -> Float[Tensor, ""]:
        """Mean over expert transitions."""
        return expert.weighted(expert.value_drop(gamma)).mean()


class ExpertAndPolicyStates(ValueTerm):
    """``expert_and_policy``: the same mean over expert and policy transitions together (eq. 12, online)."""

    needs_policy_data = True

    def __call__(
        self, expert: BellmanTerms, policy: BellmanTerms | None, initial_v: Tensor | None, gamma: float
    ) -> Float[Tensor, ""]:
        """Mean over both."""
        assert policy is not None
        return torch.cat([each.weighted(each.value_drop(gamma)) for each in (expert, policy)]).mean()


def iq_loss(
    expert: BellmanTerms,
    policy: BellmanTerms | None,
    initial_v: Float[Tensor, " initial"] | None,
    divergence: Divergence,
    value_term: ValueTerm,
    gamma: float,
    absorbing_states: bool = False,
    value_weight: float = 1.0,
    max_value: float | None = None,
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """The negated objective and its terms.

    Args:
        expert: Bellman terms of expert transitions.
        policy: of the policy's transitions, or None offline.
        initial_v: V of initial states, or None where the value term does not read it.
        divergence: concave phi.
        value_term: what is subtracted.
        gamma: discount in [0, 1).
        absorbing_states: see :func:`absorbed`.
        value_weight: factor of the value term. With a target network no gradient flows through -gamma V(s') of the
            rewards, so that 1 - gamma alone holds V down at the expert's states; more of it may then be needed.
        max_value: V(s') is kept within +- this before it is used; None for no limit.

    Returns:
        the scalar to minimise, value_weight x value term - E[phi(r)], and ``{"expert_term", "value_term"}``.
    """
    if max_value is not None:
        expert, policy = expert.clipped(max_value), None if policy is None else policy.clipped(max_value)
    expert_rewards, expert_weights = expert.rewards(gamma), expert.weights
    policy_rewards = None if policy is None else policy.rewards(gamma)
    policy_weights = None if policy is None else policy.weights
    if absorbing_states:
        expert_rewards, expert_weights = absorbed(expert_rewards, expert.terminated, gamma)
        if policy is not None and policy_rewards is not None:
            policy_rewards, policy_weights = absorbed(policy_rewards, policy.terminated, gamma)
    expert_term = divergence(
        expert_rewards, policy_rewards, expert_weights=expert_weights, policy_weights=policy_weights
    )
    subtracted = value_term(expert, policy, initial_v, gamma)
    if value_weight != 1.0:
        subtracted = value_weight * subtracted
    return subtracted - expert_term, {"expert_term": expert_term, "value_term": subtracted}
