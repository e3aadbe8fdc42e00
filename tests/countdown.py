"""An environment whose every episode is known beforehand."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces as kinds

from iqlightning.spaces import Spaces
from iqlightning.types import EnvConfig, StepResult

__all__ = ["Countdown", "CountdownConfig"]

SPACES = Spaces(kinds.Box(0, 100, (3,), np.int64), kinds.Discrete(2))


class Countdown:
    """Environment i's k-th episode has 1 + (i + k) % 3 moves, each worth i + 1; every other one is truncated.

    An observation is (environment, episode, move).
    """

    spaces = SPACES

    def __init__(self, num_envs: int, seed: int = 0) -> None:
        self.num_envs = num_envs
        self.device = torch.device("cpu")
        self.env = torch.arange(num_envs) + seed
        self.reset()

    def reset(self) -> torch.Tensor:
        self.episode, self.move = torch.zeros(2, self.num_envs, dtype=torch.int64)
        return self.observations

    @property
    def observations(self) -> torch.Tensor:
        return torch.stack([self.env, self.episode, self.move], 1)

    def step(self, actions: torch.Tensor) -> StepResult:
        self.move = self.move + 1
        last = self.observations
        done = self.move > (self.env + self.episode) % 3
        odd = self.episode % 2 == 1
        self.episode, self.move = self.episode + done, self.move * ~done
        return StepResult(self.observations, last, (self.env + 1).float(), done & ~odd, done & odd)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


@dataclass(frozen=True)
class CountdownConfig(EnvConfig):
    """That environment, to be made."""

    @property
    def name(self) -> str:
        return "countdown"

    @property
    def spaces(self) -> Spaces:
        return SPACES

    def make_batch(
        self, num_envs: int, *, seed: int, split: str = "any", device: Any = "cpu", **share: int
    ) -> Countdown:
        assert not share, "evaluation plays episodes, not a share of environments"
        return Countdown(num_envs, seed)
