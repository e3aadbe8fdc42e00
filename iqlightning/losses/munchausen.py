"""Munchausen reinforcement learning: the policy's own log-probability as a part of the reward."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from iqlightning.errors import UserError
from iqlightning.losses.values import SoftValue
from iqlightning.recorded import Recorded

__all__ = ["Munchausen"]


class Munchausen(Recorded):
    r"""R + weight [temperature log pi(a|s)]_floor^0 + gamma^n (1 - terminated) V(s_n), pi = softmax(Q' / temperature).

    V is the soft value of the target network Q' at the same temperature (M-DQN of Vieillard, Pietquin and Geist 2020,
    arXiv 2007.14430, section 2, with its clipping). The log-probability holds each policy near the one before it. With
    n = 1, and where nothing is clipped, iteration ends at

        Q = (Q*_k - weight V*_k) / (1 - weight),    k = (1 - weight) temperature,

    with Q*_k, V*_k the soft-optimal values at temperature k: the gap between the best action and the others is
    1 / (1 - weight) times as large (its theorem 2). Q - gamma V' is then the reward plus the log-probability, not the
    reward alone. With n-step returns the log-probability of the first action alone is added.

    Args:
        weight: the paper's alpha, 0 <= weight < 1; its experiments use 0.9.
        temperature: the paper's tau, > 0, in units of reward times ``reward_scale``.
        floor: smallest value of temperature log pi, < 0, in the same units; the paper's l_0.

    Raises:
        UserError: if one of them is out of range.
    """

    def __init__(self, weight: float = 0.9, temperature: float = 0.03, floor: float = -1.0) -> None:
        if not 0 <= weight < 1:
            raise UserError(f"the weight of Munchausen must be at least 0 and below 1, not {weight}")
        if not 0 < temperature < math.inf:
            raise UserError(f"the temperature of Munchausen must be positive and finite, not {temperature}")
        if not floor < 0:
            raise UserError(f"the floor of Munchausen, of a log-probability, must be negative, not {floor}")
        self.weight = weight
        self.floor = floor
        self.value = SoftValue(temperature)

    def reward(self, q: Float[Tensor, "batch actions"], actions: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """The addition to R, weight [temperature log pi(a|s)]_floor^0, from the target network's Q(s, .)."""
        advantage = q.gather(1, actions[:, None])[:, 0] - self.value(q)  # temperature log pi(a|s)
        return self.weight * torch.clamp(advantage, self.floor, 0.0)
