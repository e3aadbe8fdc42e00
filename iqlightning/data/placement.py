"""Where a datamodule's tensors live, and which part of a global batch is this process's."""

from typing import NamedTuple

import torch
from lightning.pytorch import Trainer

__all__ = ["Placement"]


class Placement(NamedTuple):
    """The training device of this process, and its place among all of them."""

    device: torch.device = torch.device("cpu")
    rank: int = 0
    world_size: int = 1

    @classmethod
    def of(cls, trainer: Trainer | None) -> "Placement":
        """The trainer's, or one process on the CPU where there is none."""
        if trainer is None:
            return cls()
        return cls(trainer.strategy.root_device, trainer.global_rank, trainer.world_size)
