"""The value of a state from its Q-values, as strategies: soft (maximum entropy) or hard maximum."""

from abc import abstractmethod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from iqlightning.errors import UserError
from iqlightning.recorded import Recorded

__all__ = ["AnnealedSoftValue", "MaxValue", "SoftValue", "ValueFunction", "value_from_dict"]


class ValueFunction(Recorded):
    """V(s) as a function of Q(s, .), and the policy that goes with it."""

    temperature: float

    @abstractmethod
    def __call__(self, q: Float[Tensor, "batch actions"]) -> Float[Tensor, " batch"]:
        """(B, A) to (B,)."""

    def at(self, update: int) -> None:
        """Told the number of the gradient update (from 0) that comes next; a schedule moves, anything else stays."""
        return

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Primitives for a checkpoint; :func:`value_from_dict` reads them."""


class SoftValue(ValueFunction):
    """V(s) = temperature * log sum_a exp(Q(s, a) / temperature).

    The policy that goes with it is softmax(Q / temperature) (Haarnoja et al. 2017, arXiv 1702.08165, eq. 3; Garg et al.
    2021, arXiv 2106.12142, section 3).

    Args:
        temperature: weight of the entropy, > 0, in units of reward.
    """

    def __init__(self, temperature: float = 0.01) -> None:
        if not temperature > 0:
            raise UserError(
                f"the temperature of SoftValue must be positive, not {temperature}; MaxValue is its limit at 0"
            )
        self.temperature = temperature

    def __call__(self, q: Float[Tensor, "batch actions"]) -> Float[Tensor, " batch"]:
        """(B, A) to (B,)."""
        return _soft_maximum(q, self.temperature)

    def to_dict(self) -> dict[str, Any]:
        """Primitives for a checkpoint."""
        return {"kind": "SoftValue", "temperature": self.temperature}


class AnnealedSoftValue(ValueFunction):
    """The soft value with a temperature that falls (or rises) from update to update, evenly in its logarithm.

    temperature(u) = start^(1 - x) end^x,    x = min(u / updates, 1)

    A high temperature first lets all actions share in what is learnt; a low one then sharpens the policy. A learnt
    temperature (Haarnoja et al. 2018, arXiv 1812.05905, section 5) is reported to break the convergence of IQ-Learn. It
    is a function of the update alone, so that a resumed run goes on exactly; a checkpoint holds the temperature of its
    moment.

    Args:
        start: temperature of the first update, > 0, in units of reward.
        end: temperature after ``updates``.
        updates: gradient updates in between.
    """

    def __init__(self, start: float = 1.0, end: float = 0.01, updates: int = 1000) -> None:
        if not (start > 0 and end > 0 and updates > 0):
            raise UserError(
                f"AnnealedSoftValue needs positive start, end and updates, not {start}, {end} and {updates}"
            )
        self.start = start
        self.end = end
        self.updates = updates
        self.temperature = start

    def __call__(self, q: Float[Tensor, "batch actions"]) -> Float[Tensor, " batch"]:
        """(B, A) to (B,)."""
        return _soft_maximum(q, self.temperature)

    def at(self, update: int) -> None:
        """Sets the temperature of the update."""
        share = min(update / self.updates, 1.0)
        self.temperature = self.start ** (1 - share) * self.end**share

    def to_dict(self) -> dict[str, Any]:
        """Primitives for a checkpoint: a soft value at the temperature of this moment."""
        return {"kind": "SoftValue", "temperature": self.temperature}


class MaxValue(ValueFunction):
    """V(s) = max_a Q(s, a): no entropy. Drawn actions use softmax(Q / temperature).

    Args:
        temperature: of drawn actions only.
    """

    def __init__(self, temperature: float = 0.01) -> None:
        if not temperature > 0:
            raise UserError(f"the temperature of MaxValue, of drawn actions, must be positive, not {temperature}")
        self.temperature = temperature

    def __call__(self, q: Float[Tensor, "batch actions"]) -> Float[Tensor, " batch"]:
        """(B, A) to (B,)."""
        return q.amax(dim=1)

    def to_dict(self) -> dict[str, Any]:
        """Primitives for a checkpoint."""
        return {"kind": "MaxValue", "temperature": self.temperature}


def _soft_maximum(q: Tensor, temperature: float) -> Tensor:
    return temperature * torch.logsumexp(q / temperature, dim=1)


def value_from_dict(data: dict[str, Any]) -> ValueFunction:
    """The value function that :meth:`ValueFunction.to_dict` described."""
    kinds = {"SoftValue": SoftValue, "MaxValue": MaxValue}
    return kinds[data["kind"]](data["temperature"])
