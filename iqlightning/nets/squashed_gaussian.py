"""A Gaussian squashed into bounds: the distribution of a soft actor-critic's actions."""

import math
from typing import NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from iqlightning.errors import UserError

__all__ = ["SquashedGaussian", "log_prob_of"]

#: Range of the logarithm of the standard deviation, before squashing.
LOG_STD = (-5.0, 2.0)

# Actions this close to a bound, in units of half the range, are taken to lie here: atanh has poles at the bounds.
_EDGE = 1 - 1e-6


class Parameters(NamedTuple):
    """Of the Gaussian before squashing, each (B, D)."""

    mean: Tensor
    log_std: Tensor


def log_prob_of(
    u: Float[Tensor, "... d"], mean: Float[Tensor, "... d"], log_std: Float[Tensor, "... d"], half: Tensor
) -> Float[Tensor, "..."]:
    r"""Log pi(a) of a = middle + half tanh(u), u ~ N(mean, std^2), in nats (Haarnoja et al. 2018, 1801.01290, eq. 21).

        sum_d log N(u_d; mean_d, std_d) - log half_d - log(1 - tanh(u_d)^2)

    The last term is 2 (log 2 - u - softplus(-2 u)), exact also where tanh(u) rounds to 1.
    """
    gaussian = -0.5 * ((u - mean) * torch.exp(-log_std)).square() - log_std - 0.5 * math.log(2 * math.pi)
    squash = 2 * (math.log(2.0) - u - F.softplus(-2 * u))
    return (gaussian - squash - torch.log(half)).sum(-1)


class SquashedGaussian(nn.Module):
    """a = middle + half_range tanh(u), u ~ N(mean, std^2): the bounds of an action space and what is drawn within.

    Args:
        space: of actions; a Box that is bounded.

    Raises:
        UserError: if the space is of another kind, or has no bounds.
    """

    middle: Tensor
    half_range: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, space: spaces.Space) -> None:
        super().__init__()
        if not isinstance(space, spaces.Box):
            raise UserError(
                f"an actor draws continuous actions, and this environment's are {type(space).__name__}; "
                "leave out model.agent, or take DQN instead of SAC"
            )
        if not space.is_bounded():
            raise UserError("an actor needs bounds of its actions, and this environment's action space has none")
        low, high = (torch.as_tensor(end).float().flatten() for end in (space.low, space.high))
        self.shape = tuple(space.shape)
        self.register_buffer("middle", (low + high) / 2, persistent=False)
        self.register_buffer("half_range", (high - low) / 2, persistent=False)
        self.register_buffer("low", _within(space.low, np.inf), persistent=False)
        self.register_buffer("high", _within(space.high, -np.inf), persistent=False)

    @property
    def size(self) -> int:
        """D, numbers of one action."""
        return len(self.middle)

    def parameters_of(self, outputs: Float[Tensor, "batch two_d"]) -> Parameters:
        """A network's outputs (B, 2 D) to mean and log standard deviation, the latter kept within its range."""
        mean, raw = outputs.chunk(2, dim=-1)
        low, high = LOG_STD
        return Parameters(mean, low + 0.5 * (high - low) * (torch.tanh(raw) + 1))

    def sample(self, drawn: Parameters, noise: Float[Tensor, "... d"]) -> tuple[Tensor, Tensor]:
        """Actions in units (-1, 1) and their log-probability, from standard normal noise (B, D) or (S, B, D)."""
        u = drawn.mean + torch.exp(drawn.log_std) * noise
        return torch.tanh(u), log_prob_of(u, drawn.mean, drawn.log_std, self.half_range.to(u.dtype))

    def log_prob(self, given: Parameters, actions: Tensor) -> Float[Tensor, " batch"]:
        """Log-probability (a density) of actions (B, *shape) in the environment's units."""
        u = torch.atanh(self.to_units(actions).clamp(-_EDGE, _EDGE))
        return log_prob_of(u, given.mean, given.log_std, self.half_range.to(u.dtype))

    def to_units(self, actions: Tensor) -> Float[Tensor, "batch d"]:
        """Actions (B, *shape) of the environment to (B, D) in [-1, 1]."""
        middle, half = self.middle, self.half_range
        return (actions.flatten(1) - middle) / half

    def from_units(self, units: Float[Tensor, "batch d"]) -> Tensor:
        """Inverse of :meth:`to_units`; never out of bounds, whatever rounding does."""
        actions = self.middle + self.half_range * units
        return torch.clamp(actions.float(), self.low, self.high).unflatten(1, self.shape)


def _within(bound: np.ndarray, inwards: float) -> Tensor:
    """The float32 nearest to a bound, which may be a float64, that is not beyond it."""
    near = bound.astype(np.float32).flatten()
    beyond = near < bound.flatten() if inwards > 0 else near > bound.flatten()
    return torch.from_numpy(np.where(beyond, np.nextafter(near, np.float32(inwards)), near))
