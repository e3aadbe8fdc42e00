"""Faults to plant in a command: it sends itself a signal at a chosen update or moment."""

import errno
import io
import json
import os
import signal
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from forked_commands import plant

from iqlightning import checkpoint_files, files
from iqlightning.algorithms import learner
from iqlightning.callbacks.best_and_last import BestAndLast
from iqlightning.callbacks.policy_evaluation import PolicyEvaluation
from iqlightning.callbacks.stop_on_signal import StopOnSignal
from iqlightning.data.imitation_data import ImitationData
from iqlightning.errors import UserError
from iqlightning.gridworld.expert import ShortestPathExpert

__all__ = [
    "EDGES",
    "STAGES",
    "call_at_update",
    "fail_at_write",
    "raise_at_update",
    "remount",
    "signal_at_edge",
    "signal_at_setup",
    "signal_at_update",
    "signal_in_save",
    "signal_in_write",
    "write_down",
]


def _send(signum: int) -> None:
    os.kill(os.getpid(), signum)


def signal_at_update(update: int, signum: int = signal.SIGKILL) -> None:
    """When ``update`` gradient updates have been made, in the middle of a step of several."""
    call_at_update(update, _send, signum)


def signal_at_setup(signum: int) -> None:
    """While demonstrations are loaded, long before the first update."""
    plant(ImitationData, "setup", lambda *arguments, **named: _send(signum))


#: Between an epoch's last update and the first one of the next.
EDGES: dict[str, tuple[Any, str, bool]] = {
    "before validation": (StopOnSignal, "on_train_batch_end", False),
    "in validation": (PolicyEvaluation, "on_validation_epoch_end", False),
    "before saving": (BestAndLast, "on_train_epoch_end", False),
    "between best and last": (BestAndLast, "_save_last", False),
    "after saving": (BestAndLast, "_save_last", True),
    "next epoch": (StopOnSignal, "on_train_epoch_start", False),
}


def signal_at_edge(update: int, edge: str, signum: int = signal.SIGKILL) -> None:
    """At an edge of epochs, ``update`` being the last one of its epoch."""
    owner, name, after = EDGES[edge]

    def act(callback: Any, trainer: Any, *others: Any) -> None:
        if trainer.global_step == update:
            _send(signum)

    plant(owner, name, act, after=after)


#: Of writing a file, in order; the number is the share of its bytes that are written.
STAGES = ("opened", 0.01, 0.5, 0.99, "written", "flushed", "renamed")


def signal_in_save(count: int, stage: str | float, signum: int = signal.SIGKILL) -> None:
    """In the ``count``-th checkpoint that is written, counted from 1."""
    saves = 0

    def begin(*arguments: Any, **named: Any) -> None:
        nonlocal saves
        saves += 1

    def due() -> bool:
        return saves == count

    def act(*arguments: Any) -> None:
        if due():
            _send(signum)

    plant(checkpoint_files._Sealed, "__init__", begin)
    if stage in ("written", "flushed"):
        plant(os, "fsync", act, after=stage == "flushed")
    elif stage == "renamed":
        plant(os, "replace", act, after=True)
    else:
        _interrupt_writing(stage, signum, due)


def signal_in_write(share: float, signum: int = signal.SIGKILL) -> None:
    """When a share of the first file of any kind has been written."""
    _interrupt_writing(share, signum, lambda: True)


def _interrupt_writing(stage: str | float, signum: int, due: Callable[[], bool]) -> None:
    opened: Callable[..., Any] = open

    def opening(path: Any, *arguments: Any, **named: Any) -> Any:
        file = opened(path, *arguments, **named)
        return _Interrupted(file, stage, signum) if "x" in arguments[0] and due() else file

    files.__dict__["open"] = opening  # found before the built-in one


class _Interrupted:
    """A file of which a share is written before the signal."""

    def __init__(self, file: Any, stage: str | float, signum: int) -> None:
        self._file, self._stage, self._signum, self._content = file, stage, signum, io.BytesIO()

    def __enter__(self) -> "_Interrupted":
        return self

    def __exit__(self, *arguments: Any) -> None:
        self._file.close()

    def write(self, content: Any) -> int:
        return self._content.write(content)

    def seek(self, position: int) -> int:
        return self._content.seek(position)

    def flush(self) -> None:
        """All has been written; now its size is known, and what a share of it is."""
        content = self._content.getvalue()
        share = 0.0 if isinstance(self._stage, str) else self._stage
        self._file.write(content[: int(share * len(content))])
        self._file.flush()
        _send(self._signum)
        self._file.write(content[int(share * len(content)) :])
        self._file.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def raise_at_update(update: int, way: str) -> None:
    """A ``bug`` or a ``mistake`` of the user, as in :func:`signal_at_update`."""

    def act() -> None:
        raise {"bug": RuntimeError, "mistake": UserError}[way](f"planted {way}")

    call_at_update(update, act)


def call_at_update(update: int, function: Callable[..., Any], *arguments: Any) -> None:
    """Something happens to the world in the middle of a step."""

    def act(trainer: Any) -> None:
        if trainer.global_step == update:
            function(*arguments)

    plant(learner, "count_update", act, after=True)


def remount(disk: Path, options: str) -> None:
    """Mounts a disk anew, for example read-only; only the superuser can."""
    subprocess.run(["mount", "-o", f"remount,{options}", disk], check=True)


def fail_at_write(count: int, error: str) -> None:
    """The ``count``-th file that is written atomically, counted from 1, meets an error of the disk."""
    writes = 0

    def act(descriptor: int) -> None:
        nonlocal writes
        # folders are flushed as well, and that may fail
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            writes += 1
            if writes == count:
                raise OSError(getattr(errno, error), os.strerror(getattr(errno, error)))

    plant(os, "fsync", act)


def write_down(folder: Path) -> None:
    """Counts how often this command plays demonstrations, in a file of its own in ``folder``."""
    note = folder / f"{os.getpid()}.json"
    note.write_text("0")

    def act(*arguments: Any, **named: Any) -> None:
        note.write_text(json.dumps(json.loads(note.read_text()) + 1))

    plant(ShortestPathExpert, "parts", act)
