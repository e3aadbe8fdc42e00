"""One update: all its steps, in order, on the same batch."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from iqlightning.agents.agent import Step
from iqlightning.algorithms.updates.backward import backward_for
from iqlightning.algorithms.updates.compiled import CompiledUpdate
from iqlightning.algorithms.updates.eager import EagerUpdate, Updated
from iqlightning.algorithms.updates.flat_weights import FlatWeights
from iqlightning.types import Batch

__all__ = ["Updater", "make_updater"]


class Updater:
    """Makes the steps of an update one after the other; each sees the weights that the ones before it have left.

    Figures of the first step go by their own names (``loss``, ``grad_norm``), those of the others have the name of
    their step before them (``actor_loss``).

    Args:
        steps: by name.
    """

    def __init__(self, steps: Mapping[str, EagerUpdate | CompiledUpdate]) -> None:
        self.steps = dict(steps)

    def begin(self) -> None:
        """Called before the first of several updates in a row."""
        for step in self.steps.values():
            step.begin()

    def __call__(self, batch: Batch, diagnose: bool) -> Updated:
        """Updates the weights; ``diagnose`` says whether diagnostics are going to be asked for."""
        made = {name: step(batch, diagnose) for name, step in self.steps.items()}
        first, *others = made
        if not others:
            return made[first]
        names: list[str] = []
        scalars: list[Tensor] = []
        for name, each in made.items():
            names += [f"{_prefix(name, first)}{scalar}" for scalar in each.names]
            scalars += each.scalars.unbind() if isinstance(each.scalars, Tensor) else each.scalars

        def diagnostics() -> dict[str, Tensor]:
            return {
                f"{_prefix(name, first)}{scalar}": value
                for name, each in made.items()
                for scalar, value in each.diagnostics().items()
            }

        return Updated(names, tuple(scalars), diagnostics)


def make_updater(
    module: LightningModule,
    steps: Sequence[tuple[Step, FlatWeights | None]],
    optimizers: Sequence[torch.optim.Optimizer],
    max_grad_norm: float | None,
    compiled: bool,
    scheduled: bool,
) -> Updater:
    """The update of a running algorithm.

    Args:
        module: the algorithm.
        steps: of the update, each with the flat weights that it steps, if they are flat.
        optimizers: of the steps.
        max_grad_norm: gradients are scaled down to it; None for no clipping.
        compiled: whether steps are to be compiled; where they cannot be, that is said.
        scheduled: whether an objective changes from update to update by more than its tensors.
    """
    obstacle = _obstacle_to_compiling(module.trainer, steps, scheduled) if compiled else None
    if obstacle is not None:
        rank_zero_warn(f"compile has no effect: {obstacle}; updates are made operation by operation")
    networks = {name: each for name, each in module.named_children() if any(True for _ in each.parameters())}
    updates: dict[str, EagerUpdate | CompiledUpdate] = {}
    for (step, flat), optimizer in zip(steps, optimizers, strict=True):
        parameters = [each for each in step.module.parameters() if each.requires_grad]
        backward = backward_for(module, parameters, flat, alone=len(steps) == 1)
        eager = EagerUpdate(step.objective, backward, optimizer, parameters, flat, max_grad_norm)
        compiles = compiled and obstacle is None
        updates[step.name] = CompiledUpdate(eager, networks, say=rank_zero_warn) if compiles else eager
    return Updater(updates)


def _obstacle_to_compiling(trainer: Any, steps: Sequence[tuple[Step, Any]], scheduled: bool) -> str | None:
    if trainer.world_size > 1:
        return "only runs of one process are compiled"
    if scheduled:
        return "its temperature changes from update to update"
    if any(flat is None for _, flat in steps):
        return "this optimizer treats each parameter as a matrix of its own"
    if "mixed" in str(trainer.precision):
        return f"with precision {trainer.precision} each operation chooses its own"
    if torch.is_anomaly_enabled():
        return "detect_anomaly looks at every operation"
    return None


def _prefix(name: str, first: str) -> str:
    return "" if name == first else f"{name}_"
