"""The demonstrations file: one ``.safetensors`` with flat arrays, checked on the way in and on the way out.

Tensors: ``observations`` (N + E, *shape), ``actions`` (N,), ``rewards`` (N,), ``starts`` (E + 1,), ``terminated``
(E,) and ``truncated`` (E,), as in :class:`~iqlightning.types.Trajectories`. The header holds the schema version, a
SHA-256 over all tensors and metadata (the format alone does not notice a flipped bit), and the metadata as JSON:
``env`` (the environment's ``to_dict()``), ``seed``, ``source`` and ``recipe``. Nothing in it is ever unpickled or
executed.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from iqlightning.checkpoint_files import write_atomically
from iqlightning.errors import UserError
from iqlightning.registration import env_config_from_dict
from iqlightning.spaces import num_actions
from iqlightning.types import EnvConfig, Trajectories

__all__ = [
    "SCHEMA_VERSION",
    "check_arrays",
    "check_fits",
    "digest_of",
    "environment_of",
    "header_for",
    "header_of",
    "layout_for",
    "load_demonstrations",
    "read_metadata",
    "save_demonstrations",
    "verify",
]

SCHEMA_VERSION = "1"

_NAMES = ("observations", "actions", "rewards", "starts", "terminated", "truncated")
_DTYPES = {"actions": torch.int64, "rewards": torch.float32, "starts": torch.int64}
_DTYPES |= {"terminated": torch.bool, "truncated": torch.bool}
_OBSERVATION_DTYPES = (torch.uint8, torch.int32, torch.int64, torch.float16, torch.float32, torch.float64)


@runtime_checkable
class HasPieces(Protocol):
    """An array that is looked at piece by piece."""

    dtype: torch.dtype
    shape: Any

    def pieces(self) -> Iterator[Tensor]:
        """All rows in order."""
        ...


@runtime_checkable
class HasArrays(Protocol):
    """Trajectories that are not in memory."""

    observations: Any
    actions: Tensor

    def arrays(self) -> Mapping[str, Any]:
        """By the names of a file's tensors: each a tensor, or looked at piece by piece."""
        ...


def save_demonstrations(path: str | Path, trajectories: Trajectories, metadata: Mapping[str, Any]) -> None:
    """Writes trajectories so that the file is either whole or not there; equal input gives equal bytes.

    The file is written beside its target, flushed to the disk and renamed, so that a crash leaves what was there
    before.

    Args:
        path: the file; missing folders are made.
        trajectories: on any device.
        metadata: primitives; usually ``env`` (a dict), ``seed``, ``source`` and ``recipe``.

    Raises:
        UserError: if the trajectories are not valid or the file cannot be written.
    """
    path = Path(path)
    tensors = {name: getattr(trajectories, name).detach().cpu().contiguous() for name in _NAMES}
    check_arrays(path, tensors)
    header = header_for(metadata)
    header["sha256"] = _checksum(tensors, header)
    write_atomically(path, _serialize(tensors, header), "demonstrations file")


def load_demonstrations(path: str | Path) -> tuple[Trajectories, dict[str, Any]]:
    """Reads and validates a demonstrations file.

    Returns:
        The trajectories on the CPU, and the metadata as it was given to :func:`save_demonstrations`.

    Raises:
        UserError: if the file is missing, unreadable, damaged, of another version or not consistent with itself.
    """
    path = Path(path)
    header, tensors = _open(path, with_tensors=True)
    metadata = _metadata(path, header)
    verify(path, header, tensors)
    tensors = {name: tensors[name] for name in _NAMES}
    trajectories = Trajectories(**tensors)
    if (env := environment_of(path, metadata)) is not None:
        check_fits(path, trajectories, env)
    return trajectories, metadata


def header_of(path: str | Path) -> tuple[dict[str, str], dict[str, Any]]:
    """The header as it is in the file, and the metadata in it; raises as :func:`read_metadata` does."""
    path = Path(path)
    header = _open(path, with_tensors=False)[0]
    return header, _metadata(path, header)


def verify(
    path: Path,
    header: Mapping[str, str],
    arrays: Mapping[str, Tensor | HasPieces],
    progress: Callable[[int], None] | None = None,
) -> None:
    """Checks every byte against the checksum, and that the arrays belong together; what is on the disk piece by piece.

    Args:
        path: of the file, for messages.
        header: of the file.
        arrays: in memory or on the disk.
        progress: called with the number of newly checked bytes.

    Raises:
        UserError: if they are damaged, or not those of demonstrations.
    """
    if missing := [name for name in _NAMES if name not in arrays]:
        raise UserError(f"'{path}' is not a demonstrations file: it lacks {', '.join(missing)}")
    arrays = {name: arrays[name] for name in _NAMES}
    if header.get("sha256") != _checksum(arrays, header, progress):
        raise _damaged(path, "its checksum does not match")
    check_arrays(path, arrays)


def read_metadata(path: str | Path) -> dict[str, Any]:
    """The metadata alone, from the file's header; the arrays are neither read nor checked.

    Raises:
        UserError: if the file is missing, unreadable, of another version or no demonstrations file.
    """
    path = Path(path)
    return _metadata(path, _open(path, with_tensors=False)[0])


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


def check_fits(path: str | Path, trajectories: Trajectories | HasArrays, env: EnvConfig) -> None:
    """Checks that trajectories can have come from an environment like this one.

    Raises:
        UserError: if the shape of the observations or the range of the actions differs.
    """
    shape = tuple(trajectories.observations.shape[1:])
    if shape != env.observation_shape:
        raise UserError(
            f"the demonstrations in '{path}' do not fit the environment '{env.name}': their observations have shape "
            f"{shape}, the environment's {env.observation_shape}; choose a file or an environment that match"
        )
    highest = int(trajectories.actions.max())
    if highest >= num_actions(env.spaces.action):
        raise UserError(
            f"the demonstrations in '{path}' do not fit the environment '{env.name}': they contain action {highest}, "
            f"but valid actions are 0 to {num_actions(env.spaces.action) - 1}"
        )


def digest_of(trajectories: Trajectories | HasArrays, progress: Callable[[int], None] | None = None) -> str:
    """A SHA-256 over all that was demonstrated, wherever it is kept and whatever else its file says."""
    if isinstance(trajectories, Trajectories):
        return _checksum({name: getattr(trajectories, name).cpu() for name in _NAMES}, {})
    return _checksum(trajectories.arrays(), {}, progress)


def _open(path: Path, *, with_tensors: bool) -> tuple[dict[str, str], dict[str, Tensor]]:
    if not path.is_file():
        problem = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise UserError(f"the demonstrations file '{path}' {problem}; make one with: iqlightning collect")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = dict(file.metadata() or {})
            # Cloned, because what the library returns may be a window into the file on disk.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()} if with_tensors else {}  # noqa: SIM118
    except SafetensorError as error:
        raise _damaged(path, str(error).split("\n")[0]) from error
    except OSError as error:
        raise UserError(f"cannot read the demonstrations file '{path}': {error.strerror or error}") from error
    return header, tensors


def _metadata(path: Path, header: Mapping[str, str]) -> dict[str, Any]:
    version = header.get("schema_version")
    if version is None:
        raise UserError(f"'{path}' is not a demonstrations file: its header has no schema version")
    if version != SCHEMA_VERSION:
        raise UserError(
            f"the demonstrations file '{path}' has schema version {version}, but this program reads version "
            f"{SCHEMA_VERSION}; make the file again or install the program that wrote it"
        )
    try:
        return {name: json.loads(value) for name, value in header.items() if name not in ("schema_version", "sha256")}
    except (json.JSONDecodeError, RecursionError) as error:
        raise _damaged(path, "its header is not readable") from error


def header_for(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Metadata as the header holds them, without the checksum."""
    header = {name: json.dumps(value, sort_keys=True) for name, value in metadata.items()}
    return header | {"schema_version": SCHEMA_VERSION}


def layout_for(
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


def _serialize(tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> bytes:
    content = save(dict(tensors), dict(header))
    end = _end_of_header(content)
    text = _header_bytes(json.loads(content[8:end]))
    return len(text).to_bytes(8, "little") + text + content[end:]


def _end_of_header(content: bytes) -> int:
    return 8 + int.from_bytes(content[:8], "little")


def _header_bytes(layout: Mapping[str, Any]) -> bytes:
    # The library writes metadata in an order that changes from call to call; sorted, equal files are equal bytes.
    text = json.dumps(layout, sort_keys=True, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)


def _checksum(
    arrays: Mapping[str, Tensor | HasPieces], header: Mapping[str, str], progress: Callable[[int], None] | None = None
) -> str:
    digest = hashlib.sha256()
    digest.update(json.dumps({k: v for k, v in header.items() if k != "sha256"}, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {tuple(array.shape)}".encode())
        for piece in _pieces(array):
            digest.update(piece.contiguous().view(-1).view(torch.uint8).numpy().data)
            if progress is not None:
                progress(piece.nbytes)
    return digest.hexdigest()


def _pieces(array: Tensor | HasPieces) -> Iterable[Tensor]:
    return [array] if isinstance(array, Tensor) else array.pieces()


def check_arrays(path: str | Path, tensors: Mapping[str, Any]) -> None:
    """The invariants of :class:`Trajectories`, of arrays by their names; ``path`` is what messages call them."""

    def require(holds: bool, problem: str) -> None:
        if not holds:
            raise UserError(f"the demonstrations for '{path}' are not valid: {problem}; make them again")

    for name, dtype in _DTYPES.items():
        require(tensors[name].dtype == dtype, f"{name} are {tensors[name].dtype}, not {dtype}")
        require(tensors[name].ndim == 1, f"{name} have shape {tuple(tensors[name].shape)}, not one dimension")
    observations, actions, starts = tensors["observations"], tensors["actions"], tensors["starts"]
    transitions, episodes = actions.shape[0], starts.shape[0] - 1
    require(transitions > 0 and episodes > 0, "they hold no transition")
    require(
        observations.ndim > 0 and observations.shape[0] == transitions + episodes,
        f"{transitions} transitions in {episodes} episodes need {transitions + episodes} observations, not "
        f"{observations.shape[0] if observations.ndim else 0}",
    )
    require(observations.dtype in _OBSERVATION_DTYPES, f"observations are {observations.dtype}")
    require(not observations.is_floating_point() or _finite(observations), "an observation is not finite")
    require(tensors["rewards"].shape[0] == transitions, f"{tensors['rewards'].shape[0]} rewards, {transitions} actions")
    require(_finite(tensors["rewards"]), "a reward is not finite")
    require(int(starts[0]) == 0 and int(starts[-1]) == transitions, "episodes do not cover the transitions")
    require(bool((starts[1:] > starts[:-1]).all()), "episode starts do not increase")
    lowest = min(int(piece.min()) for piece in _pieces(actions))
    require(lowest >= 0, f"there is an action {lowest}")
    for name in ("terminated", "truncated"):
        require(tensors[name].shape[0] == episodes, f"{tensors[name].shape[0]} flags '{name}', {episodes} episodes")
    require(
        bool((tensors["terminated"] | tensors["truncated"]).all()), "an episode is neither terminated nor truncated"
    )


def _finite(array: Tensor | HasPieces) -> bool:
    return all(bool(piece.isfinite().all()) for piece in _pieces(array))


def _damaged(path: Path, detail: str) -> UserError:
    return UserError(
        f"the demonstrations file '{path}' is damaged or truncated ({detail}); delete it and make it again, or copy it "
        "anew from where it came"
    )
