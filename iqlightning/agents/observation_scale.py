"""Observations as networks want them: of mean 0 and deviation 1 over the demonstrations."""

import math

import torch
from torch import Tensor, nn

__all__ = ["Standardised"]


class Standardised(nn.Module):
    """x -> clip((x - mean) / std, +-limit), mean and std those of demonstrations; the identity until they are known.

    Part of an agent and of its checkpoint, so that whoever plays a policy sees what training saw. Numbers that do not
    vary in the demonstrations are only centred.

    Args:
        shape: of one observation, a vector.
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

    @property
    def known(self) -> bool:
        """Whether mean and deviation are, by demonstrations or by a checkpoint."""
        return bool(self.limit.isfinite())

    @torch.no_grad()
    def fit(self, observations: Tensor) -> None:
        """Takes mean and standard deviation from observations (N, *shape)."""
        numbers = observations.double()
        std = numbers.std(0, correction=0)
        self.mean.copy_(numbers.mean(0))
        self.std.copy_(torch.where(std > 1e-4, std, 1.0))
        self.limit.fill_(self._limit)

    def forward(self, observations: Tensor) -> Tensor:
        """(B, *shape) to the same shape."""
        dtype = self.mean.dtype
        return ((observations.to(dtype) - self.mean) / self.std).clamp(-self.limit, self.limit)
