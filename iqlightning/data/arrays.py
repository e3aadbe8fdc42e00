"""Demonstrations that are arrays in a NumPy archive."""

import itertools
import zlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from gymnasium.spaces import Discrete

from iqlightning.errors import UserError
from iqlightning.spaces import Spaces, action_dtype, observation_dtype
from iqlightning.types import Trajectories

__all__ = ["read_npz"]

_NEEDED = ("observations", "actions")
_OF_ANY_SHAPE = (*_NEEDED, "next_observations")
_READ = (*_OF_ANY_SHAPE, "rewards", "terminated", "truncated", "episode_starts")


def read_npz(path: str | Path, spaces: Spaces) -> Trajectories:
    """Episodes from the arrays of an ``.npz`` file; nothing in it is unpickled.

    Arrays: ``observations`` (N, *shape), ``actions`` (N, *action shape) in the environment's units, both needed;
    ``episode_starts`` (E + 1,) or (E,) first rows of episodes, or ends of episodes by ``terminated`` and ``truncated``
    (N,) bool; ``next_observations`` (N, *shape) and ``rewards`` (N,), both optional. Without successors the last
    transition of each episode is left out, since where it led is not known.

    Args:
        path: the file.
        spaces: of the environment.

    Raises:
        UserError: if the file is missing or no such archive, its arrays do not make episodes, or they are of another
            kind than the environment's.
    """
    arrays = _arrays(Path(path))
    missing = [name for name in _NEEDED if name not in arrays]
    if missing:
        raise UserError(
            f"'{path}' has no array '{missing[0]}'; it has {', '.join(sorted(arrays)) or 'none'}, and needs "
            f"{' and '.join(_NEEDED)}"
        )
    _require_usable(path, arrays, spaces)
    count = len(arrays["observations"])
    flags = {name: arrays.get(name, np.zeros(count, dtype=bool)).astype(bool) for name in ("terminated", "truncated")}
    bounds = _bounds(path, arrays, flags["terminated"] | flags["truncated"])
    known = "next_observations" in arrays
    observations, moves, lengths = [], [], []
    for first, end in itertools.pairwise(bounds):
        own = arrays["observations"][first:end]
        if known and not np.allclose(arrays["next_observations"][first : end - 1], own[1:], equal_nan=True):
            raise UserError(
                f"'{path}' has an episode at rows {first} to {end - 1} whose next_observations are not the "
                "observations of the rows after them: transitions must follow each other"
            )
        if flags["terminated"][first : end - 1].any():
            raise UserError(f"'{path}' has an episode at rows {first} to {end - 1} that terminates before its end")
        if known:
            observations += [own, arrays["next_observations"][end - 1 : end]]
        else:
            observations.append(own)
        last = end if known else end - 1
        if last == first:
            raise UserError(f"'{path}' has an episode of one observation at row {first}, which holds no transition")
        moves.append(np.arange(first, last))
        lengths.append(last - first)
    rows, ends = np.concatenate(moves), np.array(bounds[1:]) - 1
    rewards = arrays.get("rewards", np.zeros(count, dtype=np.float32))
    terminated = flags["terminated"][ends] if known else np.zeros(len(ends), dtype=bool)
    return Trajectories(
        observations=torch.from_numpy(np.concatenate(observations)).to(observation_dtype(spaces.observation)),
        actions=torch.from_numpy(arrays["actions"][rows]).to(action_dtype(spaces.action)),
        rewards=torch.from_numpy(rewards[rows].astype(np.float32)),
        starts=torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)])).to(torch.int64),
        terminated=torch.from_numpy(terminated.copy()),
        truncated=torch.from_numpy(~terminated),
    )


def _require_usable(path: str | Path, arrays: dict[str, np.ndarray], spaces: Spaces) -> None:
    """What converting them to the environment's types would hide, or fail at."""
    count = len(arrays["observations"]) if arrays["observations"].ndim else 0
    for name, array in arrays.items():
        if name not in _READ:
            continue  # whatever else somebody keeps beside them
        if array.dtype.kind not in "biuf" or array.ndim == 0:
            raise UserError(f"{name} of '{path}' are no rows of numbers, but {array.dtype} of shape {array.shape}")
        if array.ndim > 1 and name not in _OF_ANY_SHAPE:
            raise UserError(f"{name} of '{path}' have shape {array.shape}, not one dimension")
        if name != "episode_starts" and len(array) != count:
            raise UserError(f"'{path}' has {count} observations, but {len(array)} {name}")
    if count == 0:
        raise UserError(f"'{path}' holds no transition")
    seen = {name: arrays[name] for name in ("observations", "next_observations") if name in arrays}
    if len({array.shape for array in seen.values()}) > 1:
        shapes = " and ".join(f"{name} {array.shape}" for name, array in seen.items())
        raise UserError(f"'{path}' has {shapes}, which must be of one shape")
    highest = {"episode_starts": count}  # of arrays of whole numbers
    if isinstance(spaces.action, Discrete):
        highest["actions"] = int(spaces.action.n) - 1
    if observation_dtype(spaces.observation) == torch.uint8:
        highest |= {name: 255 for name, array in seen.items() if array.dtype != np.uint8}
    for name in highest.keys() & arrays.keys():
        array = arrays[name]
        wrong = array[(array != np.floor(array)) | (array < 0) | (array > highest[name])]
        if wrong.size:
            raise UserError(
                f"{name} of '{path}' must be whole numbers from 0 to {highest[name]}, but one is {wrong.flat[0]:g}"
            )


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise UserError(f"there is no file '{path}'") from error
    except (OSError, ValueError, BadZipFile, AttributeError, EOFError, zlib.error, RuntimeError) as error:
        raise UserError(f"'{path}' is not an archive of NumPy arrays (.npz, without Python objects)") from error


def _bounds(path: str | Path, arrays: dict[str, np.ndarray], ended: np.ndarray) -> list[int]:
    count = len(ended)
    if "episode_starts" in arrays:
        starts = [int(each) for each in arrays["episode_starts"]]
        bounds = starts if starts and starts[-1] == count else [*starts, count]
        if bounds[0] != 0 or any(after <= before for before, after in itertools.pairwise(bounds)):
            raise UserError(f"episode_starts of '{path}' must begin at 0 and increase to at most {count}")
        return bounds
    if not ended.any():
        raise UserError(f"'{path}' does not say where episodes end: give episode_starts, or terminated and truncated")
    ends = [int(each) + 1 for each in np.flatnonzero(ended)]
    # what comes after the last end is an episode that was cut off
    return [0, *ends] if ends[-1] == count else [0, *ends, count]
