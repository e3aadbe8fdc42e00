"""Behaviour cloning: maximum likelihood of the expert's actions, the baseline of every comparison."""

from typing import Any, Literal

import torch
from torch import Tensor

from iqlightning.agents.agent import Agent, Objective, Step
from iqlightning.algorithms.learner import EncoderFactory, Learner
from iqlightning.errors import UserError
from iqlightning.losses.values import SoftValue
from iqlightning.spaces import action_dtype, action_shape
from iqlightning.types import Batch

__all__ = ["BehaviorCloning"]


class BehaviorCloning(Learner):
    """min -E_expert[log pi(a | s)], in nats, or min E_expert[(mean of pi(. | s) - a)^2].

    Pomerleau, "Efficient Training of Artificial Neural Networks for Autonomous Navigation", Neural Computation 3 (1),
    1991, doi 10.1162/neco.1991.3.1.88.

    The squared error is a mean over an action's numbers in units of half their range. It trains the mean alone: how
    widely drawn actions scatter stays as it was, so that such a policy is to be played without drawing.

    Where actions are discrete, pi is softmax(Q(s, .) / temperature). Q is identified only up to a constant for each
    state, so neither V nor the recovered reward means anything here; they exist so that the same tools can show it.
    Training does not use ``gamma``, which is that of the shown reward.

    Args:
        encoder: builds the agent's encoder from an observation's shape.
        temperature: of the softmax.
        loss: ``nll``, the negative log-likelihood, or ``mse``, the mean squared error, of continuous actions only.
        settings: those of Learner.

    Raises:
        UserError: when it is built, if the loss is ``mse`` and actions are discrete.
    """

    fixed = ("value", "target", "copies")

    reads_successors = False

    def __init__(
        self,
        encoder: EncoderFactory | None = None,
        temperature: float = 1.0,
        loss: Literal["nll", "mse"] = "nll",
        **settings: Any,
    ) -> None:
        own = settings.get("agent") is None
        if not own and temperature != 1.0:
            raise UserError("model.temperature is that of softmax(Q / temperature); an agent with an actor has its own")
        super().__init__(encoder, value=SoftValue(temperature) if own else None, target=None, copies=1, **settings)
        self.loss = loss

    def after_build(self, agent: Agent) -> None:
        """One that has no mean action says so now."""
        if self.loss == "mse":
            spaces = agent.spaces
            action = torch.zeros((1, *action_shape(spaces.action)), dtype=action_dtype(spaces.action))
            agent.squared_error(torch.zeros((1, *spaces.observation_shape)), action)

    def steps(self) -> list[Step]:
        """Those of the agent's policy."""
        return self.agent.cloning_steps(self.objective)

    def objective(self, batch: Batch) -> Objective:
        """The loss; its only term is ``log_likelihood`` or ``mse``."""
        (expert,) = self.parts_of(batch)

        def diagnostics() -> dict[str, Tensor]:
            return self.agent.diagnose(self.agent.bellman([expert]))

        if self.loss == "mse":
            error = self.agent.squared_error(expert.obs, expert.actions).mean()
            return Objective(error, {"mse": error}, diagnostics)
        log_likelihood = self.agent.log_prob(expert.obs, expert.actions).mean()
        return Objective(-log_likelihood, {"log_likelihood": log_likelihood}, diagnostics)
