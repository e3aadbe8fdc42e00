"""Observations of any kind as one array of numbers, so that files, replay and networks know nothing but boxes.

| an environment gives | networks get |
|---|---|
| ``Discrete``, ``MultiDiscrete`` | one-hot, one number of each after the other |
| ``MultiBinary``, a ``Box`` of truths | bytes of 0 and 1 |
| a ``Box`` without dimensions | one number |
| pictures (H, W), (H, W, C), (C, H, W), stacked (K, H, W, C) | (C, H, W), (K C, H, W) |
| other boxes of two, or of five and more dimensions | their numbers in a row |
| ``Dict``, ``Tuple`` | all of the above in a row, entries of a ``Dict`` by the order of their names |

All of it follows from the space and from how pictures lie in memory, and nothing from data: a file or a checkpoint that
keeps the space keeps the codec.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import Space, spaces
from torch import Tensor

from iqlightning.errors import UserError, unknown

__all__ = ["LAYOUTS", "MASK", "ObservationCodec", "Part", "batch_of_one"]

#: How a picture's dimensions may be said to lie.
LAYOUTS = ("auto", "first", "last", "as given")

#: The entry of a ``Dict`` that tells which actions are allowed.
MASK = "action_mask"

# Numbers of one encoded observation.
_LARGEST = 1 << 26


class Part(NamedTuple):
    """One array of an observation, and where it lies in the row of all.

    Attributes:
        path: names and numbers that lead to it through ``Dict`` and ``Tuple``.
        space: of the array, as the environment gives it.
        shape: of the array once encoded.
        layout: of a picture, ``first`` or ``last``; "" where it is none.
        start: its first number in the row of all.
    """

    path: tuple[Any, ...]
    space: Space
    shape: tuple[int, ...]
    layout: str
    start: int

    @property
    def stop(self) -> int:
        """The number after its last."""
        return self.start + math.prod(self.shape)

    @property
    def is_picture(self) -> bool:
        """Whether it is one."""
        return self.layout != ""

    @property
    def label(self) -> str:
        """What sentences call it."""
        return f"'{'/'.join(map(str, self.path))}'" if self.path else "the observation"


class ObservationCodec:
    """Between what an environment gives and one array; see the module.

    Args:
        native: the space of one observation, as the environment gives it.
        layout: how pictures lie: channels ``first`` or ``last``, or ``as given``, which leaves boxes as they are;
            ``auto`` looks at each shape: two equal sides are height and width, else the shortest end has the channels,
            and of two that are the same the last. A sequence says it of each part, as :attr:`layouts` does.

    Attributes:
        native: the space given.
        space: of one encoded observation, a ``Box``.
        parts: the arrays that it is made of.

    Raises:
        UserError: if the space has an array that is none of numbers, or there is no such layout.
    """

    def __init__(self, native: Space, layout: str | Sequence[str] = "auto") -> None:
        for each in [layout] if isinstance(layout, str) else layout:
            if each not in LAYOUTS:
                raise unknown("layout of pictures", each, LAYOUTS)
        self.native = native
        leaves = list(_leaves(native))
        given = [layout] * len(leaves) if isinstance(layout, str) else list(layout)
        if len(given) != len(leaves):
            raise UserError(f"{len(given)} layouts are given for {len(leaves)} arrays of an observation")
        self.parts: list[Part] = []
        self._layouts: list[str] = []
        start = 0
        for (path, space), wanted in zip(leaves, given, strict=True):
            shape, own = _encoded_shape(space, wanted)
            self.parts.append(Part(path, space, shape, own, start))
            self._layouts.append(own or ("as given" if wanted == "as given" else "auto"))
            start = self.parts[-1].stop
        if not 0 < start <= _LARGEST:
            raise UserError(f"an observation of {start:,} numbers is none that a network can read")
        self._nested = isinstance(native, (spaces.Dict, spaces.Tuple))
        self._as_given = self._layouts == ["as given"] and isinstance(native, spaces.Box)
        self.space = self._box()

    @property
    def layouts(self) -> list[str]:
        """Of each part, from which the same codec is built again."""
        return list(self._layouts)

    @property
    def changes_nothing(self) -> bool:
        """Whether observations are such arrays already."""
        return self._as_given or (
            isinstance(self.native, spaces.Box)
            and self.native.dtype != np.bool_
            and self.native.shape == self.parts[0].shape
            and (not self.parts[0].is_picture or (len(self.native.shape) == 3 and self.parts[0].layout == "first"))
        )

    @property
    def pictures(self) -> list[Part]:
        """Pictures in a row of several parts; none where a picture is all there is."""
        return [part for part in self.parts if part.is_picture] if self._nested else []

    @property
    def mask(self) -> slice | None:
        """Where in a row it says which actions are allowed, if it does."""
        part = next((part for part in self.parts if part.path == (MASK,)), None)
        return None if part is None else slice(part.start, part.stop)

    def is_native(self, observations: Any) -> bool:
        """Whether this is a batch as the environment gives it.

        Where both would be of one shape, an array of NumPy is the environment's and a tensor is encoded.
        """
        if self._nested or not hasattr(observations, "shape"):
            return not hasattr(observations, "shape")
        own, native, encoded = tuple(observations.shape[1:]), tuple(self.native.shape or ()), self.space.shape
        if own == native:
            return own != encoded or isinstance(observations, np.ndarray)
        part = self.parts[0]  # pictures may have another height and width than those of training
        if not part.is_picture or len(own) != len(native):
            return False
        ours = len(own) == len(encoded) and own[0] == encoded[0]
        return not ours and _channels(own, part.layout) == _channels(native, part.layout)

    def is_one(self, observation: Any) -> bool:
        """Whether this is a single observation as the environment gives it, and no batch."""
        if self._nested and hasattr(observation, "shape"):
            return False
        part = self.parts[0]
        array = _at(observation, part.path, "the observation")
        return np.ndim(array) == len(part.space.shape or ()) and self.is_native(batch_of_one(observation))

    def encode(self, observations: Any, whose: str = "the observations") -> Tensor:
        """A batch as the environment gives it to (B, *shape), uint8 or float32.

        Raises:
            UserError: if it is no batch of the space: of another shape, or a number out of its range.
        """
        arrays = [self._encoded(part, _at(observations, part.path, whose), whose) for part in self.parts]
        if not self._nested:
            return torch.from_numpy(arrays[0])
        dtype = np.uint8 if self.space.dtype == np.uint8 else np.float32
        return torch.from_numpy(np.concatenate([array.reshape(len(array), -1).astype(dtype) for array in arrays], 1))

    def decode(self, observations: Tensor) -> Any:
        """Inverse of :meth:`encode`: NumPy arrays of the environment's types, in dictionaries and tuples as it has."""
        rows = observations.cpu().numpy()
        flat = [rows] if not self._nested else [rows[:, part.start : part.stop] for part in self.parts]
        arrays = {part.path: _decoded(part, array) for part, array in zip(self.parts, flat, strict=True)}
        return _assembled(self.native, arrays)

    def describe(self) -> str:
        """What an observation is, in words."""
        return ", ".join(
            (f"{'/'.join(map(str, part.path))}: " if part.path else "") + _words(part) for part in self.parts
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObservationCodec) and (self.native, self.layouts) == (other.native, other.layouts)

    def __hash__(self) -> int:
        return hash((type(self.native).__name__, tuple(self.layouts), self.space.shape))

    def _box(self) -> spaces.Box:
        if not self._nested:
            part, space = self.parts[0], self.native
            if self._as_given:
                assert isinstance(space, spaces.Box)
                return space
            if isinstance(space, spaces.Box) and space.dtype != np.bool_:
                low, high = (_laid_out(bound[None], part)[0] for bound in (space.low, space.high))
                return spaces.Box(low, high, part.shape, space.dtype.type)  # type: ignore[arg-type]
            return spaces.Box(0, 1, part.shape, np.uint8)
        ends = [_bounds(part) for part in self.parts]
        bytes_ = all(dtype == np.uint8 for _, _, dtype in ends)
        dtype = np.uint8 if bytes_ else np.float32
        with np.errstate(over="ignore"):  # what float32 does not hold has no bound
            low, high = (np.concatenate([end[i] for end in ends]).astype(dtype) for i in (0, 1))
        return spaces.Box(low, high, low.shape, dtype)

    def _encoded(self, part: Part, values: Any, whose: str) -> np.ndarray:
        array = np.asarray(values.cpu() if isinstance(values, Tensor) else values)
        space, shape = part.space, tuple(part.space.shape or ())
        fits = array.shape[1:] == shape or (part.is_picture and array.ndim == len(shape) + 1)
        if array.dtype.kind not in "biuf" or array.ndim == 0 or not fits:
            raise UserError(
                f"{whose}: {part.label} is to be of shape {shape}, and a batch of shape {array.shape} of {array.dtype} "
                "was given"
            )
        if isinstance(space, (spaces.Discrete, spaces.MultiDiscrete)):
            return _one_hot(space, array, part.label, whose)
        laid_out = array if part.shape == shape and not part.is_picture else _laid_out(array, part)
        truths = isinstance(space, spaces.MultiBinary) or space.dtype == np.bool_
        if truths and array.dtype.kind != "b" and not ((array == 0) | (array == 1)).all():
            raise UserError(
                f"{whose}: {part.label} is of 0 and 1, and there is {array[(array != 0) & (array != 1)][0]}"
            )
        return np.ascontiguousarray(laid_out.astype(_dtype_of(space)))


def batch_of_one(observation: Any) -> Any:
    """A single observation as a batch: arrays, in dictionaries and tuples or not."""
    if isinstance(observation, Mapping):
        return {name: batch_of_one(each) for name, each in observation.items()}
    if isinstance(observation, tuple):
        return tuple(batch_of_one(each) for each in observation)
    return observation[None] if isinstance(observation, Tensor) else np.asarray(observation)[None]


# ---- spaces


def _leaves(space: Space, path: tuple[Any, ...] = ()) -> Any:
    """Paths and spaces of all arrays."""
    if isinstance(space, spaces.Dict):
        for name in sorted(space.spaces, key=str):
            yield from _leaves(space.spaces[name], (*path, name))
    elif isinstance(space, spaces.Tuple):
        for number, each in enumerate(space.spaces):
            yield from _leaves(each, (*path, number))
    elif isinstance(space, (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)):
        yield path, space
    else:
        where = f"'{'/'.join(map(str, path))}' of its observations is" if path else "its observations are"
        raise UserError(
            f"{where} of the kind {type(space).__name__}, which no network here reads; valid: Box, Discrete, "
            "MultiDiscrete, MultiBinary, and Dict and Tuple of these; the wrapper FilterObservation of Gymnasium keeps "
            "chosen entries of a Dict"
        )


def _encoded_shape(space: Space, layout: str) -> tuple[tuple[int, ...], str]:
    """Shape once encoded, and a picture's layout."""
    if isinstance(space, spaces.Discrete):
        return (int(space.n),), ""
    if isinstance(space, spaces.MultiDiscrete):
        return (int(np.sum(space.nvec)),), ""
    shape = tuple(space.shape or ())
    is_picture = len(shape) in (3, 4) or (len(shape) == 2 and _dtype_of(space) == np.uint8)
    if layout == "as given" and (len(shape) == 3 or not is_picture):
        return (shape if isinstance(space, spaces.Box) else (math.prod(shape),)), ""
    if not is_picture:
        return (math.prod(shape),), ""
    if len(shape) == 2:
        return (1, *shape), "first"
    if layout not in ("first", "last"):
        layout = _guessed(shape[-3:])
    height, width = shape[-2:] if layout == "first" else shape[-3:-1]
    return (math.prod(shape) // (height * width) if height * width else 0, height, width), layout


def _guessed(shape: tuple[int, ...]) -> str:
    a, b, c = shape
    if (a == b) != (b == c):
        return "last" if a == b else "first"
    return "first" if a < c else "last"


def _channels(shape: tuple[int, ...], layout: str) -> int:
    if len(shape) == 2:
        return 1
    channels = shape[-3] if layout == "first" else shape[-1]
    return channels * (shape[0] if len(shape) == 4 else 1)


def _dtype_of(space: Space) -> type:
    if isinstance(space, spaces.Box) and space.dtype != np.bool_:
        return np.uint8 if space.dtype == np.uint8 else np.float32
    return np.uint8


def _bounds(part: Part) -> tuple[np.ndarray, np.ndarray, Any]:
    """Lowest and highest of each number of a part in a row."""
    space = part.space
    if isinstance(space, spaces.Box) and space.dtype != np.bool_:
        low, high = (_laid_out(bound[None], part).ravel() for bound in (space.low, space.high))
        return low, high, _dtype_of(space)
    size = math.prod(part.shape)
    return np.zeros(size, np.uint8), np.ones(size, np.uint8), np.uint8


# ---- arrays


def _at(observations: Any, path: tuple[Any, ...], whose: str) -> Any:
    for step in path:
        try:
            observations = observations[step]
        except (KeyError, IndexError, TypeError) as error:
            raise UserError(f"{whose}: there is no '{'/'.join(map(str, path))}' in what was given") from error
    return observations


def _laid_out(array: np.ndarray, part: Part) -> np.ndarray:
    """(B, ...) as the part's shape; pictures of another height and width keep them."""
    if not part.is_picture:
        return array.reshape(len(array), *part.shape)
    if array.ndim == 3:
        return array[:, None]
    if part.layout == "last":
        array = np.moveaxis(array, -1, -3)
    return array.reshape(len(array), -1, *array.shape[-2:])


def _one_hot(space: Any, array: np.ndarray, label: str, whose: str) -> np.ndarray:
    sizes = [int(space.n)] if isinstance(space, spaces.Discrete) else space.nvec.ravel().tolist()
    first = np.asarray(space.start).reshape(-1)
    numbers = array.reshape(len(array), -1) - first
    if len(wrong := np.argwhere((numbers < 0) | (numbers >= sizes) | (numbers != np.floor(numbers)))):
        row, column = wrong[0]
        low = int(first[column if len(first) > 1 else 0])
        raise UserError(
            f"{whose}: {label} is a whole number from {low} to {low + sizes[column] - 1}, and there is "
            f"{array.reshape(len(array), -1)[row, column]}"
        )
    offsets = np.cumsum([0, *sizes[:-1]])
    hot = np.zeros((len(array), sum(sizes)), np.uint8)
    np.put_along_axis(hot, numbers.astype(np.int64) + offsets, 1, axis=1)
    return hot


def _decoded(part: Part, rows: np.ndarray) -> np.ndarray:
    space, shape = part.space, tuple(part.space.shape or ())
    if isinstance(space, (spaces.Discrete, spaces.MultiDiscrete)):
        sizes = [int(space.n)] if isinstance(space, spaces.Discrete) else space.nvec.ravel().tolist()
        pieces = np.split(rows.reshape(len(rows), -1), np.cumsum(sizes)[:-1], axis=1)
        numbers = np.stack([piece.argmax(1) for piece in pieces], 1) + np.asarray(space.start).reshape(-1)
        return numbers.reshape(len(rows), *shape).astype(space.dtype or np.int64)
    if part.is_picture and len(shape) > 2:
        size = rows.shape[-2:] if rows.ndim == 4 else part.shape[-2:]
        rows = rows.reshape(len(rows), *shape[:-3], -1, *size)
        if part.layout == "last":
            rows = np.moveaxis(rows, -3, -1)
    elif part.is_picture:
        rows = rows.reshape(len(rows), *(rows.shape[-2:] if rows.ndim == 4 else part.shape[-2:]))
    else:
        rows = rows.reshape(len(rows), *shape)
    return rows.astype(space.dtype)


def _assembled(space: Space, arrays: Mapping[tuple[Any, ...], np.ndarray], path: tuple[Any, ...] = ()) -> Any:
    if isinstance(space, spaces.Dict):
        return {name: _assembled(each, arrays, (*path, name)) for name, each in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_assembled(each, arrays, (*path, number)) for number, each in enumerate(space.spaces))
    return arrays[path]


def _words(part: Part) -> str:
    space = part.space
    if part.path == (MASK,):
        return f"which of {math.prod(part.shape)} actions are allowed"
    if isinstance(space, spaces.Discrete):
        return f"one of {space.n}, one-hot"
    if isinstance(space, spaces.MultiDiscrete):
        return f"{len(space.nvec.ravel())} choices, one-hot, of {', '.join(map(str, space.nvec.ravel().tolist()[:6]))}"
    if part.is_picture:
        shape = tuple(space.shape or ())
        planes = "1 plane" if part.shape[0] == 1 else f"{part.shape[0]} planes"
        where = "" if len(shape) == 2 else f", channels {part.layout}"
        stacked = f", {shape[0]} stacked" if len(shape) == 4 else ""
        return f"a picture of {planes}, {part.shape[1]} x {part.shape[2]}{where}{stacked}"
    count = math.prod(part.shape)
    what = "bits" if isinstance(space, spaces.MultiBinary) or space.dtype == np.bool_ else "numbers"
    if len(part.shape) == 3:
        return "an array of " + " x ".join(map(str, part.shape))
    return f"one {what[:-1]}" if count == 1 else f"{count} {what}"
