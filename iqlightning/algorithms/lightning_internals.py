"""Every private name of Lightning that this package needs, one small function each.

Lightning counts batches, and lets nobody else count. Here one call of ``training_step`` makes several gradient updates,
because the fixed cost of a call exceeds a small network's whole update; and updates are what users count in: epochs,
validations, schedules and checkpoints are given in updates. So Lightning's counts are kept in updates, by the functions
below. ``tests/algorithms/test_lightning_internals.py`` says which of them a new Lightning would break.
"""

import os
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

__all__ = [
    "align_counts",
    "ask_no_driver",
    "count_batches",
    "count_update",
    "has_begun",
    "is_attached",
    "is_last_batch",
    "leave_hyperparameters_to_others",
    "publish_metrics",
    "saves_by_the_clock",
    "saving_interval",
]

_FIELDS = ("ready", "started", "processed", "completed")


def count_update(trainer: Trainer) -> None:
    """Counts one gradient update, whatever the number of optimizers: ``trainer.global_step`` is one more.

    Lightning counts calls of its own wrappers around optimizers, whose cost is that of a small network's step.
    """
    loop: Any = trainer.fit_loop.epoch_loop
    progress = loop.manual_optimization.optim_step_progress
    progress.increment_ready()
    progress.increment_completed()
    # Lightning adds one after the batch and uses the result as the horizontal axis of what callbacks log.
    loop._batches_that_stepped = progress.total.completed - 1


def count_batches(trainer: Trainer, number: int) -> None:
    """Counts further batches beside the one that Lightning has just begun, so that its counts are those of updates.

    They decide when the epoch ends, and when ``trainer.val_check_interval`` is over. The fetcher has its own count.
    """
    loop: Any = trainer.fit_loop.epoch_loop
    loop.batch_progress.increment_by(number)
    fetcher: Any = trainer.fit_loop._data_fetcher
    fetcher.fetched += number
    fetcher.done = fetcher.length is not None and fetcher.fetched >= fetcher.length
    loop.batch_progress.is_last_batch = fetcher.done


def is_last_batch(trainer: Trainer) -> bool:
    """Whether the epoch ends after the batch at hand."""
    return trainer.fit_loop.epoch_loop.batch_progress.is_last_batch


def has_begun(trainer: Trainer) -> bool:
    """Whether a first batch has been asked for."""
    return trainer.fit_loop.epoch_loop.batch_progress.total.ready > 0


def is_attached(module: LightningModule) -> bool:
    """Whether a module has a trainer; the public property raises where there is none."""
    return module._trainer is not None


def leave_hyperparameters_to_others(module: LightningModule) -> None:
    """Keeps Lightning from telling the loggers a module's ``hparams``, where they have been told already."""
    module._log_hyperparams = False


def publish_metrics(trainer: Trainer, metrics: Mapping[str, Tensor], shown: str) -> None:
    """Puts figures where ``trainer.callback_metrics`` finds them, and one of them on Lightning's own progress bars.

    It is what ``self.log(..., logger=False)`` comes to, without a millisecond of bookkeeping for each call of
    ``training_step``, which dozens of updates fit into.
    """
    connector: Any = trainer._logger_connector
    connector._callback_metrics.update(metrics)
    connector._progress_bar_metrics[shown.rpartition("/")[2]] = metrics[shown]


def ask_no_driver() -> None:
    """On a machine without a GPU, spares each optimizer step a search for NVIDIA's library.

    Importing Lightning sets a variable that has ``torch.cuda.is_available`` ask the driver, so as not to make a process
    that is going to fork use CUDA. Every ``Optimizer.step`` asks; where there is no driver, nothing remembers that, and
    the library is looked for again, which takes as long as half the step of a small network.
    """
    if not torch.cuda.is_available():
        os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)


def saving_interval(callback: Callback) -> int | None:
    """Updates between two checkpoints of a callback that counts them; None if it does not."""
    return (callback._every_n_train_steps or None) if isinstance(callback, ModelCheckpoint) else None


def saves_by_the_clock(callback: Callback) -> bool:
    """Whether a callback saves every so many seconds, which Lightning does not do under manual optimization."""
    return isinstance(callback, ModelCheckpoint) and callback._train_time_interval is not None


def align_counts(checkpoint: dict[str, Any], updates_per_epoch: int) -> None:
    """Makes the counts of epochs and batches in a checkpoint agree with the number of updates made.

    They are wrong where a run was cut off within a call of ``training_step``, and in files of earlier versions, which
    counted calls; the epoch would then end, and be validated, at the wrong update.

    Args:
        checkpoint: as Lightning saves it, changed in place.
        updates_per_epoch: of the run that goes on.
    """
    loops = checkpoint.get("loops", {}).get("fit_loop")
    if loops is None:
        return
    made = checkpoint["global_step"]
    epochs, within = divmod(made, updates_per_epoch)
    batches, counted_epochs = loops["epoch_loop.batch_progress"], loops["epoch_progress"]
    current, total = batches["current"], batches["total"]
    # where the hooks after a batch saved it, the last batch begun has been processed
    processed = current["ready"] == current["processed"]
    if not processed:
        current.update(dict.fromkeys(_FIELDS, within))
        total.update(dict.fromkeys(_FIELDS, made))
        batches["is_last_batch"] = False
        if within == 0 and made:
            # The epoch's last update was made but its end was not noticed any more: begin with the next one.
            _shift(counted_epochs["current"], epochs - counted_epochs["current"]["processed"])
        return
    _shift(current, (within or min(made, updates_per_epoch)) - current["processed"] if current["ready"] else 0)
    _shift(total, made - total["processed"])


def _shift(counts: dict[str, int], shift: int) -> None:
    for name in _FIELDS:
        counts[name] += shift
