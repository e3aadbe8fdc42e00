"""Any Gymnasium environment whose observations are a box as a batch of tensors."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from torch import Tensor

from iqlightning.envs.mirrors import MIRRORS, MirrorSymmetry
from iqlightning.errors import UserError, unknown
from iqlightning.keyed import Stream, hash_keys
from iqlightning.spaces import Spaces, action_bounds, action_dtype, action_shape, num_actions, observation_dtype
from iqlightning.types import SPLITS, Augmentation, EnvConfig, StepResult

__all__ = ["GymnasiumBatch", "GymnasiumConfig", "made_by_gymnasium"]


class _Facts(NamedTuple):
    """What an environment's spaces say."""

    spaces: Spaces
    first_action: int


@dataclass(frozen=True)
class GymnasiumConfig(EnvConfig):
    """A Gymnasium environment by its id; it must be registered, its observations a box of numbers.

    Its actions are discrete, or a box of real numbers with bounds.

    Attributes:
        id: for example ``CartPole-v1``.
        kwargs: arguments of the environment, primitives only.

    Raises:
        UserError: when it is used, if there is no such environment or its spaces are of another kind.
    """

    id: str
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash((self.id, json.dumps(self.kwargs, sort_keys=True)))

    @property
    def name(self) -> str:
        """The id, fit for a file name, with a mark of the arguments if there are any."""
        name = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in self.id)
        arguments = "-".join(f"{key}_{value}" for key, value in sorted(self.kwargs.items()))
        return f"{name}-{''.join(x for x in arguments if x.isalnum() or x in '-_.')}" if arguments else name

    @property
    def spaces(self) -> Spaces:
        """As the environment says; discrete actions are counted from 0."""
        return self._facts.spaces

    @property
    def _facts(self) -> _Facts:
        return _facts(self.id, json.dumps(self.kwargs, sort_keys=True))

    def make_batch(
        self,
        num_envs: int,
        *,
        seed: int,
        split: str = "any",
        device: str | torch.device = "cpu",
        first: int = 0,
        every: int = 1,
    ) -> "GymnasiumBatch":
        """``num_envs`` environments, numbers ``first``, ``first + every``, ...; splits differ in their seeds."""
        return GymnasiumBatch(self, num_envs, seed=seed, split=split, device=device, first=first, every=every)

    def gymnasium_spec(self) -> tuple[str, dict[str, Any]]:
        """The id and the arguments."""
        return self.id, self.kwargs

    def symmetry(self, device: str | torch.device = "cpu") -> Augmentation | None:
        """Left and right exchanged, where :data:`~iqlightning.envs.mirrors.MIRRORS` knows how."""
        # arguments may change the dynamics (wind), and then nothing is promised
        known = self.id in MIRRORS and not self.kwargs
        return MirrorSymmetry(MIRRORS[self.id], device=device) if known else None


@lru_cache(maxsize=64)
def _facts(env_id: str, kwargs: str) -> _Facts:
    """Makes the environment once to look at its spaces."""
    env = made_by_gymnasium(env_id, lambda: gymnasium.make(env_id, **json.loads(kwargs)))
    actions, observations = env.action_space, env.observation_space
    env.close()
    if not isinstance(observations, spaces.Box):
        raise UserError(f"'{env_id}' has observations of the kind {type(observations).__name__}; only Box is supported")
    if isinstance(actions, spaces.Discrete):
        return _Facts(Spaces(observations, spaces.Discrete(int(actions.n))), int(actions.start))
    if isinstance(actions, spaces.Box) and actions.is_bounded() and actions.dtype.kind == "f":
        return _Facts(Spaces(observations, actions), 0)
    kind = type(actions).__name__
    if isinstance(actions, spaces.Box):
        kind += " of whole numbers" if actions.is_bounded() else " without bounds"
    raise UserError(
        f"'{env_id}' has actions of the kind {kind}; only Discrete and a Box of real numbers with bounds are supported"
    )


def made_by_gymnasium(env_id: str, make: Callable[[], Any]) -> Any:
    """What ``make`` returns, an environment of this id or a batch of them.

    Raises:
        UserError: if the id names a module, is not registered, or the environment cannot be made.
    """
    if ":" in env_id:
        # Gymnasium would import the module before the colon, and the id may come from a file.
        raise UserError(f"the environment id '{env_id}' names a module to import; import it first and leave it out")
    try:
        return make()
    except gymnasium.error.UnregisteredEnv as error:
        raise unknown("registered Gymnasium environment", env_id, sorted(gymnasium.registry)) from error
    except (gymnasium.error.Error, ImportError, TypeError, ValueError) as error:
        raise UserError(f"the Gymnasium environment '{env_id}' cannot be made: {error}") from error


class GymnasiumBatch:
    """N copies of a Gymnasium environment; where an episode ends, the next one begins on the same step.

    Environment i has seed ``seed + i`` on split ``any``; other splits use seeds hashed from seed, split and i. The
    copies are numbers ``first``, ``first + every``, ...; ``every`` is more than 1 where others play those between.
    Observations keep uint8 and become float32 otherwise. ``next_obs`` is the true successor, Gymnasium's ``final_obs``.

    The inner state of an environment cannot be saved in general: after :meth:`load_state_dict` new episodes begin, with
    seeds that follow from those saved and the number of steps made, so that a resumed run repeats.

    Raises:
        UserError: if there is no such split or environment, or its spaces are not supported.
    """

    def __init__(
        self,
        config: GymnasiumConfig,
        num_envs: int,
        *,
        seed: int = 0,
        split: str = "any",
        device: str | torch.device = "cpu",
        first: int = 0,
        every: int = 1,
    ) -> None:
        if num_envs < 1:
            raise UserError(f"num_envs must be at least 1, not {num_envs}")
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        facts = config._facts
        self.config, self.num_envs, self.seed, self.split = config, num_envs, seed, split
        self.device = torch.device(device)
        self._numbers = torch.arange(num_envs) * every + first
        self._everywhere = num_envs * every
        self.spaces = facts.spaces
        self._first_action = facts.first_action
        self._action_bounds = action_bounds(facts.spaces.action)
        self._dtype = np.uint8 if observation_dtype(facts.spaces.observation) == torch.uint8 else np.float32
        mode = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.envs = made_by_gymnasium(
            config.id,
            lambda: gymnasium.make_vec(config.id, num_envs, "sync", vector_kwargs=mode, **config.kwargs),
        )
        self._steps, self._seeded = 0, False
        self._observations = torch.empty(0)

    @property
    def observations(self) -> Tensor:
        """What to act on now."""
        return self._observations

    def reset(self) -> Tensor:
        """Begins new episodes everywhere and returns their first observations (N, *shape)."""
        seeds = None if self._seeded else self._seeds()
        self._seeded = True
        self._observations = self._tensor(self.envs.reset(seed=seeds)[0])
        return self._observations

    def step(self, actions: Tensor) -> StepResult:
        """One action in each environment: (N,) from 0, whatever number the environment gives its first, or (N, *shape).

        Raises:
            RuntimeError: before the first :meth:`reset`.
            UserError: if an action is out of the space (none is clipped) or of another kind, or the environment gives
                an observation or a reward that is not finite.
        """
        if not self._seeded:
            raise RuntimeError("call reset() before the first step")
        chosen = self._require_valid(actions) + self._first_action
        observations, rewards, terminated, truncated, infos = self.envs.step(chosen)
        self._steps += 1
        self._require_finite("a reward", rewards)
        successors = observations
        ended = np.flatnonzero(terminated | truncated)
        if len(ended):
            successors = observations.copy()
            successors[ended] = np.stack(infos["final_obs"][ended])
            self._require_finite("an observation", successors[ended])
        self._observations = self._tensor(observations)
        return StepResult(
            obs=self._observations,
            next_obs=self._tensor(successors) if len(ended) else self._observations,
            rewards=torch.from_numpy(rewards.astype(np.float32)).to(self.device),
            terminated=torch.from_numpy(terminated).to(self.device),
            # An environment may say both at once; bootstrapping then stops, as it would for termination alone.
            truncated=torch.from_numpy(truncated & ~terminated).to(self.device),
        )

    def close(self) -> None:
        """Frees what the environments hold."""
        self.envs.close()

    def state_dict(self) -> dict[str, Any]:
        """Seed and number of steps; not the inner state of the environments."""
        return {"seed": self.seed, "split": self.split, "steps": self._steps, "num_envs": self._everywhere}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Begins new episodes whose seeds follow from the saved state; ``observations`` holds their first ones.

        Raises:
            UserError: if the state is of another number of environments.
        """
        if state["num_envs"] != self._everywhere:
            raise UserError(f"the saved state is of {state['num_envs']} environments, not of {self._everywhere}")
        self.seed, self.split, self._steps = state["seed"], state["split"], state["steps"]
        self._seeded = False
        self.reset()

    def _seeds(self) -> list[int]:
        if self.split == "any" and self._steps == 0:
            return [self.seed + i for i in self._numbers.tolist()]
        keys = (self.seed, SPLITS.index(self.split), self._numbers, self._steps)
        return [value % (1 << 31) for value in hash_keys(Stream.ENVIRONMENT, *keys).tolist()]

    def _require_valid(self, actions: Tensor) -> np.ndarray:
        space = self.spaces.action
        shape, dtype = (self.num_envs, *action_shape(space)), action_dtype(space)
        if tuple(actions.shape) != shape or actions.is_floating_point() != dtype.is_floating_point:
            raise UserError(
                f"'{self.config.id}' needs actions of shape {shape} and type {dtype}, not {tuple(actions.shape)} and "
                f"{actions.dtype}"
            )
        numbers, (low, high) = actions.cpu().numpy(), self._action_bounds
        outside = ~((numbers >= low) & (numbers <= high))  # true of a NaN
        if outside.any():
            wrong = numbers[outside.reshape(self.num_envs, -1).any(1)][0]
            valid = f"from {space.low.tolist()} to {space.high.tolist()}" if isinstance(space, spaces.Box) else ""
            valid = valid or f"from 0 to {num_actions(space) - 1}"
            raise UserError(f"actions of '{self.config.id}' must be {valid}, but one is {wrong.tolist()}")
        return numbers

    def _require_finite(self, what: str, values: np.ndarray) -> None:
        """Said where it happens: once learnt from, it would be everywhere."""
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            wrong = values[~np.isfinite(values)][0]
            raise UserError(f"the environment '{self.config.id}' gave {what} of {wrong} at step {self._steps}")

    def _tensor(self, observations: np.ndarray) -> Tensor:
        """A copy: Gymnasium's arrays may be reused."""
        self._require_finite("an observation", observations)
        return torch.from_numpy(observations.astype(self._dtype)).to(self.device)
