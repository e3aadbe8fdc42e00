"""IQ-Learn: inverse soft-Q learning (Garg et al. 2021, arXiv 2106.12142)."""

from typing import Any

from iqlightning.agents.agent import Objective
from iqlightning.algorithms.inverse_soft_q import InverseSoftQ
from iqlightning.algorithms.learner import EncoderFactory, Learner
from iqlightning.losses.divergences import Chi2, Divergence
from iqlightning.losses.iq import ExpertStates, ValueTerm
from iqlightning.types import Batch

__all__ = ["IQLearn"]


class IQLearn(Learner):
    r"""max_Q E_expert[phi(Q(s, a) - gamma V(s'))] - value term, offline or online (eq. 9, 10 and 12 of the paper).

    Args:
        encoder: builds the agent's encoder from an observation's shape.
        divergence: phi; by default Chi2 with alpha 0.5.
        value_term: InitialStates (``v0``), ExpertStatesAsInitial, ExpertStates (the default) or ExpertAndPolicyStates.
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
        self.inverse_soft_q = InverseSoftQ(
            divergence or Chi2(), value_term or ExpertStates(), self.gamma, absorbing_states, value_weight, clip_targets
        )

    @property
    def needs(self) -> frozenset[str]:
        """The parts of a batch that divergence and value term read."""
        return self.inverse_soft_q.needs

    @property
    def title(self) -> str:
        """The two of its parts that ask for data."""
        return f"{type(self.inverse_soft_q.value_term).__name__} with {type(self.inverse_soft_q.divergence).__name__}"

    def objective(self, batch: Batch) -> Objective:
        """The loss of :class:`~iqlightning.algorithms.inverse_soft_q.InverseSoftQ`."""
        loss, terms, bellman, diagnostics = self.inverse_soft_q(self.agent, self.parts_of(batch), batch.get("initial"))
        return Objective(loss, terms, lambda: self.diagnose(bellman) | diagnostics())
