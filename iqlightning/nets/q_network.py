"""The Q-network: scaling, encoder, head."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from iqlightning.errors import UserError
from iqlightning.nets.encoders.encoder import Encoder, require_actions, require_planes
from iqlightning.nets.heads import Head, PlainHead
from iqlightning.nets.recipe import build

__all__ = ["EncoderFactory", "HeadFactory", "QNetwork"]

EncoderFactory = Callable[[tuple[int, ...]], Encoder]
"""Builds an encoder from the shape of one observation."""

HeadFactory = Callable[[tuple[int, ...], int], Head]
"""Builds a head from the encoder's feature shape and the number of actions."""


class QNetwork(nn.Module):
    """Q(s, .) = head(encoder(observation / observation_high)), or the smallest of several such networks.

    The smallest of two guards against overestimation (Fujimoto et al. 2018, arXiv 1802.09477, eq. 10).

    Args:
        observation_shape: shape of one observation.
        num_actions: A.
        observation_high: the value that is scaled to 1 (255 for images, 1 for planes of 0 and 1).
        encoder: builds the encoder.
        head: builds the head.
        copies: networks of their own weights.
    """

    def __init__(
        self,
        observation_shape: tuple[int, ...],
        num_actions: int,
        observation_high: float,
        encoder: EncoderFactory,
        head: HeadFactory = PlainHead,
        copies: int = 1,
    ) -> None:
        super().__init__()
        self.observation_shape = tuple(observation_shape)
        self.num_actions = num_actions
        self.observation_high = float(observation_high)
        self.encoder = encoder(self.observation_shape)
        require_actions(self.encoder, num_actions)
        require_planes(self.encoder, self.observation_high)
        self.head = head(self.encoder.feature_shape, num_actions)
        if copies < 1:
            raise UserError(f"a Q-network needs at least one copy, not {copies}")
        self.others = nn.ModuleList(
            QNetwork(observation_shape, num_actions, observation_high, encoder, head) for _ in range(copies - 1)
        )

    def forward(self, observations: Tensor) -> Float[Tensor, "batch actions"]:
        """(B, *shape) of any real dtype to (B, A), the smallest Q of all copies."""
        return self.each(observations).amin(0) if self.others else self._first(observations)

    def each(self, observations: Tensor) -> Float[Tensor, "copies batch actions"]:
        """(B, *shape) to the Q-values of every copy."""
        first = self._first(observations)
        return torch.stack([first, *(other(observations) for other in self.others)]) if self.others else first[None]

    def _first(self, observations: Tensor) -> Tensor:
        x = observations.to(next(self.head.parameters()).dtype)
        if self.observation_high != 1.0:
            x = x / self.observation_high
        return self.head(self.encoder(x))

    @property
    def recipe(self) -> dict[str, Any]:
        """Plain data from which :meth:`from_recipe` builds the same architecture."""
        recipe: dict[str, Any] = {
            "observation_shape": list(self.observation_shape),
            "num_actions": self.num_actions,
            "observation_high": self.observation_high,
            "encoder": self.encoder.recipe,
            "head": self.head.recipe,
        }
        return recipe | ({"copies": 1 + len(self.others)} if self.others else {})

    @staticmethod
    def from_recipe(recipe: dict[str, Any]) -> "QNetwork":
        """The network of a recipe, its weights fresh."""
        return QNetwork(
            observation_shape=tuple(recipe["observation_shape"]),
            num_actions=recipe["num_actions"],
            observation_high=recipe["observation_high"],
            encoder=lambda shape: build(recipe["encoder"], Encoder, observation_shape=shape),
            head=lambda features, actions: build(recipe["head"], Head, feature_shape=features, num_actions=actions),
            copies=recipe.get("copies", 1),
        )
