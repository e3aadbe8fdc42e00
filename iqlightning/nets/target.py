"""Target networks: slowly following copies that keep a bootstrap target still (Mnih et al. 2015)."""

import copy

import torch
from torch import nn

from iqlightning.errors import UserError
from iqlightning.recorded import Recorded

__all__ = ["TargetUpdate"]


class TargetUpdate(Recorded):
    """theta' <- (1 - rate) theta' + rate theta, every ``every`` updates.

    ``rate=1`` with a large ``every`` is the hard update of Mnih et al. 2015; a small ``rate`` with ``every=1`` the soft
    one of Lillicrap et al. 2016 (arXiv 1509.02971).

    Args:
        every: updates between two changes of the target.
        rate: share of the online network taken at each.
    """

    def __init__(self, every: int = 1, rate: float = 0.005) -> None:
        if every < 1 or not 0 < rate <= 1:
            raise UserError(f"a target update needs every >= 1 and 0 < rate <= 1, not every={every}, rate={rate}")
        self.every = every
        self.rate = rate

    def copy(self, network: nn.Module) -> nn.Module:
        """A frozen copy of ``network``."""
        return copy.deepcopy(network).requires_grad_(False)

    @torch.no_grad()
    def __call__(self, target: nn.Module, network: nn.Module, update: int) -> None:
        """Moves ``target`` after gradient update number ``update`` (from 1)."""
        if update % self.every:
            return
        # one call for all: a dozen small ones cost as much as a small network's own step
        torch._foreach_lerp_(list(target.parameters()), list(network.parameters()), self.rate)  # type: ignore[attr-defined]
        for kept, current in zip(target.buffers(), network.buffers(), strict=True):
            kept.copy_(current)
