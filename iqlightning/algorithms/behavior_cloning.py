"""Behaviour cloning: maximum likelihood of the expert's actions, the baseline of every comparison."""

from collections.abc import Callable

from torch import Tensor

from iqlightning.algorithms.learner import Learner, Objective, OptimizerFactory
from iqlightning.algorithms.schedules import Schedule
from iqlightning.errors import UserError
from iqlightning.losses.cloning import cloning_loss
from iqlightning.losses.values import SoftValue
from iqlightning.nets.encoders.encoder import Encoder
from iqlightning.nets.heads import Head, PlainHead
from iqlightning.types import Batch

__all__ = ["BehaviorCloning"]


class BehaviorCloning(Learner):
    """min_Q -E_expert[log softmax(Q(s, .) / temperature)_a].

    Q is identified only up to a constant for each state, so neither V nor the recovered reward means anything here;
    they exist so that the same tools can show it.

    Args:
        encoder: see ``Learner``.
        head: see ``Learner``.
        temperature: of the softmax.
        gamma: of the recovered reward that value maps show; training does not use it.
        optimizer: see ``Learner``.
        schedule: see ``Learner``.
        max_grad_norm: see ``Learner``.
        log_every: see ``Learner``.
        seed: see ``Learner``.
        compile: see ``Learner``.
    """

    def __init__(
        self,
        encoder: Callable[[tuple[int, ...]], Encoder],
        head: Callable[[tuple[int, ...], int], Head] = PlainHead,
        temperature: float = 1.0,
        gamma: float = 0.99,
        optimizer: OptimizerFactory | None = None,
        schedule: Schedule | None = None,
        max_grad_norm: float | None = None,
        log_every: int | None = None,
        seed: int = 0,
        compile: bool = False,
    ) -> None:
        super().__init__(
            encoder, head, SoftValue(temperature), gamma, optimizer, schedule, max_grad_norm, log_every, seed, compile
        )

    def objective(self, batch: Batch) -> Objective:
        """The negative log-likelihood; ``log_likelihood`` is its only term."""
        expert = batch.get("expert")
        if expert is None:
            raise UserError("BehaviorCloning learns from demonstrations: take ImitationData as the data")
        q = self.network(expert.obs)
        loss = cloning_loss(q, expert.actions, self.value.temperature)

        def diagnostics() -> dict[str, Tensor]:
            return self.diagnose(q, expert.actions)

        return Objective(loss, {"log_likelihood": -loss}, diagnostics)
