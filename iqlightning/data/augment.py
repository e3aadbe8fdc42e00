"""Augmentations of training states (see :class:`~iqlightning.types.Augmentation`): noise, and an environment's own."""

import torch
from jaxtyping import Int
from torch import Tensor

from iqlightning.envs.mirrors import MIRRORS
from iqlightning.errors import UserError
from iqlightning.keyed import Stream, normal
from iqlightning.types import Augmentation, EnvConfig, Transition

__all__ = ["GaussianNoise", "symmetry_of"]

# Logarithm of the number of normal numbers that noise is taken from.
_TABLE_BITS = 18


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


def symmetry_of(env: EnvConfig, device: str | torch.device = "cpu") -> Augmentation:
    """The augmentation by the symmetries of an environment.

    Raises:
        UserError: if none are known.
    """
    symmetry = env.symmetry(device)
    if symmetry is None:
        raise UserError(
            f"data.symmetries turns and mirrors states, but no symmetry of '{env.name}' is known; set it to false "
            f"(known of Gymnasium's, without arguments: {', '.join(MIRRORS)})"
        )
    return symmetry
