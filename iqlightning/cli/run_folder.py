"""The folder of a run, ``logs/NAME/version_N/``: taken by one run only, and found again to continue it."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from iqlightning.checkpoint_files import verify_checkpoint
from iqlightning.errors import UserError

__all__ = ["claim_run_folder", "find_checkpoint"]

_VERSION = re.compile(r"version_(\d+)\Z")


def claim_run_folder(root: str | Path, name: str) -> Path:
    """Makes the next free ``root/name/version_N``; of several runs that start at once, each gets its own.

    Raises:
        UserError: if it cannot be made, for example because ``root`` is read-only.
    """
    parent = Path(root) / name
    try:
        parent.mkdir(parents=True, exist_ok=True)
        number = max((found for found, _ in _versions(parent)), default=-1) + 1
        while True:
            folder = parent / f"version_{number}"
            try:
                folder.mkdir()  # fails if another run made it in the meantime
            except FileExistsError:
                number += 1
                continue
            if not os.access(folder, os.W_OK):
                raise PermissionError(13, "Permission denied")
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
    found = [run for run in runs if (run / "checkpoints" / f"{given}.ckpt").is_file()]
    if not found:
        raise UserError(f"there is no run with a checkpoint '{given}' in '{parent}'; give the path of a file instead")
    path = found[0] / "checkpoints" / f"{given}.ckpt"
    try:
        verify_checkpoint(path)
    except UserError as damage:
        if given == "best":
            raise
        for other in (each for run in found for each in _newest_first(run) if each != path):
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
        if found := _VERSION.match(folder.name):
            yield int(found[1]), folder
