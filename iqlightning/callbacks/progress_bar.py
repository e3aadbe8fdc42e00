"""A progress bar that counts gradient updates and shows what matters."""

import math
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from iqlightning.callbacks.best_and_last import run_folder
from iqlightning.callbacks.opening_line import opening_line

__all__ = ["UpdateProgressBar"]

_REFRESH_SECONDS = 0.1
# Where a terminal is narrow the last ones are cut.
_SHOWN = {
    "success": "val/success_rate",
    "distance ratio": "val/distance_ratio",
    "return": "val/mean_return",
    "loss": "train/loss",
}
_NARROW = 100  # columns of a terminal with room for a short bar only


class _Figures(ProgressColumn):
    """What is left of the line; the other columns keep their width."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["figures"], no_wrap=True, overflow="ellipsis")


class UpdateProgressBar(ProgressBar):
    """One line that counts gradient updates, however many of them make a batch of Lightning's, across all epochs.

    On a terminal it is a live bar; elsewhere (a file, a pipe, a job's log) it is about ``lines`` plain lines.

    Before, one line says what is trained, on what and where, and how observations are scaled for networks.

    It shows the loss, success rate and distance ratio, and the return where there is no success rate.

    Args:
        lines: how many lines a whole run prints where there is no terminal.
    """

    def __init__(self, lines: int = 10) -> None:
        super().__init__()
        self.lines = lines
        self.console = Console()
        self._enabled = True
        self._progress: Progress | None = None
        self._next_look = 0.0
        self._started = 0.0
        self._first_update = 0
        self._lines_printed = 0

    def disable(self) -> None:
        """Shows nothing any more."""
        self._stop()
        self._enabled = False

    def enable(self) -> None:
        """Shows again, from the next start of training."""
        self._enabled = True

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Prints above the bar."""
        if self._enabled:
            self.console.print(*args, **kwargs)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins to count, from where a resumed run stands."""
        self._started, self._first_update = time.monotonic(), trainer.global_step
        self._next_look, self._lines_printed = 0.0, 0
        folder = run_folder(trainer)  # asks all processes
        if self._enabled and trainer.is_global_zero:
            # a terminal would break it within words
            line = Text(opening_line(trainer, pl_module, folder))
            self.console.print(line, soft_wrap=not self.console.is_terminal)
        if not (self._enabled and self.console.is_terminal):
            return
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=10 if self.console.width < _NARROW else 24, table_column=Column(no_wrap=True)),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TimeElapsedColumn(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            _Figures(),
            console=self.console,
        )
        self._progress.add_task("training", total=_total_updates(trainer), completed=trainer.global_step, figures="")
        self._progress.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Brings the bar up to date, at most ten times a second: reading a loss waits for the device."""
        now = time.monotonic()
        if self._enabled and now >= self._next_look:
            self._next_look = now + _REFRESH_SECONDS
            self._show(trainer, "training")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says that a pause is a validation."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._show(trainer, "validating")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Shows the new figures."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._show(trainer, "training")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Shows the last figures and lets go of the terminal."""
        if self._enabled:
            self._show(trainer, "trained", last=True)
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Lets go of the terminal, so that the message which follows is readable."""
        self._stop()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Lets go of the terminal."""
        self._stop()

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _show(self, trainer: Trainer, what: str, *, last: bool = False) -> None:
        if self._progress is not None:
            task = self._progress.task_ids[0]
            figures = ", ".join(self._figures(trainer))
            self._progress.update(task, description=what, completed=trainer.global_step, figures=figures)
        elif self._enabled and not self.console.is_terminal and what != "validating":
            self._print_line(trainer, last)

    def _print_line(self, trainer: Trainer, last: bool) -> None:
        """One line for each n-th part of the run."""
        update, total = trainer.global_step, _total_updates(trainer)
        # without a known end: at 1, 2, 4, 8, ... thousand updates
        part = int(update / total * self.lines) if total else max(0, update // 1000).bit_length()
        # the last update's line waits for the figures of the last validation
        if not last and (part <= self._lines_printed or update == total):
            return
        self._lines_printed = part
        seconds = time.monotonic() - self._started
        speed = (update - self._first_update) / max(seconds, 1e-9)
        share = f"/{total} ({update / total:.0%})" if total else ""
        left = f", {_clock((total - update) / speed)} left" if total and speed > 0 and not last else ""
        line = f"update {update}{share} after {_clock(seconds)}{left}, {speed:.0f} updates/s: "
        self.console.print(Text(line + ", ".join(self._figures(trainer))), soft_wrap=True)

    def _figures(self, trainer: Trainer) -> list[str]:
        logged = trainer.callback_metrics
        figures = {label: float(logged[name]) for label, name in _SHOWN.items() if name in logged}
        if "success" in figures:
            figures.pop("return", None)
        return [
            f"{label} {value:.1%}" if label == "success" else f"{label} {value:.4g}" for label, value in figures.items()
        ]


def _total_updates(trainer: Trainer) -> int | None:
    """The update at which training ends, if that is known: the step limit, or that of whole epochs."""
    total = trainer.estimated_stepping_batches
    return None if total == float("inf") else int(total)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
