"""What Lightning's trainer can be asked for here: an option works, or is refused in a sentence; none is ignored."""

from typing import Any

from lightning.pytorch import Callback, callbacks
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy

from iqlightning.algorithms.lightning_internals import saves_by_the_clock, saving_interval
from iqlightning.data.updates import limited_epoch
from iqlightning.errors import UserError

__all__ = ["pauses", "require_supported"]

_PRECISIONS = ("32-true", "64-true", "bf16-true", "bf16-mixed")

_OWN_OPTIMIZATION = "because the algorithms step their optimizers themselves"

# what each wants to change is out of its reach: the weights are one vector, and several updates are made in a row
_CALLBACKS: dict[type[Callback], str] = {
    callbacks.StochasticWeightAveraging: "sets the learning rate and averages weights",
    callbacks.GradientAccumulationScheduler: "delays the optimizer's steps",
    callbacks.LearningRateFinder: "sets the learning rate",
    callbacks.BatchSizeFinder: "changes the size of batches",
    callbacks.BaseFinetuning: "changes which weights the optimizer steps",
    callbacks.ModelPruning: "replaces the weights that the optimizer steps",
}

# they look at single updates
_PER_UPDATE = (
    callbacks.LearningRateMonitor,
    callbacks.DeviceStatsMonitor,
    callbacks.ThroughputMonitor,
    callbacks.WeightAveraging,
)


def require_supported(trainer: Any) -> None:
    """Looks through the settings of a trainer that is about to fit.

    Raises:
        UserError: naming the first option that would have no effect, or a wrong one, and what to use instead.
    """
    if trainer.overfit_batches:
        raise UserError(
            f"trainer.overfit_batches {trainer.overfit_batches} has no effect here, because each update draws a batch "
            "of its own; to learn a few demonstrations by heart set --data.episodes"
        )
    if trainer.accumulate_grad_batches != 1:
        raise UserError(
            f"trainer.accumulate_grad_batches has no effect here, {_OWN_OPTIMIZATION}; take a larger --data.batch_size"
        )
    for key in ("gradient_clip_val", "gradient_clip_algorithm"):
        if getattr(trainer, key) is not None:
            raise UserError(f"trainer.{key} has no effect here, {_OWN_OPTIMIZATION}; clip with --model.max_grad_norm")
    if trainer.precision not in _PRECISIONS:
        raise UserError(
            f"trainer.precision {trainer.precision} is not offered: half precision needs scaled losses, which several "
            f"optimizer steps in a row do not have; valid: {', '.join(_PRECISIONS)}"
        )
    if not isinstance(trainer.strategy, (SingleDeviceStrategy, DDPStrategy)):
        raise UserError(
            f"trainer.strategy {type(trainer.strategy).__name__} is not offered: weights are one vector here, which is "
            "not shared out; valid: auto, ddp"
        )
    if trainer.log_every_n_steps < 1:
        raise UserError(
            f"trainer.log_every_n_steps counts updates and must be at least 1, not {trainer.log_every_n_steps}"
        )
    for callback in trainer.callbacks:
        _require_supported_callback(callback)
    _require_interval_within_epoch(trainer)


def pauses(trainer: Any) -> list[int]:
    """Intervals, in updates, at whose multiples a callback of the trainer has to get its turn."""
    if any(isinstance(each, _PER_UPDATE) for each in trainer.callbacks):
        return [1]
    return sorted({interval for each in trainer.callbacks if (interval := saving_interval(each)) is not None})


def _require_supported_callback(callback: Callback) -> None:
    name = type(callback).__name__
    for cls, does in _CALLBACKS.items():
        if isinstance(callback, cls):
            raise UserError(f"the callback {name} cannot work here: it {does}, {_OWN_OPTIMIZATION}")
    if saves_by_the_clock(callback):
        raise UserError(
            f"the setting train_time_interval of {name} has no effect, {_OWN_OPTIMIZATION}; take every_n_train_steps"
        )


def _require_interval_within_epoch(trainer: Any) -> None:
    per_epoch = getattr(getattr(trainer, "datamodule", None), "updates_per_epoch", None)
    interval = trainer.val_check_interval
    if not isinstance(interval, int) or per_epoch is None or trainer.check_val_every_n_epoch is None:
        return
    updates = limited_epoch(trainer, per_epoch)
    if interval > updates and trainer.limit_val_batches:
        raise UserError(
            f"trainer.val_check_interval {interval} is longer than an epoch of {updates} updates; set "
            "trainer.check_val_every_n_epoch to null to count it across epochs"
        )
