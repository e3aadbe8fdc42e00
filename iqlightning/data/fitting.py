"""From a recording to demonstrations of an environment: units, types and ranges, in one place for all formats.

Converting numbers hides mistakes: 0.5 becomes the byte 0, action 3 of 1 to 3 is no action, pictures in [0, 1] are
divided by 255 once more in the network. Each of these is refused with the option that says what was meant.
"""

import math
from typing import Any

import numpy as np
import torch
from gymnasium import spaces as spaces_module

from iqlightning.data.recording import Recording
from iqlightning.data.validation import check_arrays, check_spaces
from iqlightning.errors import UserError
from iqlightning.spaces import Spaces, action_shape, observation_dtype
from iqlightning.types import EnvConfig, Trajectories

__all__ = ["fitted", "guessed_spaces"]

# float32 knows every whole number below this
_EXACT = 1 << 24


def fitted(
    recording: Recording,
    spaces: Spaces,
    *,
    env: EnvConfig | None = None,
    first_action: int | None = None,
    observation_scale: float | None = None,
) -> Trajectories:
    """The recording in the types and units of demonstrations; what was supposed is added to its notes.

    Args:
        recording: what was read.
        spaces: those that it has to be of.
        env: the environment they belong to, if there is one.
        first_action: number of the first action in the recording, where actions are numbered; None means as the
            recording says, else as the environment counts.
        observation_scale: what observations are multiplied by, such as 255 for pictures in [0, 1] of an environment of
            bytes; None means that they are in the environment's units.

    Returns:
        The episodes on the CPU, checked.

    Raises:
        UserError: if a number is not finite, out of range or lost in conversion, or shapes differ.
    """
    own = first_action if first_action is not None else recording.first_action
    first = own if own is not None else 0 if env is None else env.first_action
    if first and not isinstance(spaces.action, spaces_module.Discrete):
        raise UserError(f"first_action is for actions that are numbered, and those of '{recording.name}' are not")
    lengths = [len(each) for each in recording.actions]
    rewards = recording.rewards or [np.zeros(length, np.float32) for length in lengths]
    terminated = torch.tensor(recording.terminated)
    trajectories = Trajectories(
        observations=_observations(recording, spaces, observation_scale),
        actions=_actions(recording, spaces.action, first),
        rewards=torch.from_numpy(_finite(np.concatenate(rewards), "a reward", recording.name).astype(np.float32)),
        starts=torch.tensor([0, *np.cumsum(lengths).tolist()]),
        terminated=terminated,
        truncated=~terminated,
    )
    check_arrays(recording.name, vars(trajectories))
    check_spaces(recording.name, trajectories, spaces, "spaces" if env is None else f"environment '{env.name}'")
    return trajectories


def guessed_spaces(recording: Recording, first_action: int | None = None) -> Spaces:
    """Spaces that hold what was recorded, where no environment says them; the guess is added to the notes.

    Raises:
        UserError: if the number of the first action cannot be guessed.
    """
    observations, actions = recording.observations[0], np.concatenate(recording.actions)
    shape = observations.shape[1:]
    seen = spaces_module.Box(-math.inf, math.inf, shape, np.float32)
    if observations.dtype == np.uint8:
        seen = spaces_module.Box(0, 255, shape, np.uint8)
    if actions.dtype.kind in "biu" and actions.shape[1:] in ((), (1,)):
        first = recording.first_action if first_action is None else first_action
        if first is None and int(actions.min()) > 0:
            low, high = int(actions.min()), int(actions.max())
            raise UserError(
                f"actions of '{recording.name}' run from {low} to {high}, and no environment says which is the first: "
                "give its number as first_action, 0 if it only does not occur"
            )
        done = spaces_module.Discrete(int(actions.max()) - (first or 0) + 1)
    else:
        actions = _finite(actions.astype(np.float32), "an action", recording.name)
        done = spaces_module.Box(np.minimum(actions.min(0), -1), np.maximum(actions.max(0), 1), dtype=np.float32)
    recording.notes.append(f"no environment is named: observations are supposed to be {seen}, actions {done}")
    return Spaces(seen, done)


def _observations(recording: Recording, spaces: Spaces, scale: float | None) -> torch.Tensor:
    codec, name = spaces.codec, recording.name
    if codec is None:
        return _numbers(recording, spaces.observation, scale)
    own = recording.observations[0].shape[1:]
    native = codec.native
    if own == spaces.observation_shape and own != native.shape:  # a reader has encoded them, or a file of ours did
        return _numbers(recording, spaces.observation, scale)
    if isinstance(native, spaces_module.Box):
        bare = spaces_module.Box(native.low, native.high, native.shape, np.uint8) if native.dtype == bool else native
        return codec.encode(_numbers(recording, bare, scale), f"the recording '{name}'")
    if scale is not None:
        raise UserError(
            f"observation_scale multiplies numbers, and observations of this environment are {codec.describe()}: leave "
            "it out"
        )
    array = _finite(np.concatenate(recording.observations), "an observation", name)
    if native.shape is None:
        raise UserError(
            f"observations of '{name}' have shape {own}; those of the environment are {codec.describe()}, which is "
            f"given as rows of {spaces.observation_shape[0]} numbers"
        )
    return codec.encode(_shaped(array, tuple(native.shape), "observations", recording), f"the recording '{name}'")


def _numbers(recording: Recording, space: Any, scale: float | None) -> torch.Tensor:
    name = recording.name
    array = _finite(np.concatenate(recording.observations), "an observation", name)
    array = _shaped(array, tuple(space.shape), "observations", recording)
    low, high = float(array.min()), float(array.max())
    top = float(np.max(space.high))
    if scale is not None:
        array = array * scale
    elif array.dtype.kind == "f" and top == 255 and low >= 0 and 0 < high <= 1:
        raise UserError(
            f"observations of '{name}' lie in [{low:g}, {high:g}], those of the environment in [0, 255]: if they were "
            "divided by 255, say so with observation_scale=255; observation_scale=1 takes them as they are"
        )
    elif array.dtype.kind in "iu" and top <= 1 and high > top:
        raise UserError(
            f"observations of '{name}' reach {high:g}, those of the environment at most {top:g}: if these are bytes, "
            "say so with observation_scale=1/255; observation_scale=1 takes them as they are"
        )
    if observation_dtype(space) == torch.uint8:
        whole = np.rint(array)
        # what was divided by 255 in float32 or float16 does not come back whole
        wrong = array[(whole < 0) | (whole > top) | ((whole != array) if scale is None else (abs(whole - array) > 0.1))]
        if wrong.size:
            raise UserError(
                f"observations of '{name}' must be whole numbers from 0 to {top:g}, but one is {wrong.flat[0]:g}"
                f"{'' if scale is None else f' once multiplied by {scale:g}'}"
            )
        return torch.from_numpy(whole.astype(np.uint8))
    if array.dtype.kind in "iu" and max(-low, high) >= _EXACT:
        raise UserError(
            f"observations of '{name}' reach {max(-low, high):.0f}, and float32 does not hold {_EXACT} and more"
        )
    with np.errstate(over="ignore"):  # told below
        kept = torch.from_numpy(array.astype(np.float32))
    if not bool(kept.isfinite().all()):
        raise UserError(f"observations of '{name}' reach {max(-low, high):g}, which is more than float32 holds")
    margin = 1e-5 * (1 + np.abs(array))
    outside = ((array < space.low - margin) | (array > space.high + margin)).reshape(len(array), -1).any(1)
    if outside.any():
        recording.notes.append(
            f"{int(outside.sum()):,} of {len(array):,} observations lie outside the environment's bounds: are they in "
            "its units?"
        )
    return kept


def _actions(recording: Recording, space: Any, first: int) -> torch.Tensor:
    array = _finite(np.concatenate(recording.actions), "an action", recording.name)
    array = _shaped(array, action_shape(space), "actions", recording)
    if not isinstance(space, spaces_module.Discrete):
        return torch.from_numpy(array.astype(np.float32))
    last = first + int(space.n) - 1
    wrong = array[(array != np.floor(array)) | (array < first) | (array > last)]
    if wrong.size:
        low, high = array.min(), array.max()
        advice = ""
        if (array == np.floor(array)).all() and high - low < space.n:
            advice = f"; they run from {low:g} to {high:g}: if {low:g} is the first, say so with first_action={low:g}"
        raise UserError(
            f"actions of '{recording.name}' must be whole numbers from {first} to {last}, but one is {wrong.flat[0]:g}"
            f"{advice}"
        )
    if first:
        recording.notes.append(f"actions count from {first}: they are kept from 0 on")
    return torch.from_numpy(array.astype(np.int64) - first)


def _shaped(array: np.ndarray, shape: tuple[int, ...], what: str, recording: Recording) -> np.ndarray:
    """Rows of numbers may be the environment's arrays written out; anything else has to be of its shape."""
    own = array.shape[1:]
    if own == shape:
        return array
    if len(own) < 2 and math.prod(own) == math.prod(shape):
        if len(shape) > 1:
            recording.notes.append(
                f"{what} are rows of {math.prod(own)} numbers: they are taken as arrays of shape {shape}"
            )
        return array.reshape(len(array), *shape)
    raise UserError(
        f"{what} of '{recording.name}' have shape {own}, and the environment's have {shape}; its wrappers and "
        "arguments (--gym_kwargs) may decide that"
    )


def _finite(array: np.ndarray, what: str, name: str) -> np.ndarray:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        rows = np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(1))
        raise UserError(f"{what} of '{name}' is not finite (at row {rows[0]} of {len(array)})")
    return array.astype(np.uint8) if array.dtype.kind == "b" else array
