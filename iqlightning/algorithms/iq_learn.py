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
    r"""max_Q E_expert[phi(Q(s, a) - gamma V(s'))] - value term, offline or online.

    Equations 9, 10 and 12 of Garg, Chakraborty, Cundy, Song and Ermon, "IQ-Learn: Inverse soft-Q Learning for
    Imitation", NeurIPS 2021, arXiv 2106.12142. Which states the value term runs over is what they differ in.

    Args:
        encoder: builds the agent's encoder from an observation's shape.
        divergence: phi; by default Chi2 with alpha 0.5.
        value_term: InitialStates (``v0``), ExpertStatesAsInitial, ExpertStates (the default) or ExpertAndPolicyStates.
        absorbing_states: an ended episode goes on in its last state for ever: what it ends with counts as a reward of
            1 - gamma times its size, 1 / (1 - gamma) times over.
        value_weight: factor of the value term. With a target network no gradient flows through V(s') of the rewards,
            so that more than 1 may be needed to hold V down at the expert's states.
        clip_targets: keep V(s') within what the penalty allows, +- max reward / (1 - gamma): 4 alpha / (1 - gamma) for
            Chi2Mixture, 200 at alpha 0.5 and gamma 0.99.
        settings: those of Learner.

    >>> import iqlightning as iq
    >>> model = iq.IQLearn(encoder="MLP", divergence="Chi2", value=iq.SoftValue(0.1), optimizer="AdamW")
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
    def q_bound(self) -> float | None:
        """That of the divergence, where it bounds rewards on all data."""
        return self.inverse_soft_q.max_value

    @property
    def title(self) -> str:
        """The two of its parts that ask for data."""
        return f"{type(self.inverse_soft_q.value_term).__name__} with {type(self.inverse_soft_q.divergence).__name__}"

    def objective(self, batch: Batch) -> Objective:
        """The loss of :class:`~iqlightning.algorithms.inverse_soft_q.InverseSoftQ`."""
        loss, terms, bellman, diagnostics = self.inverse_soft_q(self.agent, self.parts_of(batch), batch.get("initial"))
        return Objective(loss, terms, lambda: self.diagnose(bellman) | diagnostics())
