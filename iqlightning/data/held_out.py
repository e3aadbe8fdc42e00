"""Held-out demonstrations: which episodes are kept from training, and how they are served."""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Int
from torch import Tensor

from iqlightning.data.placement import Placement
from iqlightning.errors import UserError
from iqlightning.keyed import Stream, hash_keys, integers
from iqlightning.types import Batch, Trajectories

__all__ = ["HeldOutLoader", "split_episodes"]


class HeldOutLoader:
    """Every held-out transition once, in order, in batches ``{"expert": Transition, "initial": observations}``.

    The last batch is smaller. Each process gets every ``world_size``-th transition and all serve equally many batches,
    so that none waits for another; the last one of some may be empty. What is averaged over them has to weigh by
    transitions, as torchmetrics do. Nothing is augmented.

    Args:
        trajectories: the held-out episodes, on the device of ``placement``.
        batch_size: of the global batch.
        seed: of the draw of initial states, as many as transitions in each batch.
        placement: of this process.
    """

    def __init__(self, trajectories: Trajectories, batch_size: int, seed: int, placement: Placement) -> None:
        self._trajectories = trajectories
        self._batch_size = batch_size // placement.world_size
        self._seed = seed
        count = trajectories.num_transitions
        self._indices = torch.arange(count, device=placement.device)[placement.rank :: placement.world_size]
        self._batches = math.ceil(math.ceil(count / placement.world_size) / self._batch_size)

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, self._batches * self._batch_size, self._batch_size):
            indices = self._indices[start : start + self._batch_size]
            episodes = integers(Stream.HOLDOUT, self._seed, indices, bound=self._trajectories.num_episodes)
            yield Batch(
                expert=self._trajectories.transitions(indices),
                initial=self._trajectories.initial_observations(episodes),
            )


def split_episodes(
    episodes: int, validation_fraction: float, seed: int
) -> tuple[Int[Tensor, " training"], Int[Tensor, " validation"]]:
    """Training and validation episodes, both in increasing order: those with the smallest keyed hashes are held out.

    At least one is held out if the fraction is not 0, and at least one is left for training. Whether an episode is
    held out hardly changes when others are added.

    Raises:
        UserError: if the fraction is out of range or leaves nothing.
    """
    if not 0.0 <= validation_fraction < 1.0:
        raise UserError(f"validation_fraction must be at least 0 and below 1, but is {validation_fraction}")
    held_out = math.ceil(validation_fraction * episodes - 1e-9)
    if held_out >= episodes:
        raise UserError(
            f"{episodes} demonstration(s) cannot be split by validation_fraction {validation_fraction}: none would be "
            "left for training; give more demonstrations or validation_fraction 0"
        )
    order = hash_keys(Stream.SPLIT, seed, torch.arange(episodes)).argsort()
    return order[held_out:].sort().values, order[:held_out].sort().values
