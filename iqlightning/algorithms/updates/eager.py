"""One gradient step, operation by operation."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from iqlightning.agents.agent import Objective
from iqlightning.algorithms.updates.flat_weights import FlatWeights

__all__ = ["EagerUpdate", "Updated"]


class Updated(NamedTuple):
    """What an update leaves behind.

    Attributes:
        names: of the scalars.
        scalars: loss, terms and the norm of the gradient before clipping; on the device, one by one or as a vector.
        diagnostics: computes further scalars; of the weights before the update.
    """

    names: list[str]
    scalars: tuple[Tensor, ...] | Tensor
    diagnostics: Callable[[], dict[str, Tensor]]


class EagerUpdate:
    """objective -> gradient -> clip -> optimizer step.

    Args:
        objective: of a batch; gives loss, terms and diagnostics.
        backward: computes gradients of a loss.
        optimizer: steps.
        parameters: that it steps.
        flat: the same as one vector, or None where the optimizer tells them apart.
        max_grad_norm: gradients are scaled down to it; None for no clipping.
    """

    def __init__(
        self,
        objective: Callable[[Any], Objective],
        backward: Callable[[Tensor], None],
        optimizer: torch.optim.Optimizer,
        parameters: list[nn.Parameter],
        flat: FlatWeights | None,
        max_grad_norm: float | None,
    ) -> None:
        self.objective, self.backward, self.optimizer = objective, backward, optimizer
        self.parameters, self.flat, self.max_grad_norm = parameters, flat, max_grad_norm

    def begin(self) -> None:
        """Called before the first of several updates in a row."""
        if self.flat is not None:
            self.flat.attach()

    def __call__(self, batch: Any, diagnose: bool) -> Updated:
        """Updates the weights; ``diagnose`` says whether diagnostics are going to be asked for."""
        objective = self.objective(batch)
        if self.flat is not None:
            self.flat.gradient.zero_()
        else:
            self.optimizer.zero_grad()
        self.backward(objective.loss)
        grad_norm = self._clip()
        self.optimizer.step()
        scalars = (objective.loss.detach(), *(term.detach() for term in objective.terms.values()), grad_norm)
        return Updated(["loss", *objective.terms, "grad_norm"], scalars, objective.diagnostics)

    @torch.no_grad()
    def _clip(self) -> Tensor:
        if self.flat is None:
            return nn.utils.clip_grad_norm_(self.parameters, self.max_grad_norm or float("inf"))
        norm = torch.linalg.vector_norm(self.flat.gradient)
        if self.max_grad_norm is not None:
            self.flat.gradient.mul_((self.max_grad_norm / (norm + 1e-6)).clamp_(max=1.0))
        return norm
