"""Writes demonstrations that do not fit into memory: episodes come in pieces, the file is that of a single piece."""

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from iqlightning.checkpoint_files import replacing
from iqlightning.data.demonstrations import check_arrays, header_for, layout_for
from iqlightning.errors import UserError
from iqlightning.types import Trajectories

__all__ = ["write_in_pieces"]

_AT_ONCE = 1 << 24


def write_in_pieces(path: str | Path, parts: Iterable[Trajectories], metadata: Mapping[str, Any]) -> int:
    """Writes the same bytes as ``save_demonstrations`` of all parts together.

    Observations go to a file beside the target as they come, and from there into it; actions, rewards and ends, some
    thirteen bytes a transition, are kept until then. There has to be room for the observations twice.

    Args:
        path: the file; missing folders are made.
        parts: whole episodes, one part after the other.
        metadata: as of ``save_demonstrations``.

    Returns:
        the number of transitions.

    Raises:
        UserError: if the episodes are not valid or the file cannot be written.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.observations.tmp")
    kept: dict[str, list[Tensor]] = {name: [] for name in ("actions", "rewards", "starts", "terminated", "truncated")}
    row, moves, dtype = (), 0, torch.uint8
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            for part in parts:
                part = part.to("cpu")
                check_arrays(path, {name: getattr(part, name) for name in ("observations", *kept)})
                if moves and (dtype, row) != (part.observations.dtype, part.observations.shape[1:]):
                    raise UserError(f"the demonstrations for '{path}' are not all of one shape and type")
                dtype, row = part.observations.dtype, part.observations.shape[1:]
                file.write(memoryview(_bytes(part.observations)))
                kept["actions"].append(part.actions.to(torch.int16) if _narrow(part.actions) else part.actions)
                kept["rewards"].append(part.rewards)
                kept["starts"].append(part.starts[:-1] + moves)
                kept["terminated"].append(part.terminated)
                kept["truncated"].append(part.truncated)
                moves += part.num_transitions
        kept["starts"].append(torch.tensor([moves]))
        tensors = {name: torch.cat(columns) for name, columns in kept.items()} if moves else {}
        if not moves:
            raise UserError(f"there is nothing to write to '{path}': no episode was played")
        tensors["actions"] = tensors["actions"].to(torch.int64)
        rows = moves + len(tensors["terminated"])
        shapes = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
        shapes["observations"] = (dtype, (rows, *row))
        with replacing(path, "demonstrations file") as file:
            _fill(file, beside, tensors, shapes, metadata)
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
    metadata: Mapping[str, Any],
) -> None:
    header = header_for(metadata)
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    # the checksum is as long as any other, so that its place in the header can be filled in at the end
    text, offsets = layout_for(shapes, header | {"sha256": "0" * 64})
    start = 8 + len(text)
    for name, (dtype, shape) in sorted(shapes.items()):
        digest.update(f"{name} {dtype} {shape}".encode())
        file.seek(start + offsets[name])
        if name in tensors:
            content = memoryview(_bytes(tensors[name]))
            digest.update(content)
            file.write(content)
            continue
        with beside.open("rb") as observations:
            _copy(observations, file, digest.update)
    text, _ = layout_for(shapes, header | {"sha256": digest.hexdigest()})
    file.seek(0)
    file.write(len(text).to_bytes(8, "little") + text)


def _copy(source: BinaryIO, target: BinaryIO, look: Callable[[bytes], None]) -> None:
    while piece := source.read(_AT_ONCE):
        look(piece)
        target.write(piece)


def _bytes(tensor: Tensor) -> Any:
    return tensor.detach().contiguous().view(-1).view(torch.uint8).numpy()


def _narrow(actions: Tensor) -> bool:
    return int(actions.max()) < 1 << 15
