"""The policy and the reward that fall out of an agent."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from jaxtyping import Float
from torch import Tensor

from iqlightning.agents.agent import Agent, Keys
from iqlightning.agents.soft_q import SoftQ
from iqlightning.errors import UserError
from iqlightning.losses.values import ValueFunction
from iqlightning.observation_codec import batch_of_one
from iqlightning.spaces import action_dtype, action_shape
from iqlightning.types import EnvConfig

ArrayLike = Tensor | np.ndarray | Mapping[str, Any] | tuple[Any, ...]
"""What a policy reads: a batch of observations as Gymnasium gives them, or as files and replay hold them."""

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
        first_action: number that the environment gives its first action; None asks ``env``.
    """

    def __init__(
        self,
        agent: Agent,
        gamma: float,
        env: EnvConfig | None = None,
        info: dict[str, Any] | None = None,
        first_action: int | None = None,
    ) -> None:
        self.agent = agent
        self.gamma = gamma
        self.env = env
        self.info = info or {}
        self._first_action = first_action

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
        next_v = self.agent.value_after(self._observations(next_observations), ended, keys=keys).float()
        return self.q(observations, actions) - self.gamma * next_v

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
            observations: of any real dtype, as the environment gives them: numbers (B,) of a ``Discrete`` space,
                pictures in its layout, a dictionary or tuple of batches; or a tensor of encoded ones.
            sample: draw from softmax(Q / temperature), or from the actor's distribution.
            temperature: of the softmax; None for that of training.
            keys: of the draws, see :mod:`iqlightning.keyed`; None for torch's global generator.
        """
        seen = self._observations(observations, require_action=True)
        return self.agent.act(seen, sample=sample, temperature=temperature, keys=keys)

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """As a model of Stable-Baselines3 does: the action for ``env.step`` of one observation, or of each of many.

        Args:
            observation: one as the environment gives it, or a batch; or tensors (*shape), (B, *shape) of encoded ones.
            state: of a policy that remembers; this one does not, and returns what it is given.
            episode_start: of the same, for callers such as ``evaluate_policy`` that tell it; it changes nothing here.
            deterministic: the best action; False draws as :meth:`act` does with ``sample=True``.

        Returns:
            The action and the state. Actions are NumPy's, in the environment's own numbers and type: a number or (B,)
            where actions are numbered, else (*action shape) or (B, *action shape) within the action space.

        Raises:
            UserError: if observations are of another shape, no numbers, or not finite.
        """
        codec, shape = self.agent.spaces.codec, self.agent.spaces.observation_shape
        if codec is not None and codec.is_one(observation):
            observation, single = batch_of_one(observation), True
        else:
            single = False
        observations = self._encoded(observation)
        if observations.ndim not in (len(shape), len(shape) + 1):
            raise UserError(
                f"the policy reads one observation of shape {shape} or a batch of them, not an array of shape "
                f"{tuple(observations.shape)}"
            )
        one = single or observations.ndim == len(shape)
        batch = observations[None] if observations.ndim == len(shape) else observations
        actions = self.act(batch, sample=not deterministic).cpu().numpy()
        space = self.agent.spaces.action
        if isinstance(space, Box):
            actions = actions.astype(space.dtype).clip(space.low, space.high)
        else:
            actions = actions + self.first_action
        return (actions[0] if one else actions), state

    @property
    def first_action(self) -> int:
        """The number that the environment gives its first action, where actions are numbered."""
        if self._first_action is None:
            self._first_action = 0 if self.env is None else self.env.first_action
        return self._first_action

    def _discrete(self) -> SoftQ:
        if not isinstance(self.agent, SoftQ):
            raise UserError(
                "this policy's actions are continuous: they have no list of Q-values, of which there could be a "
                "softmax at some temperature; ask for q(observations, actions)"
            )
        return self.agent

    def checked(self, observations: ArrayLike) -> Tensor:
        """A batch of observations on the policy's device, encoded.

        Raises:
            UserError: if they are no batch of the right shape, no numbers, or not finite.
        """
        return self._observations(observations)

    def _observations(self, observations: ArrayLike, require_action: bool = False) -> Tensor:
        observations, shape = self._encoded(observations), self.agent.spaces.observation_shape
        # of pictures some encoders read any size
        if observations.ndim != len(shape) + 1 or (len(shape) == 1 and observations.shape[1:] != shape):
            raise UserError(
                f"the policy reads batches of observations of shape {shape}, "
                f"not a tensor of shape {tuple(observations.shape)}"
            )
        if observations.is_floating_point() and not bool(observations.isfinite().all()):
            wrong = ~observations.isfinite().flatten(1).all(1)
            raise UserError(
                f"an observation is not finite (number {int(wrong.nonzero()[0])} of {len(observations)}, counted from "
                "0): a policy has nothing to say about NaN and infinity"
            )
        allowed = self.agent.spaces.allowed(observations)
        if require_action and allowed is not None and not bool(allowed.any(1).all()):
            row = int((~allowed.any(1)).int().argmax())
            raise UserError(f"the observation in row {row} allows no action at all, and the policy is asked for one")
        return observations

    def _encoded(self, observations: Any) -> Tensor:
        codec = self.agent.spaces.codec
        if codec is not None and codec.is_native(observations):
            observations = codec.encode(observations, "the policy's observations")
        return self._tensor(observations)

    def _tensor(self, observations: Any) -> Tensor:
        try:
            return torch.as_tensor(observations, device=self.device)
        except (TypeError, ValueError, RuntimeError) as error:
            what = type(observations).__name__
            hint = "; of what env.reset() returns it is the first part" if isinstance(observations, tuple) else ""
            raise UserError(f"observations must be an array of numbers, not this {what}{hint}") from error

    def _actions(self, actions: ArrayLike) -> Tensor:
        actions, space = torch.as_tensor(actions, device=self.device), self.agent.spaces.action
        if tuple(actions.shape[1:]) != action_shape(space) or actions.ndim == 0:
            raise UserError(
                f"the policy reads batches of actions of shape {action_shape(space)}, not a tensor of shape "
                f"{tuple(actions.shape)}"
            )
        return actions.to(action_dtype(space))
