"""Rows of continuous actions: IQ-Learn online with an actor-critic, on numbers in the shape of Hopper's."""

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch

from iqlightning.analysis.speed.measure import Bench, Result, Row
from iqlightning.analysis.speed.plain_actor_critic import plain_actor_critic
from iqlightning.data.demonstrations import save_demonstrations
from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.trajectories import Trajectories

__all__ = ["ROWS"]

_EPISODES, _MOVES = 20, 500
_ENV = "iqlightning/Numbers-v0"
_PAPER: dict[str, Any] = {"width": 256, "batch_size": 256, "updates": 60}
_SMALL: dict[str, Any] = {"width": 64, "batch_size": 64, "updates": 600}


class _Numbers(gymnasium.Env):
    """Observations and actions in the shape of Hopper's, at no cost; values do not matter for the speed."""

    observation_space = gymnasium.spaces.Box(-10.0, 10.0, (11,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (3,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """The same numbers every time."""
        self._obs = np.linspace(-1.0, 1.0, 11, dtype=np.float32)
        return self._obs, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """And again."""
        return self._obs, 0.0, False, False, {}


def _numbers(**_: Any) -> gymnasium.Env:
    return _Numbers()


def _actor_critic(bench: Bench, row: str, width: int, batch_size: int, updates: int, compile: bool) -> list[Result]:
    """The settings of ``configs/continuous.yaml`` at some width, a step of the environment for each update."""
    if _ENV not in gymnasium.registry:
        gymnasium.register(_ENV, _numbers, max_episode_steps=_MOVES, disable_env_checker=True)
    generator = torch.Generator().manual_seed(0)
    moves = _EPISODES * _MOVES
    shown = Trajectories(
        observations=torch.randn(moves + _EPISODES, 11, generator=generator),
        actions=torch.rand(moves, 3, generator=generator) * 2 - 1,
        rewards=torch.ones(moves),
        starts=torch.arange(_EPISODES + 1) * _MOVES,
        terminated=torch.zeros(_EPISODES, dtype=torch.bool),
        truncated=torch.ones(_EPISODES, dtype=torch.bool),
    )
    agent = {"hidden": [width] * 2, "layer_norm": True, "temperature": 0.005, "actor_average": 0.9995}
    model = {
        "agent": {"class_path": "SoftActorCritic", "init_args": agent},
        "divergence": {"class_path": "Chi2Mixture", "init_args": {"alpha": 0.05}},
        "value_term": "ExpertStatesAsInitial",
        "clip_targets": True,
        "compile": compile,
        "log_every": 500,
    }
    data = {"online": {}, "batch_size": batch_size, "validation_fraction": 0.0}
    data |= {"updates_per_step": 25, "updates_per_epoch": 2500}
    every, count = shown.transitions(), bench.many(updates)
    plain = (every.obs, every.actions, every.next_obs)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "demonstrations.safetensors"
        metadata = {"env": GymnasiumConfig(_ENV).to_dict(), "seed": 0, "source": "bench", "recipe": {}}
        save_demonstrations(path, shown, metadata)
        config = {
            "model": {"class_path": "IQLearn", "init_args": model},
            "data": {
                "class_path": "ImitationData",
                "init_args": {"path": str(path), "updates_per_epoch": 2500, **data},
            },
            "checkpoint": {"monitor": None},
        }
        contenders = {
            "fit": lambda: bench.fit(config, count),
            "plain eager loop": lambda: plain_actor_critic(plain, plain, [width] * 2, batch_size, count),
        }
        what = f"fit, actor-critic {width}-{width}, batch {batch_size} + {batch_size}"
        kind = "compiled" if compile else "eager"
        return bench.against(row, f"{what}, {kind} / plain eager loop of the same", contenders)


ROWS = tuple(
    Row(row, f"fit with an actor-critic, {what}, against a plain loop", 2, partial(_actor_critic, row=row, **sizes))
    for row, what, sizes in (
        ("actor_critic_256", "of the paper's size, eager", {**_PAPER, "compile": False}),
        ("actor_critic_256_compiled", "of the paper's size, compiled", {**_PAPER, "compile": True}),
        ("actor_critic_64", "small, compiled", {**_SMALL, "compile": True}),
    )
)
