"""The inverse soft-Q objective of an agent, which IQ-Learn minimises with known actions and with guessed ones."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from torch import Tensor

from iqlightning.agents.agent import Agent, Bellman
from iqlightning.errors import UserError
from iqlightning.losses.divergences import Divergence
from iqlightning.losses.iq import ValueTerm, absorbed, iq_loss
from iqlightning.types import Transition

__all__ = ["InverseSoftQ", "InverseSoftQLoss"]


class InverseSoftQLoss(NamedTuple):
    """What :class:`InverseSoftQ` makes of a batch.

    Attributes:
        loss: the scalar to minimise.
        terms: its terms.
        bellman: of the agent, for diagnostics.
        diagnostics: ``guarded`` where phi has a domain, ``clipped_targets`` where targets are clipped; means.
    """

    loss: Tensor
    terms: dict[str, Tensor]
    bellman: Bellman
    diagnostics: Callable[[], dict[str, Tensor]]


@dataclass(frozen=True)
class InverseSoftQ:
    """value_weight x value term - E[phi(Q(s, a) - gamma V(s'))], a mean over copies of Q.

    The equation is that of :mod:`iqlightning.losses.iq`.

    Attributes:
        divergence: phi.
        value_term: what is subtracted.
        gamma: discount in [0, 1).
        absorbing_states: see ``losses.iq.absorbed``.
        value_weight: factor of the value term, positive; see ``losses.iq.iq_loss``.
        clip_targets: keep V(s') within :attr:`max_value`.

    Raises:
        UserError: if a value is out of range, or targets are to be clipped and the divergence bounds no reward.
    """

    divergence: Divergence
    value_term: ValueTerm
    gamma: float
    absorbing_states: bool = False
    value_weight: float = 1.0
    clip_targets: bool = False

    def __post_init__(self) -> None:
        if not self.value_weight > 0:
            raise UserError(f"value_weight must be positive, not {self.value_weight}")
        if self.clip_targets and self.max_value is None:
            raise UserError(
                f"clip_targets needs a divergence that bounds rewards on all data, which "
                f"{type(self.divergence).__name__} does not; valid: Chi2Mixture"
            )

    @property
    def max_value(self) -> float | None:
        """Largest |Q| of the optimum, max(1, value_weight) max reward / (1 - gamma); None without a bound of rewards.

        On what only the policy does, the optimum of chi2 on a mixture is -4 alpha value_weight.
        """
        largest = self.divergence.max_reward
        return None if largest is None else max(1.0, self.value_weight) * largest / (1 - self.gamma)

    @cached_property
    def needs(self) -> frozenset[str]:
        """The parts of a batch that divergence and value term read."""
        policy = self.divergence.needs_policy_data or self.value_term.needs_policy_data
        parts = {"expert": True, "policy": policy, "initial": self.value_term.needs_initial_states}
        return frozenset(name for name, needed in parts.items() if needed)

    def __call__(self, agent: Agent, parts: Sequence[Transition], initial: Tensor | None) -> InverseSoftQLoss:
        """One pass of the agent over all states, the loss, and the penalty on slopes where the divergence has one.

        Args:
            agent: Q and V.
            parts: the expert's transitions and, if the objective needs them, the policy's.
            initial: initial states, read only where the value term does.
        """
        bellman = agent.bellman(parts, initial if self.value_term.needs_initial_states else None)
        limit = self.max_value if self.clip_targets else None

        def of_terms(expert: Any, policy: Any = None) -> tuple[Tensor, dict[str, Tensor]]:
            return iq_loss(
                expert,
                policy,
                bellman.initial_v,
                self.divergence,
                self.value_term,
                self.gamma,
                self.absorbing_states,
                self.value_weight,
                limit,
            )

        loss, terms = bellman.objective(of_terms)
        expert, policy = parts[0], parts[1] if len(parts) > 1 else None
        penalty = self.divergence.penalty(agent.q_for_penalty, expert, policy, agent.observation_scale)
        if penalty is not None:
            loss = loss + penalty
            terms["penalty"] = penalty

        def diagnostics() -> dict[str, Tensor]:
            scalars = {}
            if any(math.isfinite(end) for end in self.divergence.domain):
                rewards = bellman.parts[0].rewards(self.gamma)
                seen = absorbed(rewards, expert.terminated, self.gamma)[0] if self.absorbing_states else rewards
                scalars["guarded"] = self.divergence.guarded(seen)
            if limit is not None:
                scalars["clipped_targets"] = bellman.share_beyond(limit)
            return scalars

        return InverseSoftQLoss(loss, terms, bellman, diagnostics)
