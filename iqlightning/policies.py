"""The policy and the reward that fall out of an agent."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from iqlightning.agents.agent import Agent, Keys
from iqlightning.agents.soft_q import SoftQ
from iqlightning.errors import UserError
from iqlightning.losses.iq import inverse_reward
from iqlightning.losses.values import ValueFunction
from iqlightning.spaces import action_dtype, action_shape
from iqlightning.types import EnvConfig

ArrayLike = Tensor | np.ndarray
"""What a policy reads; Gymnasium's observations are NumPy arrays."""

__all__ = ["POLICY_SCHEMA", "AgentPolicy"]

POLICY_SCHEMA = 2
"""Version of what a checkpoint says of its policy; a change that older files cannot be read with raises it."""


class AgentPolicy:
    """A trained agent as policy, value and reward; every method runs without gradients.

    Args:
        agent: Q, V and pi.
        gamma: the discount that training used.
        env: the environment it was trained for, if known.
        info: what else a checkpoint says of itself.
    """

    def __init__(
        self, agent: Agent, gamma: float, env: EnvConfig | None = None, info: dict[str, Any] | None = None
    ) -> None:
        self.agent = agent
        self.gamma = gamma
        self.env = env
        self.info = info or {}

    @property
    def device(self) -> torch.device:
        """Where the agent lives; observations are moved there."""
        return self.agent.device

    @property
    def value(self) -> ValueFunction:
        """V from Q(s, .), where actions are discrete.

        Raises:
            UserError: where they are not.
        """
        return self._discrete().value

    @property
    def temperature(self) -> float:
        """That of training, and of drawn actions."""
        return self.agent.temperature

    @torch.no_grad()
    def q_values(self, observations: ArrayLike) -> Float[Tensor, "batch actions"]:
        """(B, *shape) of any real dtype to (B, A) float32.

        Raises:
            UserError: if actions are not discrete, or observations are no batch of the right shape.
        """
        return self._discrete().q_values(self._observations(observations)).float()

    @torch.no_grad()
    def q(self, observations: ArrayLike, actions: ArrayLike) -> Float[Tensor, " batch"]:
        """Q(s, a), the smallest of all copies."""
        return self.agent.q(self._observations(observations), self._actions(actions)).amin(0).float()

    @torch.no_grad()
    def values(self, observations: ArrayLike, *, keys: Keys | None = None) -> Float[Tensor, " batch"]:
        """(B, *shape) to V(s), soft or hard as in training; ``keys`` are of the actions that an actor draws for it."""
        return self.agent.v(self._observations(observations), keys=keys).float()

    def rewards(
        self,
        observations: ArrayLike,
        actions: ArrayLike,
        next_observations: ArrayLike,
        terminated: ArrayLike,
        *,
        keys: Keys | None = None,
    ) -> Float[Tensor, " batch"]:
        """The recovered reward Q(s, a) - gamma (1 - terminated) V(s'); ``keys`` as of :meth:`values`."""
        ended = torch.as_tensor(terminated, device=self.device).to(torch.bool)
        next_v = self.values(next_observations, keys=keys)
        return inverse_reward(self.q(observations, actions), next_v, ended, self.gamma)

    @torch.no_grad()
    def act(
        self,
        observations: ArrayLike,
        *,
        sample: bool = False,
        temperature: float | None = None,
        keys: Keys | None = None,
    ) -> Tensor:
        """(B, *shape) to actions: the best, or drawn.

        Args:
            observations: of any real dtype.
            sample: draw from softmax(Q / temperature), or from the actor's distribution.
            temperature: of the softmax; None for that of training.
            keys: of the draws, see :mod:`iqlightning.keyed`; None for torch's global generator.
        """
        return self.agent.act(self._observations(observations), sample=sample, temperature=temperature, keys=keys)

    def _discrete(self) -> SoftQ:
        if not isinstance(self.agent, SoftQ):
            raise UserError(
                "this policy's actions are continuous: they have no list of Q-values, of which there could be a "
                "softmax at some temperature; ask for q(observations, actions)"
            )
        return self.agent

    def _observations(self, observations: ArrayLike) -> Tensor:
        observations = torch.as_tensor(observations, device=self.device)
        shape = self.agent.spaces.observation_shape
        # of pictures some encoders read any size
        if observations.ndim != len(shape) + 1 or (len(shape) == 1 and observations.shape[1:] != shape):
            raise UserError(
                f"the policy reads batches of observations of shape {shape}, "
                f"not a tensor of shape {tuple(observations.shape)}"
            )
        return observations

    def _actions(self, actions: ArrayLike) -> Tensor:
        actions, space = torch.as_tensor(actions, device=self.device), self.agent.spaces.action
        if tuple(actions.shape[1:]) != action_shape(space) or actions.ndim == 0:
            raise UserError(
                f"the policy reads batches of actions of shape {action_shape(space)}, not a tensor of shape "
                f"{tuple(actions.shape)}"
            )
        return actions.to(action_dtype(space))
