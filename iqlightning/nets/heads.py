"""Heads: features to Q-values, for features of the whole state or of each action (see ``Encoder``)."""

import itertools
from abc import abstractmethod
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from iqlightning.nets.recipe import RecordedModule

__all__ = ["DuelingHead", "Head", "PlainHead"]


def _stack(inputs: int, hidden: Sequence[int], outputs: int) -> nn.Sequential:
    widths = [inputs, *hidden]
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], outputs))


class Head(RecordedModule):
    """Turns features (B, F) or (B, A, F) into Q-values (B, A).

    A subclass takes ``feature_shape`` and ``num_actions`` first and gives every other argument a default.
    """

    @abstractmethod
    def forward(self, features: Tensor) -> Float[Tensor, "batch actions"]:
        """Features to Q-values."""


class PlainHead(Head):
    """Q(s, .) = linear(features); with features of each action, one linear map shared by the actions.

    Args:
        feature_shape: (F,) or (A, F).
        num_actions: A.
        hidden: widths of hidden layers before the linear map.
    """

    def __init__(self, feature_shape: tuple[int, ...], num_actions: int, hidden: Sequence[int] = ()) -> None:
        super().__init__()
        self.per_action = len(feature_shape) == 2
        self.q = _stack(feature_shape[-1], hidden, 1 if self.per_action else num_actions)

    def forward(self, features: Tensor) -> Float[Tensor, "batch actions"]:
        """Features to Q-values."""
        q = self.q(features)
        return q.squeeze(-1) if self.per_action else q


class DuelingHead(Head):
    """Q(s, a) = V(s) + A(s, a) - mean_b A(s, b) (Wang et al. 2016, arXiv 1511.06581, eq. 9).

    With features of each action, V reads their mean over the actions.

    Args:
        feature_shape: (F,) or (A, F).
        num_actions: A.
        hidden: widths of hidden layers in both streams.
    """

    def __init__(self, feature_shape: tuple[int, ...], num_actions: int, hidden: Sequence[int] = ()) -> None:
        super().__init__()
        self.per_action = len(feature_shape) == 2
        self.value = _stack(feature_shape[-1], hidden, 1)
        self.advantage = _stack(feature_shape[-1], hidden, 1 if self.per_action else num_actions)

    def forward(self, features: Tensor) -> Float[Tensor, "batch actions"]:
        """Features to Q-values."""
        advantage = self.advantage(features)
        value = self.value(features)
        if self.per_action:
            advantage, value = advantage.squeeze(-1), value.mean(1)
        return value + advantage - advantage.mean(1, keepdim=True)
