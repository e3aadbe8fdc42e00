"""Writes demonstrations that do not fit into memory: episodes come in pieces, the file is that of a single piece."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from iqlightning.data.demonstrations import arrays_of, bytes_of, fill, header_for, spaces_for
from iqlightning.data.validation import check_arrays, check_spaces
from iqlightning.errors import UserError
from iqlightning.files import path_of, replacing, temporary_beside
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
    path = path_of(path)
    spaces = spaces_for(path, metadata, spaces)
    kept: dict[str, list[Tensor]] = {}
    rows, moves, kind = 0, 0, None
    try:
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary_beside(target, ".observations") as (file, beside):
            for part in parts:
                arrays = arrays_of(part := part.stacked_once())
                check_arrays(path, arrays)
                check_spaces(path, part, spaces)
                observations = arrays.pop("observations")
                own = (observations.dtype, tuple(observations.shape[1:]), "stacks" in arrays)
                if moves and own != kind:
                    raise UserError(f"the demonstrations for '{path}' are not all of one shape and type")
                kind = own
                file.write(bytes_of(observations))
                arrays["starts"] = arrays["starts"][:-1] + moves
                if "stacks" in arrays:
                    arrays["stacks"] = arrays["stacks"] + rows
                for name, array in arrays.items():
                    kept.setdefault(name, []).append(array)
                moves, rows = moves + part.num_transitions, rows + len(observations)
            file.flush()
            if not moves or kind is None:
                raise UserError(f"there is nothing to write to '{path}': no episode was played")
            kept["starts"].append(torch.tensor([moves]))
            tensors = {name: torch.cat(columns) for name, columns in kept.items()}
            layout = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
            layout["observations"] = (kind[0], (rows, *kind[1]))
            with replacing(path, "demonstrations file") as whole:
                fill(
                    whole,
                    layout,
                    lambda name: [tensors[name]] if name in tensors else _pieces_in(beside),
                    header_for(metadata, spaces, "stacks" in tensors),
                )
    except OSError as error:
        raise UserError(f"cannot write the demonstrations file '{path}': {error.strerror or error}") from error
    return moves


def _pieces_in(path: Path) -> Iterator[Tensor]:
    with path.open("rb") as file:
        while piece := file.read(_AT_ONCE):
            yield torch.frombuffer(bytearray(piece), dtype=torch.uint8)
