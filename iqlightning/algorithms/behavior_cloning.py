"""Behaviour cloning: maximum likelihood of the expert's actions, the baseline of every comparison."""

from typing import Any

from torch import Tensor

from iqlightning.agents.agent import Objective, Step
from iqlightning.algorithms.learner import EncoderFactory, Learner
from iqlightning.losses.values import SoftValue
from iqlightning.types import Batch

__all__ = ["BehaviorCloning"]


class BehaviorCloning(Learner):
    """min -E_expert[log pi(a | s)], in nats (Pomerleau 1991).

    Where actions are discrete, pi is softmax(Q(s, .) / temperature). Q is identified only up to a constant for each
    state, so neither V nor the recovered reward means anything here; they exist so that the same tools can show it.

    Args:
        encoder: builds the agent's encoder from an observation's shape.
        temperature: of the softmax.
        settings: the others of :class:`~iqlightning.algorithms.learner.Learner`; ``gamma`` is that of the recovered
            reward that value maps show, training does not use it.
    """

    def __init__(self, encoder: EncoderFactory | None = None, temperature: float = 1.0, **settings: Any) -> None:
        super().__init__(encoder, value=SoftValue(temperature), target=None, copies=1, **settings)

    def steps(self) -> list[Step]:
        """Those of the agent's policy."""
        return self.agent.cloning_steps(self.objective)

    def objective(self, batch: Batch) -> Objective:
        """The negative log-likelihood; ``log_likelihood`` is its only term."""
        (expert,) = self.parts_of(batch)
        log_likelihood = self.agent.log_prob(expert.obs, expert.actions).mean()

        def diagnostics() -> dict[str, Tensor]:
            return self.agent.diagnose(self.agent.bellman([expert]))

        return Objective(-log_likelihood, {"log_likelihood": log_likelihood}, diagnostics)
