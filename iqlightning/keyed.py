"""Random numbers keyed by what they are for, not by when they are drawn.

A number is a pure function of its keys, ``(stream, seed, update, global sample position, ...)``. Runs therefore repeat,
resume and shard exactly without any generator state to save, and a grid is the same alone or in a batch, on a CPU or a
GPU. The mixing function is splitmix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators"),
written with wrapping 64-bit integer arithmetic only, which every device does alike.
"""

from enum import IntEnum

import torch
from torch import Tensor

__all__ = ["NormalsAhead", "Stream", "hash_keys", "integers", "normal", "uniform"]


class Stream(IntEnum):
    """The first key of every draw: one per purpose, so that no two purposes share numbers."""

    LAYOUT = 1
    STATIC_WALLS = 2
    START = 3
    EXPERT = 4
    BATCH = 5
    INITIAL = 6
    SYMMETRY = 7
    NOISE = 8
    EXPLORATION = 9
    SAMPLE = 10
    SPLIT = 11
    RANDOM_POLICY = 12
    PROBE = 13
    HOLDOUT = 14
    REPLAY = 15
    PATH = 16
    PHASE = 17
    ENVIRONMENT = 18
    IMAGINED = 19
    ACTOR = 20
    SHIFT = 21


_WORD = (1 << 64) - 1


def _signed(value: int) -> int:
    """The two's complement reading of the low 64 bits, since torch has no unsigned arithmetic."""
    value &= _WORD
    return value - (1 << 64) if value >> 63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)


def _logical_shift(x: Tensor, bits: int) -> Tensor:
    return (x >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def _shift_xor(x: Tensor, bits: int) -> Tensor:
    # in place: of large tensors, memory that is asked for anew costs more than the arithmetic
    return _logical_shift(x, bits).bitwise_xor_(x)


def _mix(x: Tensor) -> Tensor:
    x = _shift_xor(x, 30).mul_(_FIRST)
    x = _shift_xor(x, 27).mul_(_SECOND)
    return _shift_xor(x, 31)


def _mix_number(x: int) -> int:
    """:func:`_mix` of one number in [0, 2^64), in a twentieth of the time."""
    x = (x ^ (x >> 30)) * _FIRST & _WORD
    x = (x ^ (x >> 27)) * _SECOND & _WORD
    return x ^ (x >> 31)


def hash_keys(*keys: int | Tensor) -> Tensor:
    """Mixes integer keys into one 64-bit number, element by element.

    Args:
        keys: integers or int64 tensors of shapes that broadcast; their order matters.

    Returns:
        int64 tensor of the broadcast shape (0-dimensional if every key is a Python integer).
    """
    number, state = 0, None
    for key in keys:
        if isinstance(key, Tensor):
            before = _signed(number) if state is None else state
            state = _mix((key.to(torch.int64) ^ before).add_(_GOLDEN))
        elif state is None:
            number = _mix_number(((number ^ (int(key) & _WORD)) + _GOLDEN) & _WORD)
        else:
            state = _mix((state ^ _signed(int(key))).add_(_GOLDEN))
    return torch.tensor(_signed(number)) if state is None else state


def uniform(*keys: int | Tensor) -> Tensor:
    """Uniform float64 numbers in [0, 1): the top 53 bits of :func:`hash_keys`, so that every device agrees exactly."""
    return _logical_shift(hash_keys(*keys), 11).to(torch.float64).mul_(2.0**-53)


def integers(*keys: int | Tensor, bound: int | Tensor) -> Tensor:
    """Integers in [0, bound); ``bound`` may be a tensor. The bias is below bound / 2**53."""
    return (uniform(*keys) * bound).to(torch.int64)


def normal(*keys: int | Tensor) -> Tensor:
    """Standard normal float64 numbers by the Box-Muller transform of two keyed uniform ones."""
    radius = torch.sqrt(-2.0 * torch.log1p(-uniform(*keys, 0)))
    return radius * torch.cos(2.0 * torch.pi * uniform(*keys, 1))


# Numbers that are drawn ahead together.
_AHEAD = 1 << 15


class NormalsAhead:
    """Standard normal numbers (samples, rows, size) of one step after the other, drawn for many steps at once.

    The numbers are those of :func:`normal` at the keys (shared, step, row, sample, number), whenever they are drawn. A
    few numbers take as long as thousands; where steps follow each other evenly, as those of a run do, those of the
    next steps are drawn along.

    Args:
        samples: draws of each row.
        size: numbers of each draw.
    """

    def __init__(self, samples: int, size: int) -> None:
        self.samples, self.size = samples, size
        self._shared: tuple[int, ...] = ()
        self._rows = torch.empty(0, dtype=torch.int64)
        self._steps, self._drawn = range(0), torch.empty(0)
        self._last = 0

    def __call__(self, *shared: int, step: int, rows: Tensor) -> Tensor:
        """Those of one step.

        Args:
            shared: the keys before the step.
            step: the key that moves.
            rows: (R,) a key for each row.
        """
        same = shared == self._shared and rows.device == self._rows.device and torch.equal(rows, self._rows)
        if not same or step not in self._steps:
            stride = step - self._last if same and step > self._last else 0
            count = max(1, _AHEAD // (self.samples * len(rows) * self.size)) if stride else 1
            self._shared, self._rows = shared, rows
            self._steps = range(step, step + count * max(stride, 1), max(stride, 1))
            self._drawn = self._draw()
        self._last = step
        return self._drawn[self._steps.index(step)]

    def _draw(self) -> Tensor:
        device = self._rows.device
        steps = torch.tensor(self._steps, device=device)[:, None, None, None]
        sample = torch.arange(self.samples, device=device)[:, None, None]
        number = torch.arange(self.size, device=device)
        return normal(*self._shared, steps, self._rows[:, None], sample, number)
