"""What every model of the dynamics can do."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int

from iqlightning.types import Transition

__all__ = ["DynamicsModel"]


class DynamicsModel(ABC):
    """s' from (s, a), learned from transitions with vector observations."""

    @abstractmethod
    def fit(self, transitions: Transition, num_actions: int) -> None:
        """Learns from transitions whose observations are (B, F); the same ones give the same model."""

    @abstractmethod
    def __call__(
        self, observations: Float[torch.Tensor, "batch features"], actions: Int[torch.Tensor, " batch"]
    ) -> Float[torch.Tensor, "batch features"]:
        """The expected successors."""

    @property
    @abstractmethod
    def explained(self) -> Float[torch.Tensor, " features"]:
        """For each number of the observation, the share of its changes' variance that is predicted; at most 1."""
