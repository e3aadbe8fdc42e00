"""``fit`` itself, timed from within: what the speed benchmark holds against plain loops."""

import io
import tempfile
from collections.abc import Mapping
from contextlib import chdir, redirect_stdout
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console

from iqlightning.analysis.speed.measure import Stopwatch, Timing
from iqlightning.callbacks.progress_bar import UpdateProgressBar
from iqlightning.cli.run_folder import folder_variable_kept
from iqlightning.cli.training import TrainingCLI
from iqlightning.cli.trust import import_families

__all__ = ["timed_fit"]

# callbacks as in configs/base.yaml, with few episodes: playing them is not what is measured
_CALLBACKS = [
    {"class_path": "PolicyEvaluation", "init_args": {"episodes": 4, "test_episodes": 4}},
    {"class_path": "ValueMapImages"},
    {"class_path": "UpdateProgressBar"},
    {"class_path": "FinalSummary", "init_args": {"episodes": 4}},
]


class _Clock(Callback):
    """Measures training without its first updates and without validation."""

    def __init__(self, skip: int) -> None:
        self.watch, self.skip = Stopwatch(), skip
        self.first = self.last = 0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if not self.first and trainer.global_step >= self.skip:
            self.first = trainer.global_step
            self.watch.start()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.watch.stop()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # validation is over, with what other callbacks draw at its end; checkpoints come next
        if self.first:
            self.watch.start()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.watch.stop()
        self.last = trainer.global_step


class _TimedCLI(TrainingCLI):
    clock: _Clock

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        trainer = super().instantiate_trainer(**kwargs)
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, UpdateProgressBar):
                # a live bar, as on a terminal, drawn where nobody sees it
                callback.console = Console(file=io.StringIO(), force_terminal=True)
        trainer.callbacks.insert(0, self.clock)  # type: ignore[attr-defined]
        return trainer


def timed_fit(config: Mapping[str, Any], updates: int, *, skip: int = 64) -> Timing:
    """Runs ``fit`` with loggers, callbacks, checkpoints and a live progress bar, in a folder that is deleted after it.

    Args:
        config: ``model`` and ``data``, and ``trainer`` settings beyond those of ``configs/base.yaml``.
        updates: to measure.
        skip: updates before the clock starts: compilation, caches, the first log.

    Returns:
        the time of ``updates`` updates with everything around them but validation, which plays episodes.
    """
    whole = {**config, "trainer": {"accelerator": "cpu", **config.get("trainer", {})}}
    whole["trainer"] |= {"callbacks": _CALLBACKS, "max_steps": updates + skip}
    clock = _Clock(skip)
    with tempfile.TemporaryDirectory() as folder, chdir(folder), redirect_stdout(io.StringIO()), folder_variable_kept():
        Path("speed.yaml").write_text(yaml.safe_dump(whole))
        import_families(())
        command = type("_CLI", (_TimedCLI,), {"clock": clock})
        command("fit", ["--config", "speed.yaml"], ["speed.yaml"]).execute()
    return Timing(clock.last - clock.first, clock.watch.seconds)
