"""The demonstrations file: one ``.safetensors`` with flat arrays, checked on the way in and on the way out.

Tensors: ``observations`` (N + E, *shape), ``actions`` (N,) int64 or (N, *action shape) float32, ``rewards`` (N,),
``starts`` (E + 1,), ``terminated`` (E,) and ``truncated`` (E,), as in :class:`~iqlightning.types.Trajectories`. Of
observations that are stacks of frames, each frame is there once: ``observations`` are the frames (F, *frame), and
``stacks`` (N + E, K) int32 says which ones each observation is made of.

The header holds the schema version, ``spaces`` (:meth:`Spaces.to_dict() <iqlightning.spaces.Spaces.to_dict>`), a
SHA-256 over all tensors and metadata (the format alone does not notice a flipped bit), and the metadata as JSON:
``env`` (the environment's ``to_dict()``), ``seed``, ``source`` and ``recipe``. Version 2 is written where there are no
``stacks``, version 3 where there are; files of version 1 have no spaces, and int64 actions only. Nothing in a file is
ever unpickled or executed.
"""

import hashlib
import json
import math
import mmap
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from iqlightning.data.validation import ARRAYS, check_arrays, check_fits, check_spaces, pieces_of, rows_at_once
from iqlightning.errors import UserError
from iqlightning.files import path_of, replacing, size_in_words
from iqlightning.registration import env_config_from_dict
from iqlightning.spaces import Spaces
from iqlightning.types import EnvConfig, Trajectories

__all__ = [
    "SCHEMA_VERSION",
    "STACKS_VERSION",
    "ForeignFileError",
    "arrays_of",
    "bytes_of",
    "digest_of",
    "environment_of",
    "fill",
    "header_for",
    "header_of",
    "load_demonstrations",
    "read_metadata",
    "save_demonstrations",
    "spaces_for",
    "update_checksum",
]

#: What is written, without and with stacks of frames; these and version 1 are read.
SCHEMA_VERSION, STACKS_VERSION = "2", "3"

_READ = ("1", SCHEMA_VERSION, STACKS_VERSION)

# bytes of what a file says of itself
_LARGEST_HEADER = 16 << 20

# As the header of a file names them.
_STORED = {"U8": torch.uint8, "BOOL": torch.bool, "I32": torch.int32, "I64": torch.int64}
_STORED |= {"F16": torch.float16, "F32": torch.float32, "F64": torch.float64}


class ForeignFileError(UserError):
    """A file of another program, not a damaged one of this."""


def save_demonstrations(
    path: str | Path, trajectories: Trajectories, metadata: Mapping[str, Any], spaces: Spaces | None = None
) -> None:
    """Writes trajectories so that the file is either whole or not there; equal input gives equal bytes.

    The file is written beside its target, flushed to the disk and renamed, so that a crash leaves what was there
    before.

    Args:
        path: the file; missing folders are made.
        trajectories: on any device.
        metadata: primitives; usually ``env`` (a dict), ``seed``, ``source`` and ``recipe``.
        spaces: of observations and actions; None means those of the environment that the metadata name.

    Raises:
        UserError: if the trajectories are not valid or not of these spaces, or the file cannot be written.
    """
    path = path_of(path)
    trajectories = trajectories.stacked_once()
    arrays = arrays_of(trajectories)
    spaces = spaces_for(path, metadata, spaces)
    check_arrays(path, arrays)
    check_spaces(path, trajectories, spaces)
    layout = {name: (array.dtype, tuple(array.shape)) for name, array in arrays.items()}
    with replacing(path, "demonstrations file") as file:
        fill(file, layout, lambda name: pieces_of(arrays[name]), header_for(metadata, spaces, "stacks" in arrays))


def arrays_of(trajectories: Trajectories) -> dict[str, Tensor]:
    """The arrays of some trajectories on the CPU, by their names in a file."""
    arrays = {name: getattr(trajectories, name) for name in ARRAYS}
    if trajectories.shared_rows is not None:  # they are those of another file, from which some may be left out
        trajectories = Trajectories.concatenate([trajectories])
        arrays["observations"] = trajectories.observations
    if trajectories.stacks is not None:
        arrays["stacks"] = trajectories.stacks
    return {name: array.detach().cpu().contiguous() for name, array in arrays.items()}


def fill(
    file: Any,
    layout: Mapping[str, tuple[torch.dtype, tuple[int, ...]]],
    pieces: Callable[[str], Iterable[Tensor]],
    header: Mapping[str, str],
) -> None:
    """Writes a demonstrations file, of arrays of these dtypes and shapes that come in pieces by their names."""
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    # the checksum is as long as any other, so that its place in the header can be filled in at the end
    text, offsets = _layout_for(layout, {**header, "sha256": "0" * 64})
    for name, (dtype, shape) in sorted(layout.items()):
        file.seek(8 + len(text) + offsets[name])
        update_checksum(digest, name, dtype, shape, _written(pieces(name), file))
    text, _ = _layout_for(layout, {**header, "sha256": digest.hexdigest()})
    file.seek(0)
    file.write(len(text).to_bytes(8, "little") + text)


def bytes_of(tensor: Tensor) -> Any:
    """The memory of a tensor on the CPU, to be written."""
    return memoryview(tensor.detach().contiguous().view(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]


def _written(pieces: Iterable[Tensor], file: Any) -> Iterator[Tensor]:
    """The pieces, each written as it passes."""
    for piece in pieces:
        file.write(bytes_of(piece))
        yield piece


def load_demonstrations(
    path: str | Path, *, in_memory: bool = True, progress: Callable[[int], None] | None = None
) -> tuple[Trajectories, dict[str, Any]]:
    """Reads and validates a demonstrations file, every byte of it.

    Args:
        path: the file.
        in_memory: copies everything into memory. Otherwise observations stay in the file, which is mapped into memory
            read-only and may be larger than memory: pages that have been looked at are the system's cache of the file,
            counted as resident of this process, but given back whenever memory is short.
        progress: called with the number of newly checked bytes.

    Returns:
        The trajectories on the CPU, and the metadata as it was given to :func:`save_demonstrations`.

    Raises:
        UserError: if the file is missing, unreadable, damaged, of another version or not consistent with itself.
    """
    path = path_of(path)
    header, metadata = header_of(path)
    # copied before they are checked, so that what was checked is what is used
    known = (*ARRAYS, "stacks") if header["schema_version"] == STACKS_VERSION else ARRAYS
    copied = known if in_memory else tuple(name for name in known if name != "observations")
    mapped, tensors = _map(path, copied)
    if missing := [name for name in known if name not in tensors]:
        raise UserError(f"'{path}' is not a demonstrations file: it lacks {', '.join(missing)}")
    tensors = {name: tensors[name] for name in known}
    if header.get("sha256") != _checksum(tensors, header, progress):
        raise _damaged(path, "its checksum does not match")
    check_arrays(path, tensors)
    trajectories = Trajectories(**tensors)
    if header["schema_version"] != "1":
        check_spaces(path, trajectories, _spaces_in(path, header))
    elif tensors["actions"].is_floating_point():
        raise UserError(f"'{path}' is not valid: actions of a file of version 1 are whole numbers; make it again")
    if (env := environment_of(path, metadata)) is not None:
        check_fits(path, trajectories, env)
    if in_memory:
        return trajectories, metadata
    if hasattr(mmap, "MADV_RANDOM"):  # the neighbours of what is read from now on are not wanted
        mapped.madvise(mmap.MADV_RANDOM)
    shared_rows = trajectories.first_rows(torch.arange(trajectories.num_episodes))
    return replace(trajectories, shared_rows=shared_rows), metadata


def header_of(path: str | Path) -> tuple[dict[str, str], dict[str, Any]]:
    """The header as it is in the file, and the metadata in it; raises as :func:`read_metadata` does."""
    path = path_of(path)
    if not path.is_file():
        problem = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise UserError(f"the demonstrations file '{path}' {problem}; make one with: iqlightning collect")
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
        if _LARGEST_HEADER < length < path.stat().st_size:
            raise UserError(
                f"the header of '{path}' has {size_in_words(length)}, and at most {size_in_words(_LARGEST_HEADER)} are "
                "read"
            )
        with safe_open(path, framework="np") as file:  # also checks that the arrays lie within the file
            header = dict(file.metadata() or {})
    except SafetensorError as error:
        if not _begins_like_ours(path):
            raise ForeignFileError(
                f"'{path}' is not a demonstrations file; recordings in other formats become one with: iqlightning "
                "collect --from FILE"
            ) from error
        raise _damaged(path, str(error).split("\n")[0]) from error
    except OSError as error:
        raise UserError(f"cannot read the demonstrations file '{path}': {error.strerror or error}") from error
    return header, _metadata(path, header)


def read_metadata(path: str | Path) -> dict[str, Any]:
    """The metadata alone, from the file's header; the arrays are neither read nor checked.

    Raises:
        UserError: if the file is missing, unreadable, of another version or no demonstrations file.
    """
    return header_of(path)[1]


def environment_of(path: str | Path, metadata: Mapping[str, Any]) -> EnvConfig | None:
    """The environment that a file's metadata describe; None if they describe none.

    Raises:
        UserError: if what they describe is no environment, or one that cannot be made here.
    """
    if metadata.get("env") is None:
        return None
    try:
        env = env_config_from_dict(metadata["env"])
        _ = env.spaces  # some environments are made only when they are asked
    except (UserError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"the demonstrations file '{path}' is of an environment that cannot be: {error}") from error
    return env


def spaces_for(path: str | Path, metadata: Mapping[str, Any], spaces: Spaces | None) -> Spaces:
    """The spaces to write into a file: those given, else those of the environment that the metadata name."""
    env = environment_of(path, metadata) if spaces is None else None
    if spaces is None and env is None:
        raise UserError(f"the demonstrations for '{path}' do not say which environment they are of, nor its spaces")
    return spaces or env.spaces  # type: ignore[union-attr]


def digest_of(trajectories: Trajectories) -> str:
    """A SHA-256 over all that was demonstrated, wherever it is kept and whatever else its file says."""
    digest = hashlib.sha256(b"{}")  # as of a file with an empty header
    for name in sorted(ARRAYS):
        array = getattr(trajectories, name)
        if name != "observations":
            update_checksum(digest, name, array.dtype, array.shape, pieces_of(array.cpu()))
            continue
        rows, row = trajectories.num_transitions + trajectories.num_episodes, trajectories.observation_shape
        step = rows_at_once(array) // (1 if trajectories.stacks is None else row[0]) or 1
        pieces = (trajectories.observations_in_order(i, i + step).cpu() for i in range(0, rows, step))
        update_checksum(digest, name, array.dtype, (rows, *row), pieces)
    return digest.hexdigest()


def _map(path: Path, copied: Collection[str]) -> tuple[mmap.mmap, dict[str, Tensor]]:
    """The file's tensors, some of them copied, the others windows into the file; its header has been checked."""
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the demonstrations file '{path}': {error}") from error
    start = _end_of_header(mapped)
    tensors = {}
    for name, entry in json.loads(mapped[8:start]).items():
        if name == "__metadata__":
            continue
        if entry["dtype"] not in _STORED:
            raise UserError(f"'{path}' is not a demonstrations file: its {name} are {entry['dtype']}")
        dtype, shape, (first, end) = _STORED[entry["dtype"]], entry["shape"], entry["data_offsets"]
        if first == end:  # an empty buffer cannot be looked at
            tensors[name] = torch.empty(0, dtype=dtype)
            continue
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given buffer is not writable")
            window = torch.frombuffer(mapped, dtype=torch.uint8, count=end - first, offset=start + first)
        # as bytes, since a copy of truths would turn any byte but 0 into 1
        tensors[name] = (window.clone() if name in copied else window).view(dtype).view(shape)
    return mapped, tensors


def _spaces_in(path: Path, header: Mapping[str, str]) -> Spaces:
    try:
        return Spaces.from_dict(json.loads(header.get("spaces", "null")))
    except (UserError, ValueError, RecursionError) as error:
        raise UserError(f"the demonstrations file '{path}' does not say its spaces: {error}; make it again") from error


def _metadata(path: Path, header: Mapping[str, str]) -> dict[str, Any]:
    version = header.get("schema_version")
    if version is None:
        raise ForeignFileError(f"'{path}' is not a demonstrations file: its header has no schema version")
    if version not in _READ:
        raise UserError(
            f"the demonstrations file '{path}' has schema version {version}, but this program reads version "
            f"{', '.join(_READ[:-1])} and {_READ[-1]}; make the file again or install the program that wrote it"
        )
    own = ("schema_version", "sha256", *(["spaces"] if version != "1" else []))
    try:
        return {name: json.loads(value) for name, value in header.items() if name not in own}
    except (ValueError, RecursionError) as error:  # also of a number with too many digits
        raise _damaged(path, "its header is not readable") from error


def header_for(metadata: Mapping[str, Any], spaces: Spaces, stacks: bool = False) -> dict[str, str]:
    """Metadata and spaces as the header holds them, without the checksum; ``stacks``: whether there are any."""
    header = {**metadata, "spaces": spaces.to_dict()}
    return {name: json.dumps(value, sort_keys=True) for name, value in header.items()} | {
        "schema_version": STACKS_VERSION if stacks else SCHEMA_VERSION
    }


def _layout_for(
    shapes: Mapping[str, tuple[torch.dtype, tuple[int, ...]]], header: Mapping[str, str]
) -> tuple[bytes, dict[str, int]]:
    """The file's header as bytes and where each tensor begins after it, for tensors of these dtypes and shapes."""
    # the library decides on the order of the tensors and on the names of their dtypes
    content = save({name: torch.zeros(1, dtype=dtype) for name, (dtype, _) in shapes.items()}, dict(header))
    layout, offset, offsets = json.loads(content[8 : _end_of_header(content)]), 0, {}
    for name in sorted(shapes, key=lambda name: layout[name]["data_offsets"]):
        dtype, shape = shapes[name]
        end = offset + math.prod(shape) * dtype.itemsize
        layout[name] |= {"shape": list(shape), "data_offsets": [offset, end]}
        offsets[name], offset = offset, end
    return _header_bytes(layout), offsets


def _end_of_header(content: bytes | mmap.mmap) -> int:
    return 8 + int.from_bytes(content[:8], "little")


def _header_bytes(layout: Mapping[str, Any]) -> bytes:
    # The library writes metadata in an order that changes from call to call; sorted, equal files are equal bytes.
    text = json.dumps(layout, sort_keys=True, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)


def _checksum(
    tensors: Mapping[str, Tensor], header: Mapping[str, str], progress: Callable[[int], None] | None = None
) -> str:
    digest = hashlib.sha256()
    digest.update(json.dumps({k: v for k, v in header.items() if k != "sha256"}, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        update_checksum(digest, name, tensor.dtype, tensor.shape, pieces_of(tensor), progress)
    return digest.hexdigest()


def update_checksum(
    digest: Any,
    name: str,
    dtype: torch.dtype,
    shape: Sequence[int],
    pieces: Iterable[Tensor],
    progress: Callable[[int], None] | None = None,
) -> None:
    """Adds one array, given in pieces, to a checksum over arrays in the order of their names."""
    digest.update(f"{name} {dtype} {tuple(shape)}".encode())
    for piece in pieces:
        digest.update(piece.contiguous().view(-1).view(torch.uint8).numpy().data)
        if progress is not None:
            progress(piece.nbytes)


def _begins_like_ours(path: Path) -> bool:
    """Whether a file that cannot be read may have been one: eight bytes of a length, then a brace, or less."""
    with path.open("rb") as file:
        return file.read(9)[8:] in (b"{", b"")


def _damaged(path: Path, detail: str) -> UserError:
    return UserError(
        f"the demonstrations file '{path}' is damaged or truncated ({detail}); make it again, or copy it anew from "
        "where it came"
    )
