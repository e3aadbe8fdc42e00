"""Writes demonstrations that do not fit into memory: episodes come in pieces, the file is that of a single piece."""

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from iqlightning.checkpoint_files import replacing
from iqlightning.data.demonstrations import header_for, layout_for, spaces_for, update_checksum
from iqlightning.data.validation import ARRAYS, check_arrays, check_spaces
from iqlightning.errors import UserError
from iqlightning.spaces import Spaces
from iqlightning.types import Trajectories

__all__ = ["write_in_pieces"]

_AT_ONCE = 1 << 24


def write_in_pieces(
    path: str | Path, parts: Iterable[Trajectories], metadata: Mapping[str, Any], spaces: Spaces | None = None
) -> int:
    """Writes the same bytes as ``save_demonstrations`` of all parts together.

    Observations go to a file beside the target as they come, and from there into it; actions, rewards and ends are kept
    in memory until then. There has to be room for the observations twice.

    Args:
        path: the file; missing folders are made.
        parts: whole episodes, one part after the other.
        metadata: as of ``save_demonstrations``.
        spaces: as of ``save_demonstrations``.

    Returns:
        the number of transitions.

    Raises:
        UserError: if the episodes are not valid or the file cannot be written.
    """
    path = Path(path)
    spaces = spaces_for(path, metadata, spaces)
    beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.observations.tmp")
    kept: dict[str, list[Tensor]] = {name: [] for name in ARRAYS if name != "observations"}
    row, moves, dtype = (), 0, torch.uint8
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            for part in parts:
                part = part.to("cpu")
                check_arrays(path, {name: getattr(part, name) for name in ARRAYS})
                check_spaces(path, part, spaces)
                if moves and (dtype, row) != (part.observations.dtype, part.observations.shape[1:]):
                    raise UserError(f"the demonstrations for '{path}' are not all of one shape and type")
                dtype, row = part.observations.dtype, part.observations.shape[1:]
                file.write(memoryview(_bytes(part.observations)))
                for name, columns in kept.items():
                    columns.append(part.starts[:-1] + moves if name == "starts" else getattr(part, name))
                moves += part.num_transitions
        if not moves:
            raise UserError(f"there is nothing to write to '{path}': no episode was played")
        kept["starts"].append(torch.tensor([moves]))
        tensors = {name: torch.cat(columns) for name, columns in kept.items()}
        shapes = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
        shapes["observations"] = (dtype, (moves + len(tensors["terminated"]), *row))
        with replacing(path, "demonstrations file") as file:
            _fill(file, beside, tensors, shapes, header_for(metadata, spaces))
    except OSError as error:
        raise UserError(f"cannot write the demonstrations file '{path}': {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()
    return moves


def _fill(
    file: BinaryIO,
    beside: Path,
    tensors: Mapping[str, Tensor],
    shapes: Mapping[str, tuple[torch.dtype, tuple[int, ...]]],
    header: Mapping[str, str],
) -> None:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    # the checksum is as long as any other, so that its place in the header can be filled in at the end
    text, offsets = layout_for(shapes, {**header, "sha256": "0" * 64})
    for name, (dtype, shape) in sorted(shapes.items()):
        file.seek(8 + len(text) + offsets[name])
        pieces = [tensors[name]] if name in tensors else _pieces_in(beside)
        update_checksum(digest, name, dtype, shape, _written(pieces, file))
    text, _ = layout_for(shapes, {**header, "sha256": digest.hexdigest()})
    file.seek(0)
    file.write(len(text).to_bytes(8, "little") + text)


def _written(pieces: Iterable[Tensor], file: BinaryIO) -> Iterator[Tensor]:
    """The pieces, each written as it passes."""
    for piece in pieces:
        file.write(memoryview(_bytes(piece)))
        yield piece


def _pieces_in(path: Path) -> Iterator[Tensor]:
    with path.open("rb") as file:
        while piece := file.read(_AT_ONCE):
            yield torch.frombuffer(bytearray(piece), dtype=torch.uint8)


def _bytes(tensor: Tensor) -> Any:
    return tensor.detach().contiguous().view(-1).view(torch.uint8).numpy()
