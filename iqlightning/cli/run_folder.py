"""The folder of a run, ``logs/NAME/version_N/``: taken by one run only, and found again to continue it."""

import contextlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, Logger

from iqlightning.algorithms.lightning_internals import has_begun
from iqlightning.callbacks.event_logger import EventLogger
from iqlightning.checkpoint_files import verify_checkpoint
from iqlightning.errors import UserError
from iqlightning.files import remove_abandoned

__all__ = [
    "claim_run_folder",
    "drop_unused",
    "find_checkpoint",
    "folder_variable_kept",
    "run_loggers",
    "take_run_folder",
]

_VARIABLE = "IQLIGHTNING_RUN_FOLDER"
# folder of a run to those above it that did not exist
_made: dict[Path, list[Path]] = {}

_VERSION = re.compile(r"version_(\d+)\Z")


def take_run_folder(root: Path, name: str) -> Path:
    """The folder of this run: its first process claims one, those that it starts are told by a variable."""
    if _rank() == 0:
        folder = claim_run_folder(root, name)
        os.environ[_VARIABLE] = str(folder)
        return folder
    # processes that were all started from outside cannot know; Lightning broadcasts what they need of it
    return Path(os.environ.get(_VARIABLE, root / name / "version_unknown"))


@contextmanager
def folder_variable_kept() -> Iterator[None]:
    """Puts the variable back as it was: inherited of a run that is over, it would lead a later one into its folder."""
    inherited = os.environ.get(_VARIABLE)
    try:
        yield
    finally:
        os.environ.pop(_VARIABLE, None)
        if inherited is not None:
            os.environ[_VARIABLE] = inherited


def run_loggers(folder: Path) -> list[Logger]:
    """TensorBoard's events and ``metrics.csv``, both in the run's folder itself."""
    place: dict[str, Any] = {"save_dir": str(folder.parent.parent), "name": folder.parent.name, "version": folder.name}
    return [EventLogger(**place, default_hp_metric=False), CSVLogger(**place)]


def drop_unused(folder: Path, trainer: Trainer | None) -> None:
    """Removes the folder of a run that ended before its first update: there is nothing in it to keep."""
    if _rank() != 0 or (trainer is not None and has_begun(trainer) and trainer.global_step > 0):
        return
    for logger in trainer.loggers if trainer is not None else []:
        logger.finalize("failed")
    shutil.rmtree(folder, ignore_errors=True)
    for each in _made.pop(folder, ()):  # those above it that were made for it, unless others use them by now
        with contextlib.suppress(OSError):
            each.rmdir()


def _rank() -> int:
    """Of this process, before there is a trainer to ask."""
    return getattr(rank_zero_only, "rank", None) or 0


def claim_run_folder(root: str | Path, name: str) -> Path:
    """Makes the next free ``root/name/version_N``; of several runs that start at once, each gets its own.

    Raises:
        UserError: if it cannot be made, for example because ``root`` is read-only.
    """
    parent = Path(root) / name
    try:
        missing = [each for each in (parent, *parent.parents) if not each.exists()]
        parent.mkdir(parents=True, exist_ok=True)
        for _, run in _versions(parent):  # what killed runs have left half written
            remove_abandoned(run)
            remove_abandoned(run / "checkpoints")
        number = max((taken for taken, _ in _versions(parent)), default=-1) + 1
        while True:
            folder = parent / f"version_{number}"
            try:
                folder.mkdir()  # fails if another run made it in the meantime
            except FileExistsError:
                number += 1
                continue
            if not os.access(folder, os.W_OK):
                raise PermissionError(13, "Permission denied")
            _made[folder] = missing
            return folder
    except OSError as error:
        raise UserError(
            f"cannot write to the folder of runs '{root}': {error.strerror or error}; make it writable or name another "
            "with --trainer.default_root_dir"
        ) from error


def find_checkpoint(given: str, root: str | Path, name: str) -> Path:
    """The checkpoint file meant by ``--ckpt_path``.

    Args:
        given: a path, or ``last`` or ``best``: that file of the newest run that has one. If ``last`` is damaged, the
            newest whole checkpoint of the same run takes its place, or else of an earlier run, and that is said.
        root: folder of runs.
        name: the run's name.

    Raises:
        UserError: if there is none, or it is damaged.
    """
    if given not in ("last", "best"):
        path = Path(given)
        if not path.exists() and path.parent == Path("."):
            raise UserError(
                f"there is no checkpoint '{given}': give a file, or last or best for the newest run of '{name}'"
            )
        verify_checkpoint(path)
        return path
    parent = Path(root) / name
    runs = [run for _, run in sorted(_versions(parent), reverse=True)] if parent.is_dir() else []
    candidates = [run for run in runs if (run / "checkpoints" / f"{given}.ckpt").is_file()]
    if not candidates:
        raise UserError(f"there is no run with a checkpoint '{given}' in '{parent}'; give the path of a file instead")
    path = candidates[0] / "checkpoints" / f"{given}.ckpt"
    try:
        verify_checkpoint(path)
    except UserError as damage:
        if given == "best":
            raise
        for other in (each for run in candidates for each in _newest_first(run) if each != path):
            if _is_whole(other):
                print(f"iqlightning: {damage}; going on from '{other}' instead", file=sys.stderr)
                return other
        raise UserError(f"there is no whole checkpoint in '{parent}': {damage}") from damage
    return path


def _newest_first(run: Path) -> list[Path]:
    """The checkpoints of a run, ``last.ckpt`` before others of the same time."""
    return sorted(
        run.glob("checkpoints/*.ckpt"), key=lambda file: (file.stat().st_mtime, file.stem == "last"), reverse=True
    )


def _is_whole(path: Path) -> bool:
    try:
        verify_checkpoint(path)
    except UserError:
        return False
    return True


def _versions(parent: Path) -> Iterator[tuple[int, Path]]:
    for folder in parent.iterdir():
        if version := _VERSION.match(folder.name):
            yield int(version[1]), folder
