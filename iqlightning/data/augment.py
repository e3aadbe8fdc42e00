"""Augmentations of training states: maps of transitions that draw their randomness from a key per sample.

An augmentation is called with a batch and one int64 key per sample; a key is already well mixed (see
:func:`iqlightning.keyed.hash_keys`) and belongs to that sample alone, so that results depend neither on how samples are
spread over processes nor on the order of anything.
"""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from iqlightning.errors import UserError
from iqlightning.keyed import Stream, normal
from iqlightning.types import Transition

__all__ = ["Augmentation", "GaussianNoise", "GridSymmetry"]

# Logarithm of the number of normal numbers that noise is taken from.
_TABLE_BITS = 18


@runtime_checkable
class Augmentation(Protocol):
    """A random map of states, and of actions where they turn with the states."""

    def __call__(self, transition: Transition, keys: Int[Tensor, " batch"]) -> Transition:
        """The transition with ``obs`` and ``next_obs`` (and ``actions``) mapped."""
        ...

    def observations(self, observations: Tensor, keys: Int[Tensor, " batch"]) -> Tensor:
        """The map of observations alone."""
        ...


class GridSymmetry:
    """Turns and mirrors grids: the 8 symmetries of a square, or the 4 that keep the shape of another rectangle.

    Observations are (B, C, H, W) of any dtype, actions 0 up, 1 right, 2 down, 3 left. With g a symmetry, the
    environment commutes with it: if a leads from s to s', then g(a) leads from g(s) to g(s'). State, successor and
    action of a sample are mapped by the same g, the one that the low bits of the sample's key choose. Each
    observation is one gather through a table of cell numbers.
    """

    # (row step, column step) of each action.
    _STEPS = ((-1, 0), (0, 1), (1, 0), (0, -1))

    def __init__(self, channels: int, height: int, width: int, *, device: str | torch.device = "cpu") -> None:
        cells = torch.arange(height * width).view(height, width)
        quarters = range(4) if height == width else (0, 2)
        images = [image for turns in quarters for image in (cells.rot90(turns), cells.rot90(turns).flip(1))]
        moves = [(turns, mirrored) for turns in quarters for mirrored in (False, True)]
        planes = torch.arange(channels).view(1, channels, 1) * cells.numel()
        self.count = len(images)
        self._sources = (
            (torch.stack([image.reshape(-1) for image in images]).unsqueeze(1) + planes).flatten(1).to(device)
        )
        self._actions = torch.tensor(
            [[self._image_of_action(action, *move) for action in range(4)] for move in moves], device=device
        )

    def __call__(self, transition: Transition, keys: Int[Tensor, " batch"]) -> Transition:
        """``obs``, ``next_obs`` and ``actions`` under each sample's symmetry."""
        symmetry = self._symmetry(keys)
        sources = self._sources.index_select(0, symmetry)
        return transition._replace(
            obs=self._gather(transition.obs, sources),
            actions=self._actions.take(torch.add(transition.actions, symmetry, alpha=4)),
            next_obs=self._gather(transition.next_obs, sources),
        )

    def observations(self, observations: Tensor, keys: Int[Tensor, " batch"]) -> Tensor:
        """Observations under each sample's symmetry."""
        return self._gather(observations, self._sources.index_select(0, self._symmetry(keys)))

    def _symmetry(self, keys: Tensor) -> Tensor:
        return keys & (self.count - 1)  # 4 and 8 are powers of two

    @staticmethod
    def _gather(observations: Tensor, sources: Tensor) -> Tensor:
        return observations.flatten(1).gather(1, sources).view(observations.shape)

    @classmethod
    def _image_of_action(cls, action: int, turns: int, mirrored: bool) -> int:
        row, column = cls._STEPS[action]
        for _ in range(turns):
            row, column = -column, row  # a quarter turn against the clock, as Tensor.rot90 does
        return cls._STEPS.index((row, -column if mirrored else column))


class GaussianNoise:
    """Adds N(0, std^2) to every number of a state, in units of the environment's ``observation_high``.

    The study added noise of 0.01 to its grids. States become float32; actions stay. A state and its successor get
    different noise. Making normal numbers anew would take longer than a small network's whole update, and so there is
    one table of 2^18 of them, of which each state gets the stretch that its key chooses (as in Salimans et al. 2017,
    arXiv 1703.03864, section 2.1).

    Args:
        std: standard deviation.
        high: the environment's ``observation_high``.

    Raises:
        UserError: if ``std`` is negative.
    """

    def __init__(self, std: float = 0.01, high: float = 1.0) -> None:
        if std < 0:
            raise UserError(f"noise_std must not be negative, but is {std}")
        self.std = std
        self.high = high
        self._stretches = torch.empty(0, 0)

    def __call__(self, transition: Transition, keys: Int[Tensor, " batch"]) -> Transition:
        """Noise on ``obs`` and ``next_obs``."""
        return transition._replace(
            obs=self.observations(transition.obs, keys),
            next_obs=self.observations(transition.next_obs, keys >> _TABLE_BITS),
        )

    def observations(self, observations: Tensor, keys: Int[Tensor, " batch"]) -> Tensor:
        """Noise on observations alone."""
        elements = observations[0].numel()
        if self._stretches.shape[1] != elements or self._stretches.device != keys.device:
            self._make_table(elements, keys.device)
        noise = self._stretches.index_select(0, keys & ((1 << _TABLE_BITS) - 1))
        return noise.view(observations.shape).add_(observations)

    def _make_table(self, elements: int, device: torch.device) -> None:
        # Made on the CPU wherever it is used, so that all devices add the same. Row i of the view begins at number i.
        table = normal(Stream.NOISE, torch.arange((1 << _TABLE_BITS) + elements)) * (self.std * self.high)
        self._stretches = table.to(device, torch.float32).unfold(0, elements, 1)
