"""The checkpoint file: an ordinary ``torch.save`` archive that knows whether it is whole.

The archive's comment (a field every zip file has) holds a schema version and a SHA-256 over all bytes before it. Other
programs read the file as they read any ``torch.save`` file; this module notices each flipped bit and each missing byte.
What ``lightning.Trainer`` saves by itself has no seal: there the checksums that an archive has of its parts count.
It is written as :mod:`iqlightning.files` writes, so that a crash at any moment leaves either the old file or the new
one, and hashed on the way, so that it is never in memory a second time. Nothing but tensors and primitives is written
or read, so that reading one cannot run code.
"""

import contextlib
import hashlib
import io
import os
import pickle
import re
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from torch import Tensor

from iqlightning.errors import UserError
from iqlightning.files import path_of, replacing

__all__ = [
    "SCHEMA_VERSION",
    "SNAPSHOTS",
    "read_checkpoint",
    "snapshots",
    "verify_checkpoint",
    "write_checkpoint",
]

#: Raised whenever an older program could misread a newer file.
SCHEMA_VERSION = 1

#: The folder beside ``best.ckpt`` and ``last.ckpt`` for those of the way there, named by their updates.
SNAPSHOTS = "updates"

_SEAL = "iqlightning checkpoint, schema {version}, sha256 {digest}"
_SEAL_PATTERN = re.compile(rb"iqlightning checkpoint, schema (\d{3}), sha256 ([0-9a-f]{64})\Z")
_SEAL_LENGTH = len(_SEAL.format(version="000", digest="0" * 64))

# Bytes of a file that are looked at together.
_AT_ONCE = 1 << 20

_ARCHIVE = b"PK\x03\x04"
_ARCHIVE_END = b"PK\x05\x06"
_ARCHIVE_END_LENGTH = 22

_NO_COMMENT = b"\0\0"

_PRIMITIVES = (bool, int, float, str, bytes, type(None), torch.dtype, torch.device, torch.Size)


def write_checkpoint(checkpoint: Mapping[str, Any], path: str | Path) -> None:
    """Writes a checkpoint so that the file is either whole or not touched.

    Args:
        checkpoint: tensors and primitives in dicts, lists and tuples.
        path: the file; missing folders are made.

    Raises:
        UserError: if the file cannot be written: no space, no permission, the folder is gone.
        TypeError: if something in it is neither tensor nor primitive; it names where.
    """
    _require_plain(checkpoint, "checkpoint")
    with replacing(path, "checkpoint") as file:
        sealed = _Sealed(file)
        try:
            torch.save(checkpoint, cast(BinaryIO, sealed))
        except RuntimeError as error:
            # torch still ends its archive after a signal has ended the writing, and complains of that instead
            raise error.__context__ or error from None
        sealed.finish()


def read_checkpoint(path: str | Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Reads and verifies a checkpoint.

    Args:
        path: the file.
        map_location: as in :func:`torch.load`.

    Raises:
        UserError: if the file is missing, damaged, of another program or another schema version, or if it holds
            anything but tensors and primitives.
    """
    path = path_of(path)
    try:
        opened, sealed = _verified(path)
        with opened as file:
            _require_uncompressed(path, file)
            file.seek(0)
            checkpoint = torch.load(file, map_location=map_location, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, KeyError, EOFError) as error:
        # its seal is right, so it was made like this: it is refused because unpickling it might run code
        raise UserError(
            f"the checkpoint '{path}' holds something other than tensors and plain values, and reading that could run "
            "code; only checkpoints of iqlightning's algorithms are read"
        ) from error
    if not isinstance(checkpoint, dict):
        raise UserError(
            f"'{path}' is not a checkpoint of iqlightning: it holds a {type(checkpoint).__name__}, not a dict"
        )
    if not sealed and "iqlightning" not in checkpoint:
        raise UserError(f"'{path}' is a checkpoint of another program: it holds no policy of iqlightning")
    return checkpoint


def verify_checkpoint(path: str | Path) -> None:
    """Reads every byte of a checkpoint and compares the checksum, without loading it.

    Raises:
        UserError: as :func:`read_checkpoint`.
    """
    file, _ = _verified(path_of(path))
    file.close()


class _Sealed:
    """Passes an archive on to a file as it comes, so that it is never whole in memory, and seals it at its end.

    The archive ends with the length of its comment, which torch leaves empty: the last two bytes are held back. An
    error of the disk is kept until the end, since torch turns it into one of its own.
    """

    def __init__(self, file: BinaryIO | io.BufferedIOBase) -> None:
        self._file, self._held, self._digest = file, b"", hashlib.sha256()
        self._trouble: OSError | None = None

    def write(self, content: Any) -> int:
        """All of it; the number of bytes."""
        content = memoryview(content).cast("B")
        size = len(content)
        if self._trouble is None:
            try:
                if size < len(_NO_COMMENT):
                    content = memoryview(self._held + bytes(content))
                else:
                    self._pass_on(self._held)
                self._pass_on(content[: -len(_NO_COMMENT)])
                self._held = bytes(content[-len(_NO_COMMENT) :])
            except OSError as error:
                self._trouble = error
        return size

    def flush(self) -> None:
        """Nothing: what is held back waits for the end."""

    def finish(self) -> None:
        """Writes the seal in the place of what was held back.

        Raises:
            OSError: if anything could not be written.
        """
        if self._trouble is not None:
            raise self._trouble
        self._pass_on(_SEAL_LENGTH.to_bytes(len(_NO_COMMENT), "little"))
        self._file.write(_SEAL.format(version=f"{SCHEMA_VERSION:03d}", digest=_finished(self._digest)).encode())

    def _pass_on(self, content: bytes | memoryview) -> None:
        self._digest.update(content)
        self._file.write(content)


def snapshots(folder: Path) -> dict[int, Path]:
    """Number of updates to the file that was kept then, in a run's folder of checkpoints."""
    found = {int(file.stem): file for file in (folder / SNAPSHOTS).glob("*.ckpt") if file.stem.isdecimal()}
    return dict(sorted(found.items()))


def _finished(digest: Any, version: int = SCHEMA_VERSION) -> str:
    """Covers the version as well, so that no bit of the file goes unwatched."""
    digest.update(f"schema {version}".encode())
    return digest.hexdigest()


def _verified(path: Path) -> tuple[BinaryIO, bool]:
    """The file, open at its beginning, and whether it has a seal; without one the archive's own checksums are checked.

    It is read in pieces and never whole in memory.
    """
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise UserError(f"'{path}' is no checkpoint file: a device or a pipe may have no end")
        file = path.open("rb")
    except FileNotFoundError:
        raise UserError(f"there is no checkpoint '{path}'{_neighbours(path)}") from None
    except IsADirectoryError:
        raise UserError(f"'{path}' is a folder; name the checkpoint file itself{_neighbours(path / 'x')}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the checkpoint '{path}': {getattr(error, 'strerror', None) or error}") from error
    try:
        sealed = _check(path, file)
    except BaseException:
        file.close()
        raise
    return file, sealed


def _check(path: Path, file: BinaryIO) -> bool:
    """Whether the file has a seal, which is then right."""
    try:
        size = file.seek(0, os.SEEK_END)
        ends = [_read_at(file, max(0, size - length), length) for length in (_SEAL_LENGTH, _ARCHIVE_END_LENGTH)]
        seal = _SEAL_PATTERN.search(ends[0])
        if seal is None:
            _check_archive(path, file, ends[1])
            file.seek(0)
            return False
        version, digest, left = int(seal[1]), hashlib.sha256(), size - _SEAL_LENGTH
        file.seek(0)
        while piece := file.read(min(_AT_ONCE, left)):
            digest.update(piece)
            left -= len(piece)
        file.seek(0)
    except OSError as error:
        raise UserError(f"cannot read the checkpoint '{path}': {error.strerror or error}") from error
    if left or _finished(digest, version) != seal[2].decode():
        raise _damaged(path, "its checksum does not match")
    if version != SCHEMA_VERSION:
        raise UserError(
            f"the checkpoint '{path}' has schema version {version}, but this program reads version {SCHEMA_VERSION}; "
            "train it again or install the version of iqlightning that wrote it"
        )
    return True


def _read_at(file: BinaryIO, place: int, length: int) -> bytes:
    file.seek(place)
    return file.read(length)


def _require_uncompressed(path: Path, file: BinaryIO) -> None:
    """Refuses an archive that could grow when it is read; none that torch writes is compressed."""
    try:
        with zipfile.ZipFile(file) as archive:
            compressed = any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist())
    except (zipfile.BadZipFile, ValueError) as error:
        raise UserError(f"'{path}' is not a checkpoint of iqlightning: its archive cannot be read") from error
    if compressed:
        raise UserError(f"'{path}' is not a checkpoint of iqlightning: its archive is compressed")


def _check_archive(path: Path, file: BinaryIO, end: bytes) -> None:
    """Of a file without a readable seal says what is wrong, unless it is a whole archive that never had one."""
    first = _read_at(file, 0, len(_ARCHIVE))
    if not first:
        raise _damaged(path, "it is empty")
    if first != _ARCHIVE:
        raise UserError(f"'{path}' is not a checkpoint of iqlightning")
    # a seal is the archive's comment, whose length the last two bytes before it tell
    if not end.startswith(_ARCHIVE_END) or end[-2:] != b"\0\0":
        raise _damaged(path, "its end is missing or unreadable")
    try:
        with zipfile.ZipFile(file) as archive:
            wrong = archive.testzip()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, zlib.error) as error:
        raise _damaged(path, "its archive cannot be read") from error
    if wrong is not None:
        raise _damaged(path, f"the checksum of its part '{wrong}' does not match")


def _damaged(path: Path, how: str) -> UserError:
    return UserError(f"the checkpoint '{path}' is damaged: {how}; use another one{_neighbours(path)}")


def _neighbours(path: Path) -> str:
    """The other checkpoints in the same folder, as the end of a sentence."""
    with contextlib.suppress(OSError):
        others = sorted(file.name for file in path.parent.glob("*.ckpt") if file != path)
        if others:
            return f" (in the same folder: {', '.join(others[:5])})"
    return ""


def _require_plain(value: Any, where: str) -> None:
    """Finds at the time of writing what could not be read back."""
    if isinstance(value, Tensor) or type(value) in _PRIMITIVES:
        return
    if type(value) in (dict, OrderedDict):
        for key, item in value.items():
            _require_plain(key, f"a key of {where}")
            _require_plain(item, f"{where}[{key!r}]")
    elif type(value) in (list, tuple, set):
        for index, item in enumerate(value):
            _require_plain(item, f"{where}[{index}]")
    else:
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise TypeError(f"{where} is a {kind}; checkpoints hold tensors and primitives only")
