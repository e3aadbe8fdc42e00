"""Temporal-difference losses of Q-learning."""

from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

__all__ = ["td_loss", "td_target"]


def td_target(
    rewards: Float[Tensor, " batch"],
    next_v: Float[Tensor, " batch"],
    terminated: Bool[Tensor, " batch"],
    gamma: float,
    steps: Int[Tensor, " batch"] | None = None,
) -> Float[Tensor, " batch"]:
    """Y = R + gamma^n (1 - terminated) V(s_n), R the discounted sum of n rewards (Mnih et al. 2015; Sutton 1988 for n).

    A truncated episode is bootstrapped: only a terminal state is worth nothing.

    Args:
        rewards: R.
        next_v: value of the state n steps on.
        terminated: that state is terminal.
        gamma: discount.
        steps: n of each transition; None for 1.
    """
    discount = gamma if steps is None else gamma ** steps.to(rewards.dtype)
    return rewards + discount * next_v.masked_fill(terminated, 0.0)


def td_loss(q_a: Float[Tensor, " batch"], target: Float[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Mean Huber loss of Q(s, a) - y with threshold 1: squared near zero, linear beyond (Mnih et al. 2015)."""
    return F.smooth_l1_loss(q_a, target)
