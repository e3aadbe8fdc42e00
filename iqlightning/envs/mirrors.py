"""Left and right exchanged in some of Gymnasium's environments; for MiniGrid see :mod:`iqlightning.envs.minigrid`."""

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from iqlightning.types import Transition

__all__ = ["MIRRORS", "Mirror", "MirrorSymmetry"]


class Mirror(NamedTuple):
    """What left and right exchange.

    Attributes:
        signs: of each number of the observation, in a row, after ``order``: -1 where it changes its sign.
        order: which number of the observation comes to each place.
        actions: the image of each action.
    """

    signs: tuple[int, ...]
    order: tuple[int, ...]
    actions: tuple[int, ...]


#: Gymnasium's id to its mirror. Dynamics, rewards and first states are symmetric.
MIRRORS: dict[str, Mirror] = {
    # position, velocity, angle, angular velocity; push left, right
    "CartPole-v1": Mirror((-1, -1, -1, -1), (0, 1, 2, 3), (1, 0)),
    # cos and sin of two angles, two angular velocities; torque -1, 0, 1
    "Acrobot-v1": Mirror((1, -1, 1, -1, -1, -1), (0, 1, 2, 3, 4, 5), (2, 1, 0)),
    # x, y, their velocities, angle, angular velocity, left and right leg down; nothing, left, main, right engine
    "LunarLander-v3": Mirror((-1, 1, -1, 1, -1, -1, 1, 1), (0, 1, 2, 3, 4, 5, 7, 6), (0, 3, 2, 1)),
}


class MirrorSymmetry:
    """Exchanges left and right in half of the samples, the one that the lowest bit of a sample's key chooses.

    With g the mirror, the environment commutes with it: if a leads from s to s', then g(a) leads from g(s) to g(s').
    """

    def __init__(self, mirror: Mirror, *, device: str | torch.device = "cpu") -> None:
        same = range(len(mirror.signs))
        self._order = torch.tensor([list(same), mirror.order], device=device)
        self._signs = torch.tensor([[1.0 for _ in same], mirror.signs], device=device)
        self._actions = torch.tensor([list(range(len(mirror.actions))), mirror.actions], device=device)

    def __call__(self, transition: Transition, keys: Int[Tensor, " batch"]) -> Transition:
        """``obs``, ``next_obs`` and ``actions``, mirrored or not."""
        return transition._replace(
            obs=self.observations(transition.obs, keys),
            actions=self._actions[keys & 1, transition.actions],
            next_obs=self.observations(transition.next_obs, keys),
        )

    def observations(self, observations: Tensor, keys: Int[Tensor, " batch"]) -> Tensor:
        """Observations (B, *shape), mirrored or not."""
        chosen, rows = keys & 1, observations.flatten(1)
        mirrored = rows.gather(1, self._order[chosen]) * self._signs[chosen].to(rows.dtype)
        return mirrored.view_as(observations)
