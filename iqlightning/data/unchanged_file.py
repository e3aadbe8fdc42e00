"""Demonstrations that stay in their file: how far checking it is, and whether it is still the one that was checked."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from iqlightning.errors import UserError

__all__ = ["UnchangedFile", "checking_bar"]


class UnchangedFile:
    """Notices that a file has been written to since it was checked; one that has been replaced stays mapped as it was.

    What is missing of a file that has become shorter would end the process if it were looked at.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._before = self._state()

    def require_unchanged(self) -> None:
        """Raises ``UserError`` if it has been written to."""
        now = self._state()
        if now is not None and self._before is not None and now[0] == self._before[0] and now != self._before:
            raise UserError(f"'{self._path}' has changed since it was checked; start again")

    def _state(self) -> tuple[int, int, int] | None:
        try:
            state = os.stat(self._path)
        except OSError:
            return None
        return state.st_ino, state.st_size, state.st_mtime_ns


@contextmanager
def checking_bar(path: str) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, if that is a terminal, over the bytes of a file; yields what to call with increments."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("checking demonstrations", total=Path(path).stat().st_size if Path(path).is_file() else 0)
        yield lambda count: bar.advance(task, count)
