"""The ``train/`` figures: collected at every update, logged every so many, and what tells that a run has diverged."""

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from iqlightning.algorithms.lightning_internals import publish_metrics
from iqlightning.algorithms.metrics_buffer import MetricsBuffer
from iqlightning.algorithms.updates.eager import Updated
from iqlightning.errors import UserError

__all__ = ["TrainingMetrics"]

_REMEDY = "; try a lower learning rate or a smaller --model.max_grad_norm"


class TrainingMetrics:
    """Means over the updates since the last log, and over processes.

    They go to the loggers, and to ``trainer.callback_metrics`` for whatever monitors one of them.

    Attributes:
        buffer: a row of scalars for each update since the last log.
    """

    def __init__(self) -> None:
        self.buffer = MetricsBuffer()

    def add(self, made: Updated) -> None:
        """Takes the scalars of one more update."""
        self.buffer.add(made.names, made.scalars)

    @torch.no_grad()
    def log(self, trainer: Trainer, update: int, diagnostics: dict[str, Tensor], rate: float) -> None:
        """Logs what has been added since the last time.

        Args:
            trainer: of the run; all its processes have to call.
            update: updates made.
            diagnostics: further scalars, of this update alone.
            rate: the learning rate.

        Raises:
            UserError: if a figure is no number.
        """
        rows = self.buffer.rows()
        assert rows is not None
        values = torch.cat([rows.mean(0), torch.stack(list(diagnostics.values())).to(rows)])
        names = [*self.buffer.names, *diagnostics]
        values = _over_processes(trainer, values, names)
        numbers = dict(zip(names, values.tolist(), strict=True))
        wrong = [name for name in self.buffer.names if not abs(numbers[name]) < float("inf")]
        if wrong:
            self.require_finite(update)
            raise UserError(f"training diverged: {', '.join(wrong)} is {numbers[wrong[0]]} by update {update}{_REMEDY}")
        self.buffer.clear()
        metrics = {f"train/{name}": number for name, number in numbers.items()} | {"train/learning_rate": rate}
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=update)
        _publish(trainer, names, values, values.new_tensor(rate))

    @torch.no_grad()
    def publish(self, trainer: Trainer) -> None:
        """Shows callbacks the means so far, at a point where they may look before the next log."""
        rows = self.buffer.rows()
        if rows is not None:
            names = self.buffer.names
            _publish(trainer, names, _over_processes(trainer, rows.mean(0), names))

    @torch.no_grad()
    def require_finite(self, update: int) -> None:
        """Names the first update since the last log at which a term was no number, and the terms that were none."""
        first = self.buffer.first_not_finite()
        if first is None:
            return
        ago, wrong = first
        raise UserError(
            f"training diverged: {', '.join(f'{name} is {value}' for name, value in wrong.items())} at update "
            f"{update - ago}{_REMEDY}"
        )


def _publish(trainer: Trainer, names: list[str], values: Tensor, rate: Tensor | None = None) -> None:
    metrics = {f"train/{name}": value for name, value in zip(names, values.unbind(), strict=True)}
    publish_metrics(trainer, metrics if rate is None else metrics | {"train/learning_rate": rate}, shown="train/loss")


def _over_processes(trainer: Trainer, values: Tensor, names: list[str]) -> Tensor:
    """The mean over processes, each of which has an equal share of the batch; of extremes the extreme."""
    if trainer.world_size == 1:
        return values
    ends = {"_min": -1.0, "_max": 1.0}
    signs = values.new_tensor([ends.get(name[-4:], 0.0) for name in names])
    everybody = trainer.strategy.all_gather(values)
    return torch.where(signs == 0, everybody.mean(0), signs * (signs * everybody).amax(0))
