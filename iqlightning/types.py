"""What flows through the package: batches and trajectories, and the protocols between its rooms."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple, Protocol, TypedDict, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from iqlightning.registration import KINDS
from iqlightning.spaces import Spaces
from iqlightning.trajectories import Trajectories, Transition

__all__ = [
    "SPLITS",
    "Augmentation",
    "Batch",
    "BatchEnv",
    "BatchSource",
    "EnvConfig",
    "EpisodeResults",
    "Expert",
    "Figure",
    "Policy",
    "StepResult",
    "Trajectories",
    "Transition",
]

#: Which episodes: all, or those of three sets that are kept apart where an environment can do so.
SPLITS = ("any", "test", "validation", "train")  # the order is part of how seeds are hashed


class Batch(TypedDict, total=False):
    """What an algorithm sees of one update; it cannot tell offline from online.

    ``noise`` is what an agent that draws actions adds for itself.
    """

    expert: Transition
    policy: Transition
    initial: Tensor
    noise: Tensor


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
    """N environments stepped together, with autoreset on the same step.

    One that holds something, such as processes, has ``close()``, which is called when it is played no longer.
    """

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

    SUMS: ClassVar[tuple[str, ...]]
    """The keys of :meth:`summed`."""

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
        """Figures of all episodes, the ones that training logs, from sums of :meth:`summed` added up over processes."""


@runtime_checkable
class Expert(Protocol):
    """A world's own expert, which need not be trained."""

    @property
    def label(self) -> str:
        """Who demonstrates, in words; files name it as their ``source``."""
        ...

    @property
    def recipe(self) -> dict[str, Any]:
        """What tells its episodes from those of another expert, primitives only; file names are hashed from it."""
        ...

    def parts(self, episodes: int, seed: int, progress: Callable[[int], None] | None = None) -> Iterator[Trajectories]:
        """Whole episodes of the split ``train``, in parts that fit into memory: the same ones for the same seed.

        Args:
            episodes: of all parts together.
            seed: of the environments and of the expert's choices.
            progress: called with the number of newly finished episodes.
        """
        ...


@dataclass(frozen=True)
class EnvConfig(ABC):
    """Everything needed to build an environment again from a file. Subclasses are frozen dataclasses.

    The abstract members make it playable. The others say what a world knows of itself beyond its moves; by default that
    is nothing, and whoever asks then does without.
    """

    FIGURES: ClassVar[tuple[Figure, ...]] = (
        Figure("mean_return", "mean return", ".3f", "mean\nreturn", ".2f", beside="std_return", better="high"),
        Figure("std_return", "standard deviation of the return"),
        Figure("mean_length", "mean length", heading="mean\nlength", column_form=".1f", limits=(0.0, math.inf)),
    )
    """The figures of an evaluation that tables show, the most telling first."""

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

    @property
    def first_action(self) -> int:
        """The number that the environment itself gives its first action, where actions are numbered; here it is 0."""
        return 0

    def to_dict(self) -> dict[str, Any]:
        """Primitives only; ``kind`` names the class, by its path where it is not one of this package's."""
        name, module = type(self).__name__, type(self).__module__
        kind = name if KINDS.get(name) == module else f"{module}.{name}"
        return {"kind": kind} | {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def of_earlier(cls, values: dict[str, Any]) -> dict[str, Any]:
        """The description of an environment in a file, with what files of earlier versions left unsaid."""
        return values

    # ---- what a world may know of itself

    def differs_from(self, recorded: "EnvConfig") -> str:
        """Why recordings of another environment are none of this one though they look so, as a clause, else ""."""
        return ""

    def describe(self, episodes: int, *, brief: bool = False) -> str:
        """What a table over ``episodes`` episodes is of; ``brief`` for the title of a narrow one."""
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

        Its figures are then those of :attr:`FIGURES`.

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

    @property
    def expert(self) -> Expert | None:
        """The world's own expert; None where there is none."""
        return None

    def gymnasium_spec(self) -> tuple[str, dict[str, Any]] | None:
        """The id and the arguments by which Gymnasium makes this environment; None where it knows none.

        Raises:
            UserError: if the environment's kind has an id, but not with these settings.
        """
        return None

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
