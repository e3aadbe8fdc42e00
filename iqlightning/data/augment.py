"""Augmentations of training states (see :class:`~iqlightning.types.Augmentation`): noise, shifts, symmetries."""

import torch
from jaxtyping import Int
from torch import Tensor

from iqlightning.envs.mirrors import MIRRORS
from iqlightning.errors import UserError
from iqlightning.keyed import Stream, integers, normal
from iqlightning.pictures import picture_of
from iqlightning.types import Augmentation, EnvConfig, Transition

__all__ = ["GaussianNoise", "RandomShift", "symmetry_of"]

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


class RandomShift:
    """Moves a picture by up to ``pixels`` up or down and left or right; its edge fills what becomes empty.

    The same as a random crop of the picture padded by its edge (Yarats, Kostrikov and Fergus 2021, arXiv 2004.13649,
    section 3.1, where pixels is 4 of 84). All frames of a stack move together; a state and its successor each by
    themselves. Numbers and dtype stay, bytes remain bytes.

    Args:
        shape: of an observation, a picture in any layout, stacked or not.
        pixels: the largest shift.

    Raises:
        UserError: if ``pixels`` is negative or the observations are no pictures.
    """

    def __init__(self, shape: tuple[int, ...], pixels: int = 4) -> None:
        if pixels < 0:
            raise UserError(f"random_shift must not be negative, but is {pixels}")
        picture = picture_of("random_shift", shape)
        self.pixels = pixels
        self._sides = (picture.height, picture.width)
        # height and width are the last axes, or those before the channels
        self._after = 1 if picture.last else 0

    def __call__(self, transition: Transition, keys: Int[Tensor, " batch"]) -> Transition:
        """Shifts of ``obs`` and ``next_obs``."""
        return transition._replace(
            obs=self.observations(transition.obs, keys), next_obs=self._shifted(transition.next_obs, keys, 2)
        )

    def observations(self, observations: Tensor, keys: Int[Tensor, " batch"]) -> Tensor:
        """Shifts of observations alone."""
        return self._shifted(observations, keys, 0)

    def _shifted(self, observations: Tensor, keys: Int[Tensor, " batch"], first: int) -> Tensor:
        rows, columns = (self._places(keys, first + axis, side) for axis, side in enumerate(self._sides))
        flat = observations.movedim(-1, 1) if self._after else observations
        # (B, planes, H, W), whatever was stacked
        planes = flat.flatten(1, -3) if flat.ndim > 3 else flat.unsqueeze(1)
        every = torch.arange(len(planes), device=planes.device)[:, None, None]
        # two steps: whole rows are copied, then columns are chosen within them
        moved = planes.transpose(1, 2)[every[:, :, 0], rows].transpose(1, 2)
        moved = moved.gather(3, columns[:, None, None].expand_as(moved))
        moved = moved.reshape(flat.shape)
        return moved.movedim(1, -1) if self._after else moved

    def _places(self, keys: Int[Tensor, " batch"], purpose: int, side: int) -> Int[Tensor, "batch side"]:
        """Of each row (or column), which one is shown there."""
        shift = integers(keys, Stream.SHIFT, purpose, bound=2 * self.pixels + 1) - self.pixels
        return (torch.arange(side, device=keys.device) + shift[:, None]).clamp(0, side - 1)


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
