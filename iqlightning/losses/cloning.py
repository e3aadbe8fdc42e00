"""Behaviour cloning: the likelihood of the expert's actions."""

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

__all__ = ["cloning_loss"]


def cloning_loss(
    q: Float[Tensor, "batch actions"], actions: Int[Tensor, " batch"], temperature: float
) -> Float[Tensor, ""]:
    """-E[log softmax(Q(s, .) / temperature)_a] (Pomerleau 1991), in nats."""
    return F.cross_entropy(q / temperature, actions)
