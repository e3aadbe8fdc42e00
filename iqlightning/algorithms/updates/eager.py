"""One gradient step, operation by operation."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from iqlightning.agents.agent import Objective
from iqlightning.algorithms.updates.flat_weights import FlatWeights

__all__ = ["EagerUpdate", "Updated", "has_hooks", "step_without_label"]


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


def has_hooks(optimizer: torch.optim.Optimizer) -> bool:
    """Whether something wants to be called before or after its step."""
    return bool(optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks)


def step_without_label(optimizer: torch.optim.Optimizer) -> Callable[[], Any]:
    """The optimizer's step without the label for a profiler, which costs a small network as much as Adam itself.

    With it where hooks wait for the step, or a profiler for the label.
    """
    step = type(optimizer).step
    if not getattr(step, "hooked", False) or has_hooks(optimizer) or torch.autograd.profiler._is_profiler_enabled:
        return optimizer.step
    return partial(step.__wrapped__, optimizer)  # type: ignore[attr-defined]


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
        self._step: Callable[[], Any] = optimizer.step

    def begin(self) -> None:
        """Called before the first of several updates in a row."""
        if self.flat is not None:
            self.flat.attach()
        self._step = step_without_label(self.optimizer)

    def __call__(self, batch: Any, diagnose: bool) -> Updated:
        """Updates the weights; ``diagnose`` says whether diagnostics are going to be asked for."""
        objective = self.objective(batch)
        if self.flat is not None:
            self.flat.gradient.zero_()
        else:
            self.optimizer.zero_grad()
        self.backward(objective.loss)
        grad_norm = self._clip()
        self._step()
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
