"""The checkpoint file: an ordinary ``torch.save`` archive that knows whether it is whole.

The archive's comment (a field every zip file has) holds a schema version and a SHA-256 over all bytes before it. Other
programs read the file as they read any ``torch.save`` file; this module notices each flipped bit and each missing byte.
A file is written beside its target, flushed to the disk and renamed, so that a crash at any moment leaves either the
old file or the new one. Nothing but tensors and primitives is written or read, so that reading one cannot run code.
"""

import contextlib
import hashlib
import io
import os
import pickle
import re
import secrets
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from iqlightning.errors import UserError

__all__ = [
    "SCHEMA_VERSION",
    "read_checkpoint",
    "replacing",
    "verify_checkpoint",
    "write_atomically",
    "write_checkpoint",
]

#: Raised whenever an older program could misread a newer file.
SCHEMA_VERSION = 1

_SEAL = "iqlightning checkpoint, schema {version}, sha256 {digest}"
_SEAL_PATTERN = re.compile(rb"iqlightning checkpoint, schema (\d{3}), sha256 ([0-9a-f]{64})\Z")
_SEAL_LENGTH = len(_SEAL.format(version="000", digest="0" * 64))

_ARCHIVE = b"PK\x03\x04"
_ARCHIVE_END = b"PK\x05\x06"
_ARCHIVE_END_LENGTH = 22

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
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    write_atomically(path, _sealed(buffer.getvalue()), what="checkpoint")


def read_checkpoint(path: str | Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Reads and verifies a checkpoint.

    Args:
        path: the file.
        map_location: as in :func:`torch.load`.

    Raises:
        UserError: if the file is missing, damaged, of another program or another schema version, or if it holds
            anything but tensors and primitives.
    """
    body = _verified(Path(path))
    _require_uncompressed(Path(path), body)
    try:
        checkpoint = torch.load(io.BytesIO(body), map_location=map_location, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, KeyError, EOFError) as error:
        # its seal is right, so it was made like this: it is refused because unpickling it might run code
        raise UserError(
            f"the checkpoint '{path}' holds something other than tensors and plain values, and reading that could run "
            "code; only checkpoints written by iqlightning are read"
        ) from error
    if not isinstance(checkpoint, dict):
        raise UserError(
            f"'{path}' is not a checkpoint of iqlightning: it holds a {type(checkpoint).__name__}, not a dict"
        )
    return checkpoint


def verify_checkpoint(path: str | Path) -> None:
    """Reads every byte of a checkpoint and compares the checksum, without loading it.

    Raises:
        UserError: as :func:`read_checkpoint`.
    """
    _verified(Path(path))


def write_atomically(path: str | Path, content: bytes, what: str = "file") -> None:
    """Writes beside the target, flushes, and renames.

    Raises:
        UserError: if it cannot be written; whatever was at ``path`` is then still there.
    """
    with replacing(path, what) as file:
        file.write(content)


@contextlib.contextmanager
def replacing(path: str | Path, what: str = "file") -> Iterator[BinaryIO]:
    """The same for what is written bit by bit: the file to write to, which takes the name when the block is over.

    Raises:
        UserError: if it cannot be written; whatever was at ``path`` is then still there.
    """
    path = Path(path)
    # a process elsewhere, on a shared disk, may have the same number
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"cannot write the {what} '{path}': {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    with contextlib.suppress(OSError):  # some systems cannot flush a folder; the file itself is safe
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _sealed(archive: bytes) -> bytes:
    # the archive ends with the length of its comment, which torch leaves empty
    body = archive[:-2] + _SEAL_LENGTH.to_bytes(2, "little")
    return body + _SEAL.format(version=f"{SCHEMA_VERSION:03d}", digest=_digest(body, SCHEMA_VERSION)).encode()


def _digest(body: bytes, version: int) -> str:
    """Covers the version as well, so that no bit of the file goes unwatched."""
    digest = hashlib.sha256(body)
    digest.update(f"schema {version}".encode())
    return digest.hexdigest()


def _verified(path: Path) -> bytes:
    """The file's content, its seal checked."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"there is no checkpoint '{path}'{_neighbours(path)}") from None
    except IsADirectoryError:
        raise UserError(f"'{path}' is a folder; name the checkpoint file itself{_neighbours(path / 'x')}") from None
    except OSError as error:
        raise UserError(f"cannot read the checkpoint '{path}': {error.strerror or error}") from error
    seal = _SEAL_PATTERN.search(content[-_SEAL_LENGTH:])
    if seal is None:
        raise _unsealed(path, content)
    version, digest = int(seal[1]), seal[2].decode()
    if _digest(content[:-_SEAL_LENGTH], version) != digest:
        raise _damaged(path, "its checksum does not match")
    if version != SCHEMA_VERSION:
        raise UserError(
            f"the checkpoint '{path}' has schema version {version}, but this program reads version {SCHEMA_VERSION}; "
            "train it again or install the version of iqlightning that wrote it"
        )
    return content


def _require_uncompressed(path: Path, body: bytes) -> None:
    """Refuses an archive that could grow when it is read; none that torch writes is compressed."""
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            compressed = any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist())
    except (zipfile.BadZipFile, ValueError) as error:
        raise UserError(f"'{path}' is not a checkpoint of iqlightning: its archive cannot be read") from error
    if compressed:
        raise UserError(f"'{path}' is not a checkpoint of iqlightning: its archive is compressed")


def _unsealed(path: Path, content: bytes) -> UserError:
    """What to say of a file without a readable seal: damaged at the end, or never one of ours."""
    if not content:
        return _damaged(path, "it is empty")
    if not content.startswith(_ARCHIVE):
        return UserError(f"'{path}' is not a checkpoint of iqlightning")
    if content[-_ARCHIVE_END_LENGTH:].startswith(_ARCHIVE_END):
        return UserError(f"'{path}' is a checkpoint of another program: it lacks the checksum that iqlightning writes")
    return _damaged(path, "its end is missing or unreadable")


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
