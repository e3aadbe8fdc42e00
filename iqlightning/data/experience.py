"""Transitions of the policy that is being trained: played in step with the updates, kept in a replay buffer."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from iqlightning.data.index_stream import IndexStream
from iqlightning.data.placement import Placement
from iqlightning.data.replay import ReplayBuffer
from iqlightning.data.shards import check_num_envs, everywhere, gathered, share_of
from iqlightning.errors import UserError
from iqlightning.keyed import Stream
from iqlightning.rollout import closing
from iqlightning.types import Augmentation, BatchEnv, EnvConfig, Transition

__all__ = ["Experience", "OnlineReplay", "check_same_spaces", "explore", "own_environments", "own_share"]

# Updates whose random numbers are drawn together.
_BLOCK = 128


@dataclass(frozen=True)
class OnlineReplay:
    """How a policy collects its own transitions while it is trained.

    Attributes:
        num_envs: environments stepped together, by all processes; each has an equal share of them.
        capacity: transitions that are remembered, by all processes together.
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
        if self.capacity < self.num_envs:
            raise UserError(
                f"capacity {self.capacity} is too small for {self.num_envs} environments; it must be at least "
                f"{self.num_envs}"
            )
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

    Each process plays its share of the environments and remembers their transitions only. Yet the global batch is that
    of one process: with g the greatest common divisor of ``num_envs`` and the batch size, the sample at position p is
    drawn from the environments e with

        e = p (mod g),

    uniformly over them and over the steps that are remembered, both keyed by (seed, update, p). The number of processes
    divides g, and process r has environments e = r and serves positions p = r, both modulo that number: it holds what
    it has to serve, and no process need ask another. Over a batch every transition is as likely as any other; only
    that each of the g classes of environments gives exactly its share of the batch, instead of a random one.

    Args:
        env: this process's environments, which are reset: see :func:`own_environments`.
        act: (N, *shape) observations, the transitions played so far by all processes, and the (N,) numbers of the
            environments among those of all processes, to (N,) or (N, *action shape) actions.
        config: how much to play and to remember, all processes together.
        stream: of ``Stream.REPLAY``, of this process; its size does not matter.
        n_step: of :class:`ReplayBuffer`.
        gamma: of :class:`ReplayBuffer`.
        rewards: whether transitions come with their rewards.
        augmentations: applied in order to what is served, each with the purpose its keys are drawn for; keyed by
            (seed, update, position).
    """

    def __init__(
        self,
        env: BatchEnv,
        act: Callable[[Tensor, int, Tensor], Tensor],
        config: OnlineReplay,
        stream: IndexStream,
        *,
        n_step: int = 1,
        gamma: float = 0.99,
        rewards: bool,
        augmentations: Sequence[tuple[Stream, Augmentation]] = (),
    ) -> None:
        self.env, self.config, self.stream, self._augmentations = env, config, stream, list(augmentations)
        self._act = act
        self._rewards = rewards
        self._ratio = Fraction(str(config.steps_per_update))
        self._steps_played = 0
        if env.num_envs * stream.world_size != config.num_envs:
            raise ValueError(f"{env.num_envs} environments are not a share of {config.num_envs}")
        self._obs = env.reset()
        self._envs = torch.arange(env.num_envs, device=self._obs.device) * stream.world_size + stream.rank
        self.buffer = ReplayBuffer(
            config.capacity // config.num_envs * env.num_envs,
            env.num_envs,
            env.spaces,
            self._obs.dtype,
            n_step=n_step,
            gamma=gamma,
            device=self._obs.device,
            agree=lambda seen: everywhere(seen, stream.world_size, self._obs.device),
        )
        self._first, self._draws = 0, []

    @property
    def transitions_played(self) -> int:
        """Since the beginning of training, in all environments of all processes together."""
        return self._steps_played * self.config.num_envs

    def transitions(self, update: int) -> Transition:
        """Plays what is due before ``update`` and serves this rank's part of its batch."""
        due = self.config.warmup_steps + self._ratio * update
        steps_due = max(math.ceil(due / self.config.num_envs), self.buffer.n_step)
        while self._steps_played < steps_due:
            self._play()
        indices, fractions, envs, *keys = self._draw_of(update)
        sampled = self.buffer.sample(self._indices(fractions, envs) if indices is None else indices)
        for (_, augmentation), key in zip(self._augmentations, keys, strict=True):
            sampled = augmentation(sampled, key)  # rewards, discounts and ends stay as they are
        return sampled if self._rewards else sampled._replace(rewards=None)

    def change_env(self, env: BatchEnv) -> None:
        """Plays other environments from now on, as many and of the same observations.

        What has been played stays in the buffer until it is overwritten; unfinished episodes count as truncated.
        """
        with closing(self.env):
            self.env, self._obs = env, env.reset()
        self.buffer.cut()

    @torch.no_grad()
    def _play(self) -> None:
        obs = self._obs
        if self.transitions_played < self.config.warmup_steps:
            keys = (Stream.REPLAY, Stream.RANDOM_POLICY, self.stream.seed, self._steps_played, self._envs)
            actions = self.env.spaces.random_actions(obs, *keys)
        else:
            actions = self._act(obs, self.transitions_played, self._envs)
        result = self.env.step(actions)
        self.buffer.add(obs, actions, result)
        self._obs = result.obs
        self._steps_played += 1

    def _draw_of(self, update: int) -> tuple[Any, ...]:
        """Of each sample: its index if it is known, a fraction of the steps, the environment, keys of augmentations."""
        if not 0 <= update - self._first < len(self._draws):
            self._first = update // _BLOCK * _BLOCK
            stream, classes = self.stream, math.gcd(self.config.num_envs, self.stream.batch_size)
            # one number for both: its whole part tells the environment within its class
            numbers = stream.fractions_of(self._first, _BLOCK) * (self.config.num_envs // classes)
            within = numbers.floor()
            envs = stream.positions % classes + classes * within.to(torch.int64)
            own = torch.div(envs - stream.rank, stream.world_size, rounding_mode="floor")
            columns = [numbers - within, own]
            # the number of steps stays as it is once the buffer is full
            indices = self._indices(*columns[:2]) if self.buffer.full else [None] * _BLOCK
            columns += [stream.keys_of(purpose, self._first, _BLOCK) for purpose, _ in self._augmentations]
            self._draws = list(zip(indices, *columns, strict=True))
        return self._draws[update - self._first]

    def _indices(self, fractions: Tensor, envs: Tensor) -> Tensor:
        return torch.add(envs, (fractions * self.buffer.num_steps).to(torch.int64), alpha=self.env.num_envs)

    def state_dict(self) -> dict[str, Any]:
        """Everything from which playing and sampling continue exactly, where the environment can be restored.

        It is of all processes together, on process 0, so that a run can be continued on any number of them; all have
        to call this. (Elsewhere it is the process's own.)
        """
        state: dict[str, Any] = {"steps_played": self._steps_played, "obs": self._obs}
        buffer = self.buffer.state_dict() | {"num_envs": self.config.num_envs}
        state |= {"env": self.env.state_dict(), "buffer": buffer}
        return gathered(state, self.stream.rank, self.stream.world_size)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores this process's share of :meth:`state_dict`.

        Environments whose inner state cannot be saved begin new episodes; the unfinished ones then count as truncated.

        Raises:
            UserError: if the saved state is of other sizes.
        """
        buffer = state["buffer"]
        if buffer["num_envs"] != self.config.num_envs:
            raise UserError(
                f"the checkpoint's replay buffer is of {buffer['num_envs']} environments, this run has "
                f"{self.config.num_envs}; resume with the same num_envs"
            )
        state = share_of(state, self.stream.rank, self.stream.world_size)
        self.buffer.load_state_dict(state["buffer"] | {"num_envs": self.env.num_envs})
        self.env.load_state_dict(state["env"])
        self._first, self._draws = 0, []
        self._steps_played = state["steps_played"]
        saved = state["obs"].to(self._obs.device)
        self._obs = getattr(self.env, "observations", saved)
        if not torch.equal(self._obs, saved):
            self.buffer.cut()


def check_same_spaces(env: EnvConfig, other: EnvConfig) -> None:
    """Checks that a curriculum may lead from one environment to the other.

    Raises:
        UserError: if observations are of another shape, or actions of another space.
    """
    if env.observation_shape != other.observation_shape:
        raise UserError(f"'{env.name}' has observations of another shape than '{other.name}'")
    if env.spaces.action != other.spaces.action:
        raise UserError(f"'{env.name}' has other actions than '{other.name}'")


def own_environments(env: EnvConfig, num_envs: int, seed: int, placement: Placement) -> BatchEnv:
    """This process's share of ``num_envs`` environments, on the grids to train on.

    Raises:
        UserError: if they cannot be shared out equally.
    """
    return env.make_batch(**own_share(num_envs, placement), seed=seed, split="train", device=placement.device)


def own_share(num_envs: int, placement: Placement) -> dict[str, int]:
    """``num_envs``, ``first`` and ``every`` of this process's share of all environments, arguments of ``make_batch``.

    Raises:
        UserError: if they cannot be shared out equally.
    """
    _, rank, world_size = placement
    check_num_envs(num_envs, world_size)
    share = {"num_envs": num_envs // world_size}
    return share | {"first": rank, "every": world_size} if world_size > 1 else share


def explore(trainer: Trainer | None, observations: Tensor, env_steps: int, envs: Tensor) -> Tensor:
    """The learner's own choice of actions, ``lightning_module.explore(observations, env_steps, envs)``.

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
    return choose(observations, env_steps, envs)
