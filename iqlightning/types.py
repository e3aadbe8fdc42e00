"""What flows through the package: transitions, batches and trajectories, and the protocols between its rooms."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Protocol, TypedDict, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = ["Batch", "BatchEnv", "BatchSource", "EnvConfig", "Policy", "StepResult", "Trajectories", "Transition"]


class Transition(NamedTuple):
    """A batch of transitions (s, a, s'); the batch dimension comes first everywhere.

    Attributes:
        obs: (B, *shape) observations s.
        actions: (B,) int64.
        next_obs: (B, *shape) the true successors s', never the first observation of the next episode.
        terminated: (B,) bool, s' is terminal: its value is zero.
        truncated: (B,) bool, the episode was cut off at s': its value is bootstrapped all the same.
        rewards: (B,) float32, or None: demonstrations reach the algorithms without their recorded rewards.
        steps: (B,) int64, the n of an n-step transition; None means 1.
    """

    obs: Tensor
    actions: Tensor
    next_obs: Tensor
    terminated: Tensor
    truncated: Tensor
    rewards: Tensor | None = None
    steps: Tensor | None = None


class Batch(TypedDict, total=False):
    """What an algorithm sees of one update; it cannot tell offline from online."""

    expert: Transition
    policy: Transition
    initial: Tensor


@runtime_checkable
class BatchSource(Protocol):
    """Serves the batch of any update: a pure function of the update's number wherever nothing is played."""

    def batch(self, update: int) -> Batch:
        """The batch of gradient update ``update`` (from 0), on the training device."""
        ...


@runtime_checkable
class Policy(Protocol):
    """Anything that chooses actions."""

    def act(self, observations: Tensor, *, sample: bool = False) -> Int[Tensor, " batch"]:
        """(B, *shape) observations to (B,) actions, greedily or drawn."""
        ...


class StepResult(NamedTuple):
    """One step of a batch of environments that begin a new episode on the step that ends the old one.

    Attributes:
        obs: (N, *shape) what to act on next; where an episode ended, the first observation of the new one.
        next_obs: (N, *shape) the true successor, also where an episode ended.
        rewards: (N,) float32.
        terminated: (N,) bool.
        truncated: (N,) bool.
    """

    obs: Tensor
    next_obs: Tensor
    rewards: Tensor
    terminated: Tensor
    truncated: Tensor


@runtime_checkable
class BatchEnv(Protocol):
    """N environments stepped together, with autoreset on the same step."""

    num_envs: int
    observation_shape: tuple[int, ...]
    num_actions: int
    device: torch.device

    @property
    def observations(self) -> Tensor:
        """(N, *shape) what to act on next."""
        ...

    def reset(self) -> Tensor:
        """Begins new episodes everywhere and returns their first observations (N, *shape)."""
        ...

    def step(self, actions: Int[Tensor, " num_envs"]) -> StepResult:
        """Plays one action in each environment."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Tensors and primitives from which the environments continue exactly (where they can).

        The first dimension of each tensor runs over the environments; the rest is the same for each share of them.
        """
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores :meth:`state_dict`."""
        ...


@dataclass(frozen=True)
class EnvConfig(ABC):
    """Everything needed to build an environment again from a file. Subclasses are frozen dataclasses."""

    @property
    @abstractmethod
    def name(self) -> str:
        """A short name fit for a file name."""

    @property
    @abstractmethod
    def observation_shape(self) -> tuple[int, ...]:
        """Shape of one observation."""

    @property
    @abstractmethod
    def observation_high(self) -> float:
        """The value that networks scale to 1: 255 for images, 1 where observations are used as they are."""

    @property
    @abstractmethod
    def num_actions(self) -> int:
        """Number of discrete actions."""

    @abstractmethod
    def make_batch(
        self,
        num_envs: int,
        *,
        seed: int,
        split: str = "any",
        device: str | torch.device = "cpu",
        first: int = 0,
        every: int = 1,
    ) -> BatchEnv:
        """``num_envs`` environments; ``split`` is one of any, train, validation, test where the levels have splits.

        They are numbers ``first``, ``first + every``, ... of a larger batch of the same seed, and play as they would in
        it: several processes share the environments out. Both are left out where one process has them all.
        """

    def to_dict(self) -> dict[str, Any]:
        """Primitives only; ``kind`` names the class."""
        return {"kind": type(self).__name__} | {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True)
class Trajectories:
    """E episodes of N transitions in flat arrays; an episode of T moves has T + 1 observations.

    Transition i of episode e goes from ``observations[i + e]`` to ``observations[i + e + 1]``, so that nothing is
    stored twice and a successor is always the true one.

    Attributes:
        observations: (N + E, *shape).
        actions: (N,) int64.
        rewards: (N,) float32, as the environment gave them; for evaluation only.
        starts: (E + 1,) int64, offset of each episode's first transition; the last entry is N.
        terminated: (E,) bool, the episode ended in a terminal state.
        truncated: (E,) bool, the episode was cut off.
    """

    observations: Tensor
    actions: Int[Tensor, " transitions"]
    rewards: Float[Tensor, " transitions"]
    starts: Int[Tensor, " bounds"]
    terminated: Bool[Tensor, " episodes"]
    truncated: Bool[Tensor, " episodes"]

    @property
    def num_episodes(self) -> int:
        """E."""
        return self.starts.shape[0] - 1

    @property
    def num_transitions(self) -> int:
        """N."""
        return self.actions.shape[0]

    @property
    def lengths(self) -> Int[Tensor, " episodes"]:
        """Moves of each episode."""
        return self.starts[1:] - self.starts[:-1]

    @property
    def returns(self) -> Float[Tensor, " episodes"]:
        """Undiscounted sum of recorded rewards of each episode."""
        total = torch.zeros(self.num_episodes, dtype=torch.float64, device=self.rewards.device)
        return total.index_add_(0, self.episode_of, self.rewards.to(torch.float64)).to(torch.float32)

    @property
    def episode_of(self) -> Int[Tensor, " transitions"]:
        """The episode that each transition belongs to."""
        episodes = torch.arange(self.num_episodes, device=self.starts.device)
        return torch.repeat_interleave(episodes, self.lengths)

    @property
    def first_observations(self) -> Tensor:
        """(E, *shape) the true initial states."""
        episodes = torch.arange(self.num_episodes, device=self.starts.device)
        return self.initial_observations(episodes)

    def initial_observations(self, episodes: Int[Tensor, " chosen"]) -> Tensor:
        """The true initial states of some episodes."""
        return self.observations[self.starts[episodes] + episodes]

    def transitions(self, indices: Int[Tensor, " batch"] | None = None, *, with_rewards: bool = False) -> Transition:
        """The transitions at ``indices`` (all of them by default); recorded rewards only on request."""
        episode_of = self.episode_of
        if indices is None:
            indices = torch.arange(self.num_transitions, device=self.actions.device)
        episode = episode_of[indices]
        last = indices + 1 == self.starts[episode + 1]
        return Transition(
            obs=self.observations[indices + episode],
            actions=self.actions[indices],
            next_obs=self.observations[indices + episode + 1],
            terminated=last & self.terminated[episode],
            truncated=last & self.truncated[episode],
            rewards=self.rewards[indices] if with_rewards else None,
        )

    def select(self, episodes: Int[Tensor, " chosen"]) -> "Trajectories":
        """The chosen episodes, in the order given."""
        lengths = self.lengths[episodes]
        starts = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        within = torch.arange(int(starts[-1]), device=starts.device) - torch.repeat_interleave(starts[:-1], lengths)
        moves = torch.repeat_interleave(self.starts[:-1][episodes], lengths) + within
        seen = lengths + 1
        offsets = torch.cat([seen.new_zeros(1), seen.cumsum(0)])
        step = torch.arange(int(offsets[-1]), device=starts.device) - torch.repeat_interleave(offsets[:-1], seen)
        frames = torch.repeat_interleave(self.starts[:-1][episodes] + episodes, seen) + step
        return Trajectories(
            observations=self.observations[frames],
            actions=self.actions[moves],
            rewards=self.rewards[moves],
            starts=starts,
            terminated=self.terminated[episodes],
            truncated=self.truncated[episodes],
        )

    def to(self, device: str | torch.device) -> "Trajectories":
        """The same trajectories on another device."""
        return replace(self, **{field.name: getattr(self, field.name).to(device) for field in fields(self)})

    @staticmethod
    def concatenate(parts: Sequence["Trajectories"]) -> "Trajectories":
        """One after the other."""
        counts = torch.tensor([0] + [part.num_transitions for part in parts]).cumsum(0).tolist()
        starts = [part.starts[:-1] + offset for part, offset in zip(parts, counts, strict=False)]
        return Trajectories(
            observations=torch.cat([part.observations for part in parts]),
            actions=torch.cat([part.actions for part in parts]),
            rewards=torch.cat([part.rewards for part in parts]),
            starts=torch.cat([*starts, parts[0].starts.new_tensor([counts[-1]])]),
            terminated=torch.cat([part.terminated for part in parts]),
            truncated=torch.cat([part.truncated for part in parts]),
        )
