"""What flows through the package: transitions, batches and trajectories, and the protocols between its rooms."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, NamedTuple, Protocol, TypedDict, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from iqlightning.errors import UserError
from iqlightning.spaces import Spaces

__all__ = [
    "SPLITS",
    "Augmentation",
    "Batch",
    "BatchEnv",
    "BatchSource",
    "EnvConfig",
    "EpisodeResults",
    "Figure",
    "Policy",
    "StepResult",
    "Trajectories",
    "Transition",
]

#: Which episodes: all, or those of three sets that are kept apart where an environment can do so.
SPLITS = ("any", "test", "validation", "train")  # the order is part of how seeds are hashed


class Transition(NamedTuple):
    """A batch of transitions (s, a, s'); the batch dimension comes first everywhere.

    Attributes:
        obs: (B, *shape) observations s.
        actions: (B,) int64, or (B, *action shape) float32 where actions are continuous.
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

    def act(self, observations: Tensor, *, sample: bool = False) -> Tensor:
        """(B, *shape) observations to (B,) or (B, *action shape) actions, greedily or drawn."""
        ...


@runtime_checkable
class Augmentation(Protocol):
    """A random map of states, and of actions where they turn with the states.

    It draws its randomness from one well-mixed int64 key per sample (see :func:`iqlightning.keyed.hash_keys`), so that
    results depend neither on how samples are spread over processes nor on the order of anything.
    """

    def __call__(self, transition: Transition, keys: Int[Tensor, " batch"]) -> Transition:
        """The transition with ``obs`` and ``next_obs`` (and ``actions``) mapped."""
        ...

    def observations(self, observations: Tensor, keys: Int[Tensor, " batch"]) -> Tensor:
        """The map of observations alone."""
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
    spaces: Spaces
    device: torch.device

    @property
    def observations(self) -> Tensor:
        """(N, *shape) what to act on next."""
        ...

    def reset(self) -> Tensor:
        """Begins new episodes everywhere and returns their first observations (N, *shape)."""
        ...

    def step(self, actions: Tensor) -> StepResult:
        """Plays one action, (N,) or (N, *action shape), in each environment."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Tensors and primitives from which the environments continue exactly (where they can).

        The first dimension of each tensor runs over the environments; the rest is the same for each share of them.
        """
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores :meth:`state_dict`."""
        ...


class Figure(NamedTuple):
    """One number that an evaluation ends in, and how tables show it.

    Attributes:
        name: its key in :meth:`EpisodeResults.metrics`, and so in files and logs.
        label: in words, for a table of one policy.
        form: format of its value there, such as ``.3f`` or ``.2%``.
        heading: of its column in a table of many policies, may have two lines; "" where it has none.
        column_form: format of its value there.
        beside: what that table shows with it: "" (nothing), ``interval`` (a column of its own), or the name of another
            figure, which follows the sign ±.
        better: ``high`` or ``low``; "" where neither end is.
        limits: the ends of what it can be.
    """

    name: str
    label: str
    form: str = ".3f"
    heading: str = ""
    column_form: str = ".3f"
    beside: str = ""
    better: str = ""
    limits: tuple[float, float] = (-math.inf, math.inf)


class EpisodeResults(ABC):
    """What became of some episodes: figures of them, and how those of several processes come together."""

    figures: tuple[Figure, ...]
    """The figures there can be, the most telling first."""

    @abstractmethod
    def metrics(self) -> dict[str, float]:
        """Figures of these episodes alone, and ``episodes``."""

    @abstractmethod
    def intervals(self) -> dict[str, tuple[float, float]]:
        """95% intervals over episodes, by figure, where there is a way to have one."""

    @abstractmethod
    def summed(self) -> dict[str, Tensor]:
        """Sums over episodes, 0-dimensional float64, which several processes may add up; see :meth:`of_sums`."""

    @staticmethod
    @abstractmethod
    def of_sums(sums: dict[str, Tensor]) -> dict[str, Tensor]:
        """The figures of all episodes from the sums of :meth:`summed`, added up over processes."""


@dataclass(frozen=True)
class EnvConfig(ABC):
    """Everything needed to build an environment again from a file. Subclasses are frozen dataclasses.

    The abstract members make it playable. The others say what a world knows of itself beyond its moves; by default that
    is nothing, and whoever asks then does without.
    """

    FIGURES: ClassVar[tuple[Figure, ...]] = (
        Figure(
            "mean_return", "mean return", heading="mean\nreturn", column_form=".2f", beside="std_return", better="high"
        ),
        Figure("std_return", "standard deviation of the return"),
        Figure("mean_length", "mean length", heading="mean\nlength", column_form=".1f", limits=(0.0, math.inf)),
    )
    """The figures of an evaluation that tables show, in order, the most telling first."""

    @property
    @abstractmethod
    def name(self) -> str:
        """A short name fit for a file name."""

    @property
    @abstractmethod
    def spaces(self) -> Spaces:
        """Of observations and actions."""

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
        """``num_envs`` environments; ``split`` is one of :data:`SPLITS`, where the environment has splits.

        They are numbers ``first``, ``first + every``, ... of a larger batch of the same seed, and play as they would in
        it: several processes share the environments out. Both are left out where one process has them all.
        """

    @property
    def observation_shape(self) -> tuple[int, ...]:
        """Shape of one observation."""
        return self.spaces.observation_shape

    def to_dict(self) -> dict[str, Any]:
        """Primitives only; ``kind`` names the class."""
        return {"kind": type(self).__name__} | {field.name: getattr(self, field.name) for field in fields(self)}

    # ---- what a world may know of itself

    def describe(self, episodes: int) -> str:
        """What a table over ``episodes`` episodes is of."""
        return f"{episodes:,} episodes of {self.name}"

    def facts(self) -> dict[str, Any]:
        """Settings that are written beside the figures of an evaluation, primitives only."""
        return {}

    def play(
        self,
        policy: Policy,
        episodes: int,
        seed: int,
        *,
        split: str = "test",
        sample: bool = False,
        temperature: float | None = None,
        device: str | torch.device = "cpu",
        rank: int = 0,
        world_size: int = 1,
        progress: Callable[[int], None] | None = None,
    ) -> EpisodeResults | None:
        """Plays this rank's share of the episodes in the world's own way; None where it has none but ``make_batch``.

        Args:
            policy: acts on (B, *shape) observations on ``device``.
            episodes: of all ranks together.
            seed: of the episodes and of drawn actions.
            split: which episodes, one of :data:`SPLITS`.
            sample: draw from the policy instead of acting greedily.
            temperature: of softmax(Q / temperature); None means the policy's own.
            device: where to play.
            rank: of this process.
            world_size: number of processes.
            progress: called with the number of episodes that have been finished since the last call.
        """
        return None

    def references(self, seed: int = 0) -> dict[str, Policy]:
        """Policies that this world can be played with beside the random one, such as an expert, by their labels."""
        return {}

    def demonstrate(self, episodes: int, seed: int) -> "Trajectories":
        """Episodes of the world's own expert.

        Raises:
            UserError: if it has none.
        """
        raise UserError(
            f"'{self.name}' has no expert of its own: say with data.path where its demonstrations are; "
            "the command collect makes them"
        )

    @property
    def legend(self) -> str:
        """What the numbers of an observation and of an action mean, in sentences; "" where that is not known."""
        return ""

    def resized(self, height: int, width: int) -> "EnvConfig | None":
        """The same kind of world with observations of another height and width; None where there is none."""
        return None

    @classmethod
    def report_sections(cls, exhibits: Sequence[Any], episodes: int, seed: int) -> Sequence[tuple[str, str, str]]:
        """What a report shows of policies of this kind of world: (anchor, heading, HTML) of each section.

        Args:
            exhibits: :class:`iqlightning.analysis.report.exhibit.Exhibit`, each with a policy, of such worlds.
            episodes: to play with each policy.
            seed: of the episodes.
        """
        return ()

    def symmetry(self, device: str | torch.device = "cpu") -> Augmentation | None:
        """The random map of transitions by the symmetries of this environment; None where none are known."""
        return None


@dataclass(frozen=True)
class Trajectories:
    """E episodes of N transitions in flat arrays; an episode of T moves has T + 1 observations.

    Transition i of episode e goes from ``observations[i + e]`` to ``observations[i + e + 1]``, so that nothing is
    stored twice and a successor is always the true one.

    Attributes:
        observations: (N + E, *shape).
        actions: (N,) int64, or (N, *action shape) float32.
        rewards: (N,) float32, as the environment gave them; for evaluation only.
        starts: (E + 1,) int64, offset of each episode's first transition; the last entry is N.
        terminated: (E,) bool, the episode ended in a terminal state.
        truncated: (E,) bool, the episode was cut off.
    """

    observations: Tensor
    actions: Tensor
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
