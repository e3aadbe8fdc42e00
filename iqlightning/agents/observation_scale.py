"""Observations as networks want them: numbers of a size that they can learn from.

| scale | what a network sees of x |
|---|---|
| ``none`` | x |
| ``space`` | (x - low) / (high - low) by the bounds of the space; what has no bounds as it is |
| ``standardise`` | (x - mean) / deviation over the demonstrations, of pictures for each pixel, at most 5 |
| ``one-hot`` | for each value v between low and high max(0, 1 - abs(x - v)): 1 where x is v, of whole numbers |
| ``auto`` | bytes divided by 255; whole numbers of 3 to 32 values, likely symbols, one-hot; else as they are |

What an agent chose is part of its recipe, and so of the checkpoint; what ``auto`` does with bytes is ``bytes`` there.
"""

import math
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from gymnasium import spaces as kinds
from torch import Tensor, nn

from iqlightning.errors import UserError, unknown
from iqlightning.observation_codec import ObservationCodec
from iqlightning.spaces import Spaces, observation_high

__all__ = ["SCALES", "ObservationScale", "Scale", "Standardised", "divided_by", "observation_scale", "scale_warning"]

Scale = Literal["auto", "none", "space", "standardise", "one-hot", "bytes"]

SCALES = get_args(Scale)

# Values of a whole number that is taken for a symbol, and the most that are told apart on request.
_SYMBOLS, _MOST_VALUES = 32, 256

# Numbers of one observation once it is one-hot.
_LARGEST = 1 << 20

# A pixel's deviation at least, as a share of the root mean square over all of them.
_LEAST_OF_PIXELS = 0.1

# Less than this of its range is a sliver; more than this is a large number.
_SLIVER, _HUGE = 0.1, 100.0


class ObservationScale(NamedTuple):
    """How networks see observations.

    Attributes:
        name: ``none``, ``bytes`` (divided by 255), ``space``, ``standardise`` or ``one-hot``.
        divisor: what the network itself divides by.
        module: what comes before the network; None for nothing.
        shape: of an observation as the network sees it.
        words: the same, to be read.
        pictures: in a row of several parts, first number, planes, height and width of each picture as the network sees
            it; empty where they lie as in the observation.
    """

    name: str
    divisor: float
    module: nn.Module | None
    shape: tuple[int, ...]
    words: str
    pictures: tuple[tuple[int, int, int, int], ...] = ()

    def see(self, observations: Tensor, dtype: torch.dtype) -> Tensor:
        """(B, *observation shape) as a network sees them, (B, *shape)."""
        if self.module is not None:
            return self.module(observations)
        seen = observations.to(dtype)
        return seen if self.divisor == 1.0 else seen / self.divisor


class Standardised(nn.Module):
    """x -> clip((x - mean) / std, +-limit), mean and std those of demonstrations; the identity until they are known.

    Part of an agent and of its checkpoint, so that whoever plays a policy sees what training saw. Numbers that do not
    vary in the demonstrations are only centred.

    Of pictures each pixel has its own, as in Burda et al. 2018, arXiv 1810.12894, section 2.4: where the camera stands
    still what moves is then all that is seen, however small it is. A pixel's deviation counts as a tenth of the typical
    one at least, so that noise in what stands still is not blown up.

    Args:
        shape: of one observation.
        limit: largest absolute value, in standard deviations.
    """

    mean: Tensor
    std: Tensor
    limit: Tensor

    def __init__(self, shape: tuple[int, ...], limit: float = 5.0) -> None:
        super().__init__()
        self._limit = limit
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("std", torch.ones(shape))
        self.register_buffer("limit", torch.tensor(math.inf))  # of what is not yet known nothing is cut
        self.register_load_state_dict_pre_hook(_for_each_pixel)

    @property
    def known(self) -> bool:
        """Whether mean and deviation are, by demonstrations or by a checkpoint."""
        return bool(self.limit.isfinite())

    @torch.no_grad()
    def fit(self, observations: Tensor) -> None:
        """Takes mean and standard deviation from observations (N, *shape)."""
        numbers = observations.double()
        std = numbers.std(0, correction=0)
        if std.ndim == 3:
            std = std.clamp(min=_LEAST_OF_PIXELS * std.square().mean().sqrt())
        self.mean.copy_(numbers.mean(0))
        self.std.copy_(torch.where(std > 1e-4, std, 1.0))
        self.limit.fill_(self._limit)

    def forward(self, observations: Tensor) -> Tensor:
        """(B, *shape) to the same shape."""
        dtype = self.mean.dtype
        return ((observations.to(dtype) - self.mean) / self.std).clamp(-self.limit, self.limit)


def _for_each_pixel(module: Standardised, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Checkpoints of earlier versions hold one mean and deviation for each channel of a picture."""
    for name in (prefix + "mean", prefix + "std"):
        if name in state and state[name].ndim == module.mean.ndim:
            state[name] = state[name].expand_as(module.mean)


class _Ranged(nn.Module):
    """x -> (x - low) / width, of each number or the same of all."""

    low: Tensor
    width: Tensor

    def __init__(self, low: np.ndarray, width: np.ndarray) -> None:
        super().__init__()
        # they follow from the space, and are no part of the state
        for name, each in (("low", low), ("width", width)):
            same = each.flat[0] if (each == each.flat[0]).all() else each
            self.register_buffer(name, torch.tensor(same, dtype=torch.float32), persistent=False)

    def forward(self, observations: Tensor) -> Tensor:
        return (observations.to(self.low.dtype) - self.low) / self.width


class _OneHot(nn.Module):
    """x -> max(0, 1 - abs(x - v)) for each value v.

    Between two values, where noise or interpolation may lead, both are seen in part.

    Args:
        source: which number, or channel of a picture, each output looks at.
        value: its v.
        picture: whether observations are (B, C, H, W) and not (B, F).
    """

    source: Tensor
    value: Tensor

    def __init__(self, source: np.ndarray, value: np.ndarray, picture: bool) -> None:
        super().__init__()
        shape = (-1, 1, 1) if picture else (-1,)
        self.register_buffer("source", torch.from_numpy(source), persistent=False)
        self.register_buffer("value", torch.tensor(value, dtype=torch.float32).view(shape), persistent=False)

    def forward(self, observations: Tensor) -> Tensor:
        seen = observations.to(self.value.dtype).index_select(1, self.source)
        return (1 - (seen - self.value).abs()).clamp(min=0)


def observation_scale(spaces: Spaces, scale: str = "auto", *, standardise: bool = False) -> ObservationScale:
    """What a setting means for an environment; see the module.

    Args:
        spaces: of the environment.
        scale: one of :data:`SCALES`.
        standardise: whether ``auto`` standardises vectors.

    Raises:
        UserError: if there is no such scale, or it is none for these observations.
    """
    if scale not in SCALES:
        raise unknown("scale of observations", scale, SCALES)
    space, shape = spaces.observation, spaces.observation_shape
    assert isinstance(space, kinds.Box)
    high = observation_high(space)
    if scale == "auto" and standardise and len(shape) == 1:
        scale = "standardise"
    if scale == "standardise":
        return ObservationScale(scale, 1.0, Standardised(shape), shape, "standardised over the demonstrations")
    as_they_are = ObservationScale("none", 1.0, None, shape, "as they are")
    if scale == "none":
        return as_they_are
    if scale == "one-hot" or (scale == "auto" and _are_symbols(space)):
        return as_they_are if _are_bits(space) else _one_hot(spaces)
    if scale == "space":
        return _by_bounds(space, shape) or as_they_are
    return _bytes_of_parts(spaces) or divided_by(spaces, high)


def divided_by(spaces: Spaces, divisor: float) -> ObservationScale:
    """All numbers divided by one, which networks do by themselves."""
    name, words = ("none", "as they are") if divisor == 1.0 else ("bytes", f"divided by {divisor:g}")
    return ObservationScale(name, divisor, None, spaces.observation_shape, words)


def scale_warning(scale: ObservationScale, observations: Tensor) -> str | None:
    """What is wrong with how networks see some observations (N, *shape); None if nothing seems to be.

    ``space`` and bytes are wrong where most numbers that vary use less than a tenth of their range, as symbols
    stored as bytes do; ``none`` where numbers are large.
    """
    raw = observations.float()
    low, high = float(raw.min()), float(raw.max())
    seen = raw / scale.divisor if scale.module is None else scale.module(raw)
    if scale.name == "none" and float(seen.abs().max()) > _HUGE:
        return (
            f"observations run from {low:g} to {high:g} and networks see them as they are, and learn best from numbers "
            "around 1: set scale to standardise, or to space where the bounds of the environment are right"
        )
    if scale.name in ("bytes", "space"):
        by_entry = seen.transpose(0, 1).flatten(1) if seen.ndim == 4 else seen.flatten(1).T
        spread = by_entry.amax(1) - by_entry.amin(1)
        varying = spread[spread > 0]
        if len(varying) and float((varying < _SLIVER).float().mean()) > 0.5:
            return (
                f"observations run from {low:g} to {high:g} and are {scale.words}, so that most numbers that networks "
                f"see vary by less than {_SLIVER:g}: set scale to one-hot if they are symbols, to standardise or none "
                "if they are sizes"
            )
    return None


def _whole(space: kinds.Box) -> bool:
    return space.dtype is not None and space.dtype.kind in "iu" and space.is_bounded()


def _are_bits(space: kinds.Box) -> bool:
    return _whole(space) and bool((space.low >= 0).all() and (space.high <= 1).all())


def _values(space: kinds.Box, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Lowest value of each number (of each channel of a picture), and how many there are."""
    low, high = space.low.astype(np.int64), space.high.astype(np.int64)
    if len(shape) == 3:
        low, high = low.min((1, 2)), high.max((1, 2))
    return low.ravel(), (high - low).ravel() + 1


def _are_symbols(space: kinds.Box) -> bool:
    if not _whole(space) or len(space.shape) not in (1, 3):
        return False
    return 2 < int(_values(space, space.shape)[1].max()) <= _SYMBOLS


def _one_hot(spaces: Spaces) -> ObservationScale:
    space, shape = spaces.observation, spaces.observation_shape
    assert isinstance(space, kinds.Box)
    if not _whole(space) or len(shape) not in (1, 3):
        raise UserError(
            "scale one-hot is for whole numbers with bounds, and these observations are "
            f"{space.dtype} of shape {shape}; valid: auto, none, space, standardise"
        )
    low, values = _values(space, shape)
    numbers = int(values.sum()) * math.prod(shape[1:])
    if int(values.max()) > _MOST_VALUES or numbers > _LARGEST:
        raise UserError(
            f"scale one-hot would make {numbers:,} numbers of an observation, up to {values.max():,} of each of its "
            f"own: at most {_MOST_VALUES} and {_LARGEST:,} are possible; where the space is wider than what occurs, "
            "narrow it with the wrapper Bounds"
        )
    words = f"one-hot, {values.min()}{'' if values.min() == values.max() else f' to {values.max()}'} values of each"
    if spaces.codec is not None and spaces.codec.pictures:
        source, value, pictures = _one_hot_of_parts(spaces.codec, low, values)
        return ObservationScale("one-hot", 1.0, _OneHot(source, value, False), source.shape, words, pictures)
    source = np.repeat(np.arange(len(low)), values)
    value = np.concatenate([first + np.arange(count) for first, count in zip(low, values, strict=True)])
    seen = (int(values.sum()), *shape[1:])
    return ObservationScale("one-hot", 1.0, _OneHot(source, value, len(shape) == 3), seen, words)


def _one_hot_of_parts(
    codec: ObservationCodec, low: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray, tuple[tuple[int, int, int, int], ...]]:
    """Source and value of each number of a row that holds pictures, and where these are then.

    A picture stays one: a plane for each value of each channel. Of what is 0 or 1 already, 1 alone is told.
    """
    source: list[np.ndarray] = []
    value: list[np.ndarray] = []
    pictures: list[tuple[int, int, int, int]] = []
    for part in codec.parts:
        channels, height, width = part.shape if part.is_picture else (math.prod(part.shape), 1, 1)
        before, size = sum(map(len, source)), height * width
        for places in np.arange(part.start, part.stop).reshape(channels, size):
            first, last = int(low[places].min()), int((low + values)[places].max())
            for each in range(1 if not part.is_picture and (first, last) == (0, 2) else first, last):
                source.append(places)
                value.append(np.full(size, each))
        if part.is_picture:
            pictures.append((before, (sum(map(len, source)) - before) // size, height, width))
    return np.concatenate(source), np.concatenate(value), tuple(pictures)


def _by_bounds(space: kinds.Box, shape: tuple[int, ...]) -> ObservationScale | None:
    bounded = np.isfinite(space.low) & np.isfinite(space.high)
    if not bounded.any():
        return None
    low, high = (np.where(bounded, end, other).astype(np.float64) for end, other in ((space.low, 0), (space.high, 1)))
    if (low == 0).all() and (high == high.flat[0]).all():
        divisor = float(high.flat[0])
        return ObservationScale("space", divisor, None, shape, f"divided by {divisor:g}") if divisor > 1 else None
    words = "scaled to 0 to 1 by their bounds" + ("" if bounded.all() else ", where they have some")
    return ObservationScale("space", 1.0, _Ranged(low, np.where(high > low, high - low, 1)), shape, words)


def _bytes_of_parts(spaces: Spaces) -> ObservationScale | None:
    """Where a row holds pictures of bytes beside other numbers."""
    codec = spaces.codec
    if codec is None or len(codec.parts) < 2:
        return None
    # a number that all are divided by would shrink what is one-hot
    width = np.ones(spaces.observation_shape)
    for part in codec.parts:
        if isinstance(part.space, kinds.Box):
            width[part.start : part.stop] = observation_high(part.space)
    if (width == width[0]).all():
        return None
    scaled = _Ranged(np.zeros_like(width), width)
    return ObservationScale("bytes", 1.0, scaled, spaces.observation_shape, "bytes divided by 255, the rest as it is")
