"""Files: what a path means, how much of one is read, and how one is written without destroying what is there.

A file is written beside its target, flushed to the disk and renamed, so that a crash at any moment leaves the old file
or the new one. Links are followed, and devices and pipes are written to as they are; ``-`` is standard output and ``~``
the home folder, as in a shell.
"""

import contextlib
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from iqlightning.errors import CannotWriteError, UserError

try:
    import fcntl
except ImportError:  # Windows, where an open file cannot be removed anyway
    fcntl = None

__all__ = [
    "STDOUT",
    "check_output",
    "mark_of",
    "path_of",
    "read_text",
    "remove_abandoned",
    "replacing",
    "size_in_words",
    "temporary_beside",
    "write_atomically",
]

#: As a path to write to: standard output.
STDOUT = "-"

# what stands before the number of the process is the name of the file; locks on a file are beside it as well
_TEMPORARY = re.compile(r"\..+\.\d+-[0-9a-f]{8}(\.observations)?\.tmp|\..+\.safetensors\.lock")

# each end of a file that is searched for the mark of the command that wrote it
_SEARCHED = 1 << 16

_cleaned: set[Path] = set()


def path_of(path: str | Path) -> Path:
    """The path, ``~`` and ``~name`` at its beginning replaced by a home folder."""
    return Path(os.path.expanduser(path))


# Reading


def read_text(path: str | Path, largest: int) -> str:
    """The text of a regular file, unless it is larger than ``largest`` bytes.

    Raises:
        UserError: if it is larger, or no regular file: a device may have no end.
        OSError: if it cannot be read.
        UnicodeDecodeError: if it is not UTF-8.
    """
    path = path_of(path)
    with path.open("rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise UserError(f"'{path}' is not a regular file")
        content = file.read(largest + 1)
    if len(content) > largest:
        raise UserError(f"'{path}' is larger than {size_in_words(largest)}, the most that is read of such a file")
    return content.decode("utf-8-sig")


def size_in_words(size: int) -> str:
    """A size as people say it.

    >>> size_in_words(4 << 20), size_in_words(3000)
    ('4 MiB', '2 KiB')
    """
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"


# Writing


def mark_of(command: str) -> str:
    """What the files of a command bear, so that the same command may replace them."""
    return f"iqlightning:{command}"


def check_output(path: str | Path, what: str, *, force: bool = False, mark: str | None = None) -> Path:
    """Checks, before any work is done for it, that a file can be written and destroys nothing.

    Args:
        path: the file; ``-`` is standard output.
        what: kind of file, for the sentence.
        force: replaces whatever regular file is there.
        mark: a file that bears it was made by the same command, and may be replaced.

    Raises:
        UserError: if another file is there, or none can be written.
    """
    given, path = path, path_of(path)
    if str(path) == STDOUT:
        return path
    if os.path.isdir(path):
        raise UserError(f"cannot write the {what} '{given}': it is a folder")
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        found = None
    except (OSError, ValueError) as error:
        raise UserError(f"cannot write the {what} '{given}': {getattr(error, 'strerror', None) or error}") from error
    target = Path(os.path.realpath(path))
    if found is None or stat.S_ISREG(found.st_mode):
        folder = next(each for each in target.parents if each.exists())
        if not folder.is_dir():
            raise UserError(f"cannot write the {what} '{given}': '{folder}' is not a folder")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise UserError(f"cannot write the {what} '{given}': nothing can be written to the folder '{folder}'")
    if found is not None:
        if not os.access(path, os.W_OK):
            raise UserError(f"cannot write the {what} '{given}': it may not be written to")
        if stat.S_ISREG(found.st_mode) and found.st_size and not force and not _bears(target, mark):
            whose = "" if mark is None else " and was not made by this command"
            raise UserError(f"'{given}' exists already{whose}; name another file, or replace it with --force")
    return path


def write_atomically(path: str | Path, content: bytes, what: str = "file") -> None:
    """Writes beside the target, flushes, and renames.

    Raises:
        CannotWriteError: if it cannot be written; whatever was at ``path`` is then still there.
    """
    with replacing(path, what) as file:
        file.write(content)


@contextlib.contextmanager
def replacing(path: str | Path, what: str = "file") -> Iterator[BinaryIO]:
    """The same for what is written bit by bit: the file to write to, which takes the name when the block is over.

    Raises:
        CannotWriteError: if it cannot be written; whatever was at ``path`` is then still there.
    """
    given, path = path, path_of(path)
    try:
        if str(path) == STDOUT or _takes_writing(path):
            with tempfile.SpooledTemporaryFile(1 << 24) as whole:
                yield cast(BinaryIO, whole)
                whole.seek(0)
                with _opened(path) as target:
                    shutil.copyfileobj(whole, target)
            return
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary_beside(target) as (file, temporary):
            yield file
            file.flush()
            with contextlib.suppress(OSError):  # what was there keeps its permissions
                os.chmod(temporary, stat.S_IMODE(os.stat(target).st_mode))
            os.fsync(file.fileno())
            os.replace(temporary, target)
        _flush_folder(target.parent)
    except BrokenPipeError:
        if str(path) == STDOUT:
            raise
        raise CannotWriteError(f"cannot write the {what} '{given}': its reader went away") from None
    except (OSError, ValueError) as error:
        if isinstance(error, ValueError) and "null" not in str(error):
            raise
        raise CannotWriteError(
            f"cannot write the {what} '{given}': {getattr(error, 'strerror', None) or error}"
        ) from error


@contextlib.contextmanager
def temporary_beside(target: Path, kind: str = "") -> Iterator[tuple[BinaryIO, Path]]:
    """A file in the folder of ``target``, removed at the end if it is still there.

    It is locked as long as it is in use. So what a killed program left behind can be told from what another is writing,
    also on another machine, and is removed by the next one that writes to the folder.
    """
    remove_abandoned(target.parent)
    file, temporary = _locked(target, kind)
    try:
        with file:
            yield file, temporary
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def remove_abandoned(folder: Path) -> None:
    """Removes temporary files in a folder whose program is dead; looks once in the life of this one."""
    folder = folder.absolute()
    if fcntl is None or folder in _cleaned:
        return
    _cleaned.add(folder)
    with contextlib.suppress(OSError):
        for each in os.scandir(folder):
            if not _TEMPORARY.fullmatch(each.name) or not each.is_file(follow_symlinks=False):
                continue
            with contextlib.suppress(OSError), open(each.path, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(each.path)


def _locked(target: Path, kind: str) -> tuple[BinaryIO, Path]:
    while True:
        temporary = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}{kind}.tmp")
        file = open(temporary, "xb")  # noqa: SIM115
        if fcntl is None:
            return file, temporary
        try:
            with contextlib.suppress(OSError):  # a disk without locks
                fcntl.flock(file, fcntl.LOCK_EX)
            # between the two lines above another program may have taken it for abandoned
            if os.stat(temporary).st_ino == os.fstat(file.fileno()).st_ino:
                return file, temporary
        except FileNotFoundError:
            pass
        file.close()


def _opened(path: Path) -> Any:
    if str(path) == STDOUT:
        sys.stdout.flush()
        return os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    return open(path, "wb")


def _takes_writing(path: Path) -> bool:
    """Whether something is there that is written to, not replaced: a device, a pipe, an open file of the process."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    if stat.S_ISREG(mode):
        return os.path.abspath(path).startswith(("/dev/std", "/dev/fd/", "/proc/"))
    return not stat.S_ISDIR(mode)


def _bears(path: Path, mark: str | None) -> bool:
    """Whether the beginning or the end of a file has the mark."""
    if mark is None:
        return False
    try:
        with path.open("rb") as file:
            first = file.read(_SEARCHED)
            file.seek(max(len(first), path.stat().st_size - _SEARCHED))
            return mark.encode() in first or mark.encode() in file.read(_SEARCHED)
    except OSError:
        return False


def _flush_folder(path: Path) -> None:
    with contextlib.suppress(OSError):  # some systems cannot flush a folder; the file itself is safe
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
