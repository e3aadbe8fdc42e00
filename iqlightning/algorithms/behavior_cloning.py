"""Behaviour cloning: maximum likelihood of the expert's actions, the baseline of every comparison."""

from typing import Any, Literal

import torch
from torch import Tensor

from iqlightning.agents.agent import Objective, Step
from iqlightning.algorithms.learner import EncoderFactory, Learner
from iqlightning.errors import UserError
from iqlightning.losses.values import SoftValue
from iqlightning.spaces import action_dtype, action_shape
from iqlightning.types import Batch, EnvConfig

__all__ = ["BehaviorCloning"]


class BehaviorCloning(Learner):
    """min -E_expert[log pi(a | s)], in nats, or min E_expert[(mean of pi(. | s) - a)^2] (Pomerleau 1991).

    The squared error is a mean over an action's numbers in units of half their range. It trains the mean alone: how
    widely drawn actions scatter stays as it was, so that such a policy is to be played without drawing.

    Where actions are discrete, pi is softmax(Q(s, .) / temperature). Q is identified only up to a constant for each
    state, so neither V nor the recovered reward means anything here; they exist so that the same tools can show it.

    Args:
        encoder: builds the agent's encoder from an observation's shape.
        temperature: of the softmax.
        loss: ``nll``, the negative log-likelihood, or ``mse``, the mean squared error, of continuous actions only.
        settings: the others of :class:`~iqlightning.algorithms.learner.Learner`; ``gamma`` is that of the recovered
            reward that value maps show, training does not use it.

    Raises:
        UserError: when it is built, if the loss is ``mse`` and actions are discrete.
    """

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

    def build(self, env: EnvConfig) -> None:
        """The agent; one that has no mean action says so now."""
        super().build(env)
        if self.loss == "mse":
            action = torch.zeros((1, *action_shape(env.spaces.action)), dtype=action_dtype(env.spaces.action))
            self.agent.squared_error(torch.zeros((1, *env.spaces.observation_shape)), action)

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
