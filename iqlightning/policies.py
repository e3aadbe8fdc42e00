"""The policy and the reward that fall out of a Q-function."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from iqlightning.errors import UserError
from iqlightning.losses.iq import inverse_reward
from iqlightning.losses.values import ValueFunction
from iqlightning.nets.q_network import QNetwork
from iqlightning.types import EnvConfig

ArrayLike = Tensor | np.ndarray
"""What a policy reads; Gymnasium's observations are NumPy arrays."""

__all__ = ["POLICY_SCHEMA", "QPolicy"]

POLICY_SCHEMA = 1
"""Version of what a checkpoint says of its policy; a change that older files cannot be read with raises it."""


class QPolicy:
    """A trained Q-network as policy, value and reward; every method runs without gradients.

    Args:
        network: Q(s, .).
        value: V from Q, the one that training used; its temperature is that of drawn actions.
        gamma: the discount that training used.
        env: the environment it was trained for, if known.
        info: what else a checkpoint says of itself.
    """

    def __init__(
        self,
        network: QNetwork,
        value: ValueFunction,
        gamma: float,
        env: EnvConfig | None = None,
        info: dict[str, Any] | None = None,
    ) -> None:
        self.network = network
        self.value = value
        self.gamma = gamma
        self.env = env
        self.info = info or {}

    @property
    def device(self) -> torch.device:
        """Where the network lives; observations are moved there."""
        return next(self.network.parameters()).device

    @torch.no_grad()
    def q_values(self, observations: ArrayLike) -> Float[Tensor, "batch actions"]:
        """(B, *shape) of any real dtype to (B, A) float32."""
        observations = torch.as_tensor(observations, device=self.device)
        expected = len(self.network.observation_shape) + 1
        if observations.ndim != expected:
            raise UserError(
                f"the policy reads batches of observations of shape {self.network.observation_shape}, "
                f"not a tensor of shape {tuple(observations.shape)}"
            )
        return self.network(observations).float()

    def values(self, observations: ArrayLike) -> Float[Tensor, " batch"]:
        """(B, *shape) to V(s), soft or hard as in training."""
        return self.value(self.q_values(observations))

    def rewards(
        self,
        observations: ArrayLike,
        actions: ArrayLike,
        next_observations: ArrayLike,
        terminated: ArrayLike,
    ) -> Float[Tensor, " batch"]:
        """The recovered reward Q(s, a) - gamma (1 - terminated) V(s')."""
        chosen = torch.as_tensor(actions, device=self.device).to(torch.int64)
        ended = torch.as_tensor(terminated, device=self.device).to(torch.bool)
        q_a = self.q_values(observations).gather(1, chosen[:, None])[:, 0]
        return inverse_reward(q_a, self.values(next_observations), ended, self.gamma)

    def act(
        self, observations: ArrayLike, *, sample: bool = False, temperature: float | None = None
    ) -> Int[Tensor, " batch"]:
        """(B, *shape) to actions: the best, or drawn from softmax(Q / temperature) with torch's global generator."""
        q = self.q_values(observations)
        if not sample:
            return q.argmax(1)
        # Gumbel's trick draws the whole batch at once: argmax of logits plus standard Gumbel noise.
        logits = q / (self.value.temperature if temperature is None else temperature)
        return (logits - torch.log(-torch.log(torch.rand_like(logits).clamp_min(1e-20)))).argmax(1)
