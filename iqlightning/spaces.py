"""Observations and actions described by ``gymnasium.spaces``, and what the rest of the package reads off them."""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import Space, spaces

from iqlightning.errors import UserError
from iqlightning.keyed import integers, uniform
from iqlightning.observation_codec import MASK, ObservationCodec

__all__ = [
    "Spaces",
    "action_bounds",
    "action_dtype",
    "action_shape",
    "contains_actions",
    "num_actions",
    "observation_dtype",
    "observation_high",
    "random_actions",
    "space_from_dict",
    "space_to_dict",
]


class Spaces(NamedTuple):
    """What an environment shows and what it takes.

    Attributes:
        observation: of one observation as files, replay and networks know it; a ``Box``.
        action: of one action; ``Discrete`` from 0 (whatever number the environment itself gives its first), or ``Box``.
        codec: between what the environment gives and that box; None where it gives the box itself.
    """

    observation: Space
    action: Space
    codec: ObservationCodec | None = None

    @staticmethod
    def of(native: Space, action: Space, layout: str = "auto") -> "Spaces":
        """Spaces of an environment that gives observations of any kind; see :class:`ObservationCodec`.

        Raises:
            UserError: if no network can read them, or a mask of actions is not one number for each action.
        """
        codec = ObservationCodec(native, layout)
        spaces_ = Spaces(codec.space, action, None if codec.changes_nothing else codec)
        if (mask := spaces_.mask) is not None:
            count = mask.stop - mask.start
            if (
                count != num_actions(action)
                or not (codec.space.low[mask] == 0).all()
                or codec.space.high[mask].max() > 1
            ):
                raise UserError(
                    f"'{MASK}' of an observation tells with 0 or 1 of each action whether it is allowed, and there are "
                    f"{num_actions(action)} actions and {count} numbers up to {codec.space.high[mask].max():g}"
                )
        return spaces_

    @property
    def observation_shape(self) -> tuple[int, ...]:
        """Shape of one observation."""
        shape = self.observation.shape
        assert shape is not None
        return tuple(shape)

    @property
    def mask(self) -> slice | None:
        """Which numbers of an observation tell which actions are allowed; None where all are."""
        return None if self.codec is None else self.codec.mask

    def allowed(self, observations: torch.Tensor) -> torch.Tensor | None:
        """(B, A) bool: the actions that are allowed by encoded observations (B, F); None where all are."""
        return None if (mask := self.mask) is None else observations[:, mask] > 0.5

    def random_actions(self, observations: torch.Tensor, *keys: int | torch.Tensor) -> torch.Tensor:
        """As :func:`random_actions`, one for each of (B, *shape) observations, of the actions that are allowed there.

        Where none is allowed it is any.
        """
        allowed = self.allowed(observations)
        if allowed is None:
            return random_actions(self.action, *keys)
        allowed = allowed | ~allowed.any(1, keepdim=True)
        numbers = uniform(*keys).to(allowed.device)  # the k-th of those that are allowed
        wanted = (numbers * allowed.sum(1)).floor() + 1
        return (allowed.cumsum(1) >= wanted[:, None]).int().argmax(1)

    def to_dict(self) -> dict[str, Any]:
        """Primitives only; :meth:`from_dict` reads them. With a codec, the observation is the environment's own."""
        given = self.observation if self.codec is None else self.codec.native
        described = {"observation": space_to_dict(given), "action": space_to_dict(self.action)}
        return described if self.codec is None else described | {"layouts": self.codec.layouts}

    @staticmethod
    def from_dict(values: Any) -> "Spaces":
        """Inverse of :meth:`to_dict`.

        Raises:
            UserError: if the values describe no pair of spaces.
        """
        if not isinstance(values, dict) or not {"observation", "action"} <= values.keys():
            raise UserError("spaces are described by a dictionary with 'observation' and 'action'")
        observation, action = space_from_dict(values["observation"]), space_from_dict(values["action"])
        if "layouts" not in values:
            return Spaces(observation, action)
        if not isinstance(values["layouts"], list):
            raise UserError("the layouts of observations are described by a list")
        codec = ObservationCodec(observation, values["layouts"])
        return Spaces(codec.space, action, codec)


def num_actions(space: Space) -> int:
    """A of a ``Discrete`` space.

    Raises:
        UserError: if actions are of another kind.
    """
    if not isinstance(space, spaces.Discrete):
        raise UserError(f"discrete actions are needed here, not those of the space {type(space).__name__}")
    return int(space.n)


def action_shape(space: Space) -> tuple[int, ...]:
    """Shape of one action: () where actions are numbered."""
    return () if isinstance(space, spaces.Discrete) else tuple(space.shape or ())


def action_dtype(space: Space) -> torch.dtype:
    """Of a batch of actions: int64 where they are numbered, float32 otherwise."""
    return torch.int64 if isinstance(space, spaces.Discrete) else torch.float32


def contains_actions(space: Space, actions: torch.Tensor) -> torch.Tensor:
    """(N,) bool: which of (N, *shape) actions lie in the space; bounds belong to it, up to float32's rounding."""
    low, high = (torch.as_tensor(bound, device=actions.device) for bound in action_bounds(space))
    return ((actions >= low) & (actions <= high)).reshape(len(actions), -1).all(1)


def action_bounds(space: Space) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest action that count as lying in the space: its bounds, up to float32's rounding."""
    if isinstance(space, spaces.Discrete):
        return np.array(0), np.array(int(space.n) - 1)
    assert isinstance(space, spaces.Box)
    low, high = (np.asarray(bound, dtype=np.float32) for bound in (space.low, space.high))
    margin = np.float32(1e-6)
    return low - margin * (1 + abs(low)), high + margin * (1 + abs(high))


def random_actions(space: Space, *keys: int | torch.Tensor) -> torch.Tensor:
    """(N, *shape) actions, uniform over a ``Discrete`` or a bounded ``Box`` space; the keys broadcast to (N,)."""
    if isinstance(space, spaces.Discrete):
        return integers(*keys, bound=int(space.n))
    assert isinstance(space, spaces.Box)
    columns = [key.unsqueeze(-1) if isinstance(key, torch.Tensor) else key for key in keys]
    device = next((key.device for key in keys if isinstance(key, torch.Tensor)), None)
    low, high = (torch.as_tensor(bound, device=device).double().flatten() for bound in (space.low, space.high))
    numbers = low + (high - low) * uniform(*columns, torch.arange(len(low), device=device))
    return numbers.float().view(-1, *space.shape)


def observation_dtype(space: Space) -> torch.dtype:
    """Of a batch of observations: uint8 where the space has bytes, float32 otherwise."""
    return torch.uint8 if space.dtype == np.uint8 else torch.float32


def observation_high(space: Space) -> float:
    """The value that networks scale to 1: 255 for bytes, 1 for anything else, which they take as it is."""
    if isinstance(space, spaces.Box) and space.dtype == np.uint8 and float(np.max(space.high)) > 1:
        return 255.0
    return 1.0


def space_to_dict(space: Space) -> dict[str, Any]:
    """Primitives only. Bounds that are the same everywhere are written once."""
    if isinstance(space, spaces.Discrete):
        return {"kind": "Discrete", "n": int(space.n)} | ({"start": int(space.start)} if space.start else {})
    if isinstance(space, spaces.MultiDiscrete):
        described = {"kind": "MultiDiscrete", "nvec": space.nvec.tolist()}
        return described | ({"start": space.start.tolist()} if space.start.any() else {})
    if isinstance(space, spaces.MultiBinary):
        # one number or a shape, which are not the same to Gymnasium
        return {"kind": "MultiBinary", "n": space.n if isinstance(space.n, int) else [int(side) for side in space.n]}
    if isinstance(space, spaces.Tuple):
        return {"kind": "Tuple", "spaces": [space_to_dict(each) for each in space.spaces]}
    if isinstance(space, spaces.Dict):
        return {"kind": "Dict", "spaces": {str(name): space_to_dict(each) for name, each in space.spaces.items()}}
    if isinstance(space, spaces.Box):
        bounds = {"low": _bound_to_list(space.low), "high": _bound_to_list(space.high)}
        return {"kind": "Box", **bounds, "shape": list(space.shape), "dtype": str(space.dtype)}
    raise UserError(f"spaces of the kind {type(space).__name__} are not supported; valid: {', '.join(_KINDS)}")


def space_from_dict(values: Any) -> Space:
    """Inverse of :func:`space_to_dict`.

    Raises:
        UserError: if the values describe no space that is known.
    """
    kind = values.get("kind") if isinstance(values, dict) else None
    try:
        if kind == "Discrete":
            return spaces.Discrete(int(values["n"]), start=int(values.get("start", 0)))
        if kind == "MultiDiscrete":
            return spaces.MultiDiscrete(values["nvec"], start=values.get("start"))
        if kind == "MultiBinary":
            sides = values["n"] if isinstance(values["n"], int) else [int(side) for side in values["n"]]
            count = math.prod([sides] if isinstance(sides, int) else sides)
            if not 0 < count <= _LARGEST:
                raise ValueError(f"{count} numbers")
            return spaces.MultiBinary(sides)
        if kind == "Tuple":
            return spaces.Tuple([space_from_dict(each) for each in values["spaces"]])
        if kind == "Dict":
            return spaces.Dict({str(name): space_from_dict(each) for name, each in values["spaces"].items()})
        if kind == "Box":
            shape, dtype = tuple(int(side) for side in values["shape"]), np.dtype(str(values["dtype"]))
            if dtype.kind not in "uifb" or not 0 <= math.prod(shape) <= _LARGEST:
                raise ValueError(f"an array of shape {shape} of {dtype}")  # a file may come from anywhere
            low, high = (_bound_from_list(values[end], shape, dtype) for end in ("low", "high"))
            return spaces.Box(low, high, shape, dtype.type)
    except (KeyError, TypeError, ValueError, AttributeError, AssertionError, OverflowError, RecursionError) as error:
        raise UserError(f"not a description of a {kind} space: {' '.join(str(error).split()):.80}") from error
    raise UserError(f"there is no kind of space '{kind}'; valid: {', '.join(_KINDS)}")


_KINDS = ("Box", "Discrete", "MultiDiscrete", "MultiBinary", "Tuple", "Dict")


# Numbers of one observation or action that a file may speak of.
_LARGEST = 1 << 26

# JSON has no infinities
_ENDS = {"-inf": -math.inf, "inf": math.inf}


def _bound_to_list(bound: np.ndarray) -> Any:
    numbers = bound.astype(np.float64).ravel().tolist()
    written = [number if math.isfinite(number) else str(number) for number in numbers]
    return written[0] if written and all(number == written[0] for number in written) else written


def _bound_from_list(written: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    listed = written if isinstance(written, list) else [written]
    numbers = np.array([_ENDS[each] if isinstance(each, str) else float(each) for each in listed], dtype=np.float64)
    if len(numbers) == 1:
        numbers = numbers.repeat(math.prod(shape))
    return numbers.reshape(shape).astype(dtype)
