"""Ends a run that is asked to stop at a point from which it can be continued exactly."""

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import Callback, LightningModule, Trainer

from iqlightning.algorithms.lightning_internals import is_last_batch
from iqlightning.callbacks.best_and_last import BestAndLast
from iqlightning.interruption import ENDING, Interrupted, leave_terminal, takes

__all__ = ["StopOnSignal", "short_path"]


class StopOnSignal(Callback):
    """On Ctrl-C, SIGTERM, SIGHUP or SIGUSR1 finishes the updates at hand, saves ``last.ckpt`` and ends the run.

    A signal arrives anywhere, in the middle of an optimizer step as well; what is saved there could not be continued
    exactly. All processes of a run stop at the same update. A second signal ends the run at once, with the checkpoint
    of the last epoch. (SIGUSR1 is what clusters send before a job's time is over; Lightning would save right then.)
    """

    SIGNALS = (signal.SIGINT, *ENDING, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else []))

    def __init__(self) -> None:
        super().__init__()
        self._received = 0
        self._previous: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes over the signals; Lightning has set its own handlers before."""
        self._received = 0
        try:
            self._previous = {each: signal.signal(each, self._receive) for each in self.SIGNALS if takes(each)}
        except ValueError:  # not in the main thread: someone else handles signals
            self._previous = {}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stops here, except after an epoch's last batch: validation and saving come next and belong to the epoch."""
        if self._asked_to_stop(trainer) and not is_last_batch(trainer):
            saved = [each.save_last_now(trainer) for each in _keepers(trainer)]
            self._stop(trainer, saved)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops between two epochs: what the first one ended with has been saved."""
        if self._asked_to_stop(trainer):
            self._stop(trainer, [each.last_model_path for each in _keepers(trainer)])

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gives the signals back; a stop that came too late for training still ends the run before anything follows."""
        self._give_back()
        if self._asked_to_stop(trainer):
            self._stop(trainer, [each.last_model_path for each in _keepers(trainer)])

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Gives the signals back."""
        self._give_back()

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        leave_terminal(signum)
        if self._received:
            self._give_back()
            raise Interrupted(signum, "stopped at once; the checkpoint is that of the last epoch that was finished")
        self._received = signum
        if signum == signal.SIGINT and getattr(rank_zero_only, "rank", 0) == 0:
            # a plain write: the handler may have interrupted another print
            sys.stderr.write("\nstopping after this update and saving (Ctrl-C again: stop at once)\n")

    def _asked_to_stop(self, trainer: Trainer) -> bool:
        if trainer.world_size == 1:
            return bool(self._received)
        return trainer.strategy.reduce_boolean_decision(bool(self._received), all=False)

    def _stop(self, trainer: Trainer, saved: list[str]) -> None:
        self._give_back()
        paths = [path for path in saved if path]
        after = (
            f"; continue with the same command and --ckpt_path {short_path(paths[0])}"
            if paths
            else ", nothing was saved yet"
        )
        raise Interrupted(self._received or signal.SIGTERM, f"stopped after update {trainer.global_step}{after}")

    def _give_back(self) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        self._previous = {}


def _keepers(trainer: Trainer) -> list[BestAndLast]:
    return [each for each in trainer.checkpoint_callbacks if isinstance(each, BestAndLast)]


def short_path(path: str | Path) -> str:
    """The path as seen from the working directory, if it lies below it."""
    absolute = Path(path).resolve()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(absolute)
