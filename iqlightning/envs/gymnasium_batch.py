"""A batch of copies of a Gymnasium environment, stepped in this process or in processes of their own."""

import multiprocessing
import os
import signal
import time
import warnings
from functools import lru_cache, partial
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from torch import Tensor

from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.envs.making import errors_of
from iqlightning.errors import UserError, unknown
from iqlightning.keyed import Stream, hash_keys
from iqlightning.observation_codec import batch_of_one
from iqlightning.spaces import action_bounds, action_dtype, action_shape, num_actions, observation_dtype
from iqlightning.types import SPLITS, StepResult

__all__ = ["GymnasiumBatch", "seeds_of_split"]

# Steps whose observations are compared with the bounds of the space.
_CHECKED = 1000

# Seconds that a step of all environments takes before processes are worth their while, and most that are measured.
_LONG_STEP, _MEASURED = 0.02, 0.1


def seeds_of_split(seed: int, split: str, numbers: Tensor, steps: int = 0) -> list[int]:
    """The seeds that environments of these numbers are reset with after so many steps, 0 being the beginning."""
    if split == "any" and steps == 0:
        return [seed + number for number in numbers.tolist()]
    keys = (seed, SPLITS.index(split), numbers, steps)
    return [value % (1 << 31) for value in hash_keys(Stream.ENVIRONMENT, *keys).tolist()]


class GymnasiumBatch:
    """N copies of a Gymnasium environment; where an episode ends, the next one begins on the same step.

    Environment i has seed ``seed + i`` on split ``any``; other splits use seeds hashed from seed, split and i. The
    copies are numbers ``first``, ``first + every``, ...; ``every`` is more than 1 where others play those between.
    Observations are encoded where they are no arrays (``Spaces.codec``), keep uint8 and become float32 otherwise.
    ``next_obs`` is the true successor, Gymnasium's ``final_obs``.

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
        self.config, self.num_envs, self.seed, self.split = config, num_envs, seed, split
        self.device = torch.device(device)
        self._numbers = torch.arange(num_envs) * every + first
        self._everywhere = num_envs * every
        self.spaces = config.spaces
        self._first_action = config.first_action
        self._action_bounds = action_bounds(config.spaces.action)
        self._dtype = np.uint8 if observation_dtype(config.spaces.observation) == torch.uint8 else np.float32
        self._codec = config.spaces.codec
        config.limit_to_play_with()  # a warning is said here and not in each process
        self.vectorization = config.vectorization
        if self.vectorization == "auto":
            self.vectorization = "async" if _gains_by_processes(config, num_envs) else "sync"
        vector = SyncVectorEnv if self.vectorization == "sync" else partial(AsyncVectorEnv, context=_context())
        makers = [partial(_made, config, os.getpid())] * num_envs
        self.envs: Any = vector(makers, autoreset_mode=AutoresetMode.SAME_STEP)
        self._unchecked = _CHECKED
        self._steps, self._seeded = 0, False
        self._observations = torch.empty(0)

    @property
    def observations(self) -> Tensor:
        """What to act on now."""
        return self._observations

    @property
    def games(self) -> list[gymnasium.Env]:
        """The N environments themselves, for whoever looks inside.

        Raises:
            UserError: if they are in processes of their own.
        """
        if self.vectorization != "sync":
            raise UserError(
                f"the environments '{self.config.name}' are in processes of their own: set vectorization sync"
            )
        return list(self.envs.envs)

    def reset(self) -> Tensor:
        """Begins new episodes everywhere and returns their first observations (N, *shape)."""
        seeds = None if self._seeded else self._seeds()
        self._seeded = True
        with errors_of(self.config.id, "reset"):
            observations, _ = self.envs.reset(seed=seeds)
        self._observations = self._to_act_on(self._encoded(observations))
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
        with errors_of(self.config.id, "step"):
            observations, rewards, terminated, truncated, infos = self.envs.step(chosen)
        self._steps += 1
        self._require_finite("a reward", rewards)
        encoded = self._encoded(observations)
        successors = encoded
        ended = np.flatnonzero(terminated | truncated)
        if len(ended):
            successors = encoded.clone()
            # one at a time: they are single observations, which may be dictionaries
            finals = [self._encoded(batch_of_one(infos["final_obs"][i])) for i in ended]
            successors[torch.from_numpy(ended)] = torch.cat(finals)
        self._observations = self._to_act_on(encoded)
        return StepResult(
            obs=self._observations,
            next_obs=successors.to(self.device) if len(ended) else self._observations,
            rewards=torch.from_numpy(rewards.astype(np.float32)).to(self.device),
            terminated=torch.from_numpy(terminated).to(self.device),
            # An environment may say both at once; bootstrapping then stops, as it would for termination alone.
            truncated=torch.from_numpy(truncated & ~terminated).to(self.device),
        )

    def close(self) -> None:
        """Frees what the environments hold."""
        with errors_of(self.config.id, "close"):
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
        return seeds_of_split(self.seed, self.split, self._numbers, self._steps)

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

    def _encoded(self, observations: Any) -> Tensor:
        """(B, *shape) on the CPU, a copy: Gymnasium's arrays may be reused."""
        whose = f"the environment '{self.config.id}' gives other observations than its space says"
        if self._codec is not None:
            encoded = self._codec.encode(observations, whose)
        else:
            array = np.asarray(observations)
            if array.shape[1:] != self.spaces.observation_shape:
                raise UserError(f"{whose}: of shape {array.shape[1:]}, not {self.spaces.observation_shape}")
            encoded = torch.from_numpy(array.astype(self._dtype))
        self._require_finite("an observation", encoded.numpy())
        if self._unchecked > 0:
            self._unchecked -= 1
            self._warn_beyond_bounds(encoded.numpy(), whose)
        return encoded

    def _to_act_on(self, encoded: Tensor) -> Tensor:
        """The observations of the next step, where some action has to be allowed."""
        allowed = self.spaces.allowed(encoded)
        if allowed is not None and not bool(allowed.any(1).all()):
            number = int(self._numbers[int((~allowed.any(1)).int().argmax())])
            raise UserError(
                f"the environment '{self.config.id}' allows no action at all at step {self._steps} (of environment "
                f"{number}), and the episode has not ended"
            )
        return encoded.to(self.device)

    def _warn_beyond_bounds(self, numbers: np.ndarray, whose: str) -> None:
        space = self.spaces.observation
        if not isinstance(space, spaces.Box):
            return
        margin = 1e-4 * (1 + np.abs(numbers, dtype=np.float32))
        beyond = (numbers < space.low - margin) | (numbers > space.high + margin)
        if beyond.any():
            self._unchecked = 0
            wrong = numbers[beyond][0]
            warnings.warn(f"{whose}: there is {wrong:g}, beyond its bounds", UserWarning, stacklevel=2)


def _gains_by_processes(config: GymnasiumConfig, num_envs: int) -> bool:
    """Whether environments that are stepped one after the other take so long that processes would be faster."""
    if (
        num_envs < 2
        or len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)) < 2
    ):
        return False
    return num_envs * _step_seconds(config) > _LONG_STEP


@lru_cache(maxsize=64)
def _step_seconds(config: GymnasiumConfig) -> float:
    """The shortest of some steps of random actions: others may keep the machine busy meanwhile."""
    env = config.make_env()
    env.action_space.seed(0)
    with errors_of(config.id, "reset"):
        env.reset(seed=0)
    taken: list[float] = []
    while len(taken) < 50 and sum(taken) < _MEASURED:
        begun = time.perf_counter()
        with errors_of(config.id, "step"):
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        taken.append(time.perf_counter() - begun)
        if terminated or truncated:
            with errors_of(config.id, "reset"):
                env.reset()
    with errors_of(config.id, "close"):
        env.close()
    return min(taken)


def _made(config: GymnasiumConfig, parent: int) -> gymnasium.Env:
    """The environment; in a process of its own, which its parent ends, a run's ways of being stopped are forgotten."""
    if os.getpid() == parent:
        return config.make_env()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return _Apart(config.make_env(), config.id)


class _Apart(gymnasium.Wrapper):
    """An environment in a process of its own, the only one that knows where in its code it failed."""

    def __init__(self, env: gymnasium.Env, env_id: str) -> None:
        super().__init__(env)
        self._env_id = env_id

    def reset(self, **options: Any) -> Any:
        with errors_of(self._env_id, "reset"):
            return self.env.reset(**options)

    def step(self, action: Any) -> Any:
        with errors_of(self._env_id, "step"):
            return self.env.step(action)


def _context() -> str | None:
    """How processes begin: as copies where that is possible, so that they know what has been registered."""
    return "fork" if "fork" in multiprocessing.get_all_start_methods() else None
