"""What is learnt in one step of an update, and what an update leaves behind."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["Objective", "OptimizerFactory", "Step", "Updated", "adam"]

OptimizerFactory = Callable[[Iterable], torch.optim.Optimizer]
"""Builds the optimizer from parameters."""


def adam(parameters: Any) -> torch.optim.Optimizer:
    """The optimizer where none is configured: Adam (Kingma and Ba 2015, arXiv 1412.6980) at a rate of 0.001."""
    return torch.optim.Adam(parameters, lr=1e-3, fused=True)


class Objective(NamedTuple):
    """What is computed of a batch.

    Attributes:
        loss: the scalar to minimise.
        terms: its terms, scalars; their means over the updates since the last log are logged.
        diagnostics: further scalars, computed on the updates that are logged only.
    """

    loss: Tensor
    terms: dict[str, Tensor]
    diagnostics: Callable[[], dict[str, Tensor]]


class Step(NamedTuple):
    """One of the optimizer steps that make an update; a Q-network has one, an actor-critic several.

    Attributes:
        name: what its figures are called by.
        module: its trainable parameters are those that are stepped; no others get a gradient that counts.
        objective: of a batch.
        optimizer: builds the optimizer; None for that of the configuration.
    """

    name: str
    module: nn.Module
    objective: Callable[[Any], Objective]
    optimizer: OptimizerFactory | None = None


class Updated(NamedTuple):
    """What an update leaves behind.

    Attributes:
        names: of the scalars.
        scalars: loss, terms and the norm of the gradient before clipping; on the device, one by one or as a vector.
        diagnostics: computes further scalars; of the weights before the update.
    """

    names: list[str]
    scalars: tuple[Tensor, ...] | Tensor
    diagnostics: Callable[[], dict[str, Tensor]]
