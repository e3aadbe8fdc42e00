"""Transitions of the policy that is being trained: played in step with the updates, kept in a replay buffer."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from iqlightning.data.index_stream import IndexStream
from iqlightning.data.replay import ReplayBuffer
from iqlightning.errors import UserError
from iqlightning.keyed import Stream, integers
from iqlightning.types import BatchEnv, Transition

__all__ = ["Experience", "OnlineReplay", "explore"]

# Updates whose random numbers are drawn together.
_BLOCK = 128


@dataclass(frozen=True)
class OnlineReplay:
    """How a policy collects its own transitions while it is trained.

    Attributes:
        num_envs: environments stepped together.
        capacity: transitions that are remembered.
        warmup_steps: transitions played with random actions before the first update.
        steps_per_update: transitions played for each gradient update, for instance 10 or 0.5.
    """

    num_envs: int = 64
    capacity: int = 50_000
    warmup_steps: int = 1_000
    steps_per_update: float = 1.0

    def __post_init__(self) -> None:
        if self.num_envs < 1:
            raise UserError(f"num_envs must be at least 1, but is {self.num_envs}")
        if self.warmup_steps < 0:
            raise UserError(f"warmup_steps must not be negative, but is {self.warmup_steps}")
        if not 0 < self.steps_per_update < math.inf:
            raise UserError(f"steps_per_update must be positive, but is {self.steps_per_update}")


class Experience:
    """Plays as much as is due before each update, then serves transitions of the replay buffer.

    Environments are stepped all together, and so a step is made as soon as one of its transitions is due: before
    update u exactly ``num_envs * ceil((warmup_steps + u * steps_per_update) / num_envs)`` transitions have been
    played. With 64 environments and 10 transitions an update, a step is made every 6.4 updates on average, and the
    ratio is exact.

    Every process plays all environments and stores all their transitions; only the batch is shared out. Playing is
    cheap beside updating, and so the batches do not depend on the number of processes and one process's state is
    everyone's.

    Args:
        env: the environments, which are reset.
        act: (N, *shape) observations and the number of transitions played so far to (N,) actions.
        config: how much to play and to remember.
        stream: of ``Stream.REPLAY``; its size does not matter.
        n_step: of :class:`ReplayBuffer`.
        gamma: of :class:`ReplayBuffer`.
        rewards: whether transitions come with their rewards.
    """

    def __init__(
        self,
        env: BatchEnv,
        act: Callable[[Tensor, int], Tensor],
        config: OnlineReplay,
        stream: IndexStream,
        *,
        n_step: int = 1,
        gamma: float = 0.99,
        rewards: bool,
    ) -> None:
        self.env, self.config, self.stream = env, config, stream
        self._act = act
        self._rewards = rewards
        self._ratio = Fraction(str(config.steps_per_update))
        self._steps_played = 0
        self._obs = env.reset()
        self.buffer = ReplayBuffer(
            config.capacity,
            env.num_envs,
            env.observation_shape,
            self._obs.dtype,
            n_step=n_step,
            gamma=gamma,
            device=self._obs.device,
        )
        self._first, self._fractions = 0, ()

    @property
    def transitions_played(self) -> int:
        """Since the beginning of training, in all environments together."""
        return self._steps_played * self.env.num_envs

    def transitions(self, update: int) -> Transition:
        """Plays what is due before ``update`` and serves this rank's part of its batch."""
        due = self.config.warmup_steps + self._ratio * update
        steps_due = max(math.ceil(due / self.env.num_envs), self.buffer.n_step)
        while self._steps_played < steps_due:
            self._play()
        fractions = self._fractions_of(update)
        sampled = self.buffer.sample((fractions * self.buffer.num_samples).to(torch.int64))
        return sampled if self._rewards else sampled._replace(rewards=None)

    def change_env(self, env: BatchEnv) -> None:
        """Plays other environments from now on, as many and of the same observations.

        What has been played stays in the buffer until it is overwritten; unfinished episodes count as truncated.
        """
        self.env, self._obs = env, env.reset()
        self.buffer.cut()

    @torch.no_grad()
    def _play(self) -> None:
        obs = self._obs
        if self.transitions_played < self.config.warmup_steps:
            envs = torch.arange(self.env.num_envs, device=obs.device)
            keys = (Stream.REPLAY, Stream.RANDOM_POLICY, self.stream.seed, self._steps_played, envs)
            actions = integers(*keys, bound=self.env.num_actions)
        else:
            actions = self._act(obs, self.transitions_played)
        result = self.env.step(actions)
        self.buffer.add(obs, actions, result)
        self._obs = result.obs
        self._steps_played += 1

    def _fractions_of(self, update: int) -> Tensor:
        if not 0 <= update - self._first < len(self._fractions):
            self._first = update // _BLOCK * _BLOCK
            self._fractions = self.stream.fractions_of(self._first, _BLOCK).unbind(0)
        return self._fractions[update - self._first]

    def state_dict(self) -> dict[str, Any]:
        """Everything from which playing and sampling continue exactly, where the environment can be restored."""
        state: dict[str, Any] = {"steps_played": self._steps_played, "obs": self._obs}
        return state | {"env": self.env.state_dict(), "buffer": self.buffer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores :meth:`state_dict`.

        Environments whose inner state cannot be saved begin new episodes; the unfinished ones then count as truncated.

        Raises:
            UserError: if the saved state is of other sizes.
        """
        self.buffer.load_state_dict(state["buffer"])
        self.env.load_state_dict(state["env"])
        self._steps_played = state["steps_played"]
        saved = state["obs"].to(self._obs.device)
        self._obs = getattr(self.env, "observations", saved)
        if not torch.equal(self._obs, saved):
            self.buffer.cut()


def explore(trainer: Trainer | None, observations: Tensor, env_steps: int) -> Tensor:
    """The learner's own choice of actions, ``lightning_module.explore(observations, env_steps)``.

    Raises:
        UserError: if the learner has no way to choose them.
    """
    learner = None if trainer is None else trainer.lightning_module
    choose = getattr(learner, "explore", None)
    if choose is None:
        raise UserError(
            f"{type(learner).__name__} cannot collect transitions of its own; leave out data.online, or choose an "
            "algorithm that explores"
        )
    return choose(observations, env_steps)
