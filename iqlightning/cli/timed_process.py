"""``python -m iqlightning.cli.timed_process FILE START STOP COMMAND ...``: a command in a process of its own, watched.

FILE receives, as JSON, seconds since START (of ``time.time()``) until the first update, until the validation at which
99% of the episodes first succeed, and the updates a second in between. For the speed benchmark.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from iqlightning.cli import training
from iqlightning.cli.main import main

__all__ = ["Watch"]

# Updates before the clock of the rate starts: caches, the first log, the first exchange between processes.
_SKIP = 10


class Watch(Callback):
    """Takes note of when things happen; it comes after all other callbacks.

    Args:
        file: where to write what was noticed.
        started: when the process was started.
        stop: what ends the run: ``first_update``, ``success`` or nothing.
    """

    def __init__(self, file: Path, started: float, stop: str) -> None:
        self.file, self.started, self.stop = file, started, stop
        self.found: dict[str, float] = {}
        self._since: tuple[float, int] | None = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The first update, and from when on updates are counted."""
        now = time.time()
        self.found.setdefault("first_update", now - self.started)
        if self._since is None and trainer.global_step >= _SKIP:
            self._since = now, trainer.global_step
        elif self._since is not None:
            self.found["updates_per_second"] = (trainer.global_step - self._since[1]) / (now - self._since[0])
        if self.stop == "first_update":
            trainer.should_stop = True

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The first time that 99% of the episodes succeed."""
        success = trainer.callback_metrics.get("val/success_rate")
        if success is not None and float(success) >= 0.99:
            self.found.setdefault("success", time.time() - self.started)
            if self.stop == "success":
                trainer.should_stop = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the file."""
        if trainer.global_rank == 0:
            self.file.write_text(json.dumps(self.found))


def _run() -> int:
    file, started, stop, *arguments = sys.argv[1:]
    watch = Watch(Path(file), float(started), stop)
    build = training.TrainingCLI.instantiate_trainer

    def with_watch(self: training.TrainingCLI, **kwargs: Any) -> Trainer:
        trainer = build(self, **kwargs)
        trainer.callbacks.append(watch)  # type: ignore[attr-defined]
        return trainer

    training.TrainingCLI.instantiate_trainer = with_watch
    return main(arguments)


if __name__ == "__main__":
    sys.exit(_run())
