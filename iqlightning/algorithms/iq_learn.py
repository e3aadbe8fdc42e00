"""IQ-Learn: inverse soft-Q learning (Garg et al. 2021, arXiv 2106.12142)."""

import math
from typing import Any

import torch
from torch import Tensor

from iqlightning.agents.agent import Objective
from iqlightning.algorithms.learner import EncoderFactory, Learner
from iqlightning.errors import UserError
from iqlightning.losses.divergences import Chi2, Divergence
from iqlightning.losses.iq import ExpertStates, ValueTerm, absorbed, iq_loss
from iqlightning.types import Batch

__all__ = ["IQLearn"]


class IQLearn(Learner):
    r"""max_Q E_expert[phi(Q(s, a) - gamma V(s'))] - value term, offline or online (eq. 9, 10 and 12 of the paper).

    Args:
        encoder: builds the agent's encoder from an observation's shape.
        divergence: phi; by default Chi2 with alpha 0.5.
        value_term: InitialStates (``v0``), ExpertStates (the default) or ExpertAndPolicyStates.
        absorbing_states: ended episodes go on in their last state for ever, see ``losses.iq.absorbed``.
        value_weight: factor of the value term, see ``losses.iq.iq_loss``.
        clip_targets: keep V(s') within what the penalty allows, +- max reward / (1 - gamma): 4 alpha / (1 - gamma) for
            Chi2Mixture, 200 at alpha 0.5 and gamma 0.99.
        settings: the others of :class:`~iqlightning.algorithms.learner.Learner`.
    """

    def __init__(
        self,
        encoder: EncoderFactory | None = None,
        divergence: Divergence | None = None,
        value_term: ValueTerm | None = None,
        absorbing_states: bool = False,
        value_weight: float = 1.0,
        clip_targets: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(encoder, **settings)
        self.divergence = divergence or Chi2()
        self.value_term = value_term or ExpertStates()
        self.absorbing_states = absorbing_states
        if not value_weight > 0:
            raise UserError(f"value_weight of IQLearn must be positive, not {value_weight}")
        self.value_weight = value_weight
        self.max_value = self._largest_value() if clip_targets else None

    def _largest_value(self) -> float:
        largest = self.divergence.max_reward
        if largest is None:
            raise UserError(
                f"clip_targets needs a divergence that bounds rewards on all data, which "
                f"{type(self.divergence).__name__} does not; valid: Chi2Mixture"
            )
        return largest / (1 - self.gamma)

    @property
    def needs(self) -> frozenset[str]:
        """The parts of a batch that divergence and value term read."""
        policy = self.divergence.needs_policy_data or self.value_term.needs_policy_data
        parts = {"expert": True, "policy": policy, "initial": self.value_term.needs_initial_states}
        return frozenset(name for name, needed in parts.items() if needed)

    @property
    def title(self) -> str:
        """The two of its parts that ask for data."""
        return f"{type(self.value_term).__name__} with {type(self.divergence).__name__}"

    def objective(self, batch: Batch) -> Objective:
        """One pass over all states of the batch, then the loss of ``losses.iq``."""
        expert, *rest = parts = self.parts_of(batch)
        initial = batch.get("initial") if self.value_term.needs_initial_states else None
        bellman = self.agent.bellman(parts, initial)

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
                self.max_value,
            )

        loss, terms = bellman.objective(of_terms)
        policy = rest[0] if rest else None
        penalty = self.divergence.penalty(self.agent.q_for_penalty, expert, policy, self.agent.observation_scale)
        if penalty is not None:
            loss = loss + penalty
            terms["penalty"] = penalty

        def diagnostics() -> dict[str, Tensor]:
            scalars = self.diagnose(bellman)
            if any(math.isfinite(end) for end in self.divergence.domain):
                rewards = bellman.parts[0].rewards(self.gamma)
                seen = absorbed(rewards, expert.terminated, self.gamma)[0] if self.absorbing_states else rewards
                scalars["guarded"] = self.divergence.guarded(seen)
            if self.max_value is not None:
                values = torch.cat([part.next_v for part in bellman.parts]).abs()
                scalars["clipped_targets"] = (values > self.max_value).to(values.dtype).mean()
            return scalars

        return Objective(loss, terms, diagnostics)
