"""The symmetries of the square, as an augmentation of what is learnt from."""

import torch
from jaxtyping import Int
from torch import Tensor

from iqlightning.gridworld.game.rules import STEPS
from iqlightning.types import Transition

__all__ = ["GridSymmetry"]


class GridSymmetry:
    """Turns and mirrors grids: the 8 symmetries of a square, or the 4 that keep the shape of another rectangle.

    Observations are (B, C, H, W) of any dtype, actions 0 up, 1 right, 2 down, 3 left. With g a symmetry, the
    environment commutes with it: if a leads from s to s', then g(a) leads from g(s) to g(s'). State, successor and
    action of a sample are mapped by the same g, the one that the low bits of the sample's key choose. Each
    observation is one gather through a table of cell numbers.
    """

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

    @staticmethod
    def _image_of_action(action: int, turns: int, mirrored: bool) -> int:
        row, column = STEPS[action]
        for _ in range(turns):
            row, column = -column, row  # a quarter turn against the clock, as Tensor.rot90 does
        return STEPS.index((row, -column if mirrored else column))
