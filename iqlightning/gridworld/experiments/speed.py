"""Rows of ``bench speed`` about GridWorld: imitation with GridCNN, environment, DQN, evaluation."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from iqlightning.agents.soft_q import SoftQ
from iqlightning.analysis.speed.bench import HIDDEN, Bench, Row, imitation_config
from iqlightning.analysis.speed.measure import Result, Timing, timed
from iqlightning.analysis.speed.plain_loops import PlainData, eager_loop
from iqlightning.data.demonstrations import save_demonstrations
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.encoders.grid_cnn import GridCNN
from iqlightning.gridworld.evaluation.play import evaluate_gridworld
from iqlightning.gridworld.expert import shortest_path_demonstrations
from iqlightning.gridworld.game.state import GridWorldBatch
from iqlightning.nets.q_network import QNetwork
from iqlightning.policies import AgentPolicy

__all__ = ["ROWS"]

_ENVS = 4096
_EVERY = 10  # steps for each update of DQN


def _convolution(bench: Bench) -> list[Result]:
    env, updates = GridWorldConfig(), bench.many(100)
    trajectories = shortest_path_demonstrations(env, 450, 0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "demonstrations.safetensors"
        save_demonstrations(path, trajectories, {"env": env.to_dict(), "seed": 0, "source": "bench", "recipe": {}})
        config = imitation_config(str(path), "GridCNN", {}, {"per_episode": 8})
        plain = PlainData.of(trajectories, together=8)
        timings = bench.race(
            {
                "fit": lambda: bench.fit(config, updates, skip=8),
                "plain eager loop": lambda: eager_loop(_network, plain, 64, updates),
            }
        )
    what = "fit, GridCNN on 3x10x10, eager / plain eager loop of the same network"
    return [bench.against("cnn", what, timings, "fit", "plain eager loop")]


def _network() -> QNetwork:
    return QNetwork(GridWorldConfig().observation_shape, 4, 1.0, GridCNN)


def _environment(bench: Bench) -> list[Result]:
    steps = bench.many(250)
    envs = GridWorldBatch(GridWorldConfig(), _ENVS, copy_observations=False)
    envs.reset()
    actions = torch.randint(4, (64, _ENVS), generator=torch.Generator().manual_seed(0)).unbind(0)
    timings = bench.race({"step": lambda: timed(steps * _ENVS, lambda: _steps(envs, actions, steps))})
    return [bench.rate("environment", f"environment steps, batch of {_ENVS:,}", timings["step"], "/s")]


def _steps(envs: GridWorldBatch, actions: tuple[Tensor, ...], steps: int) -> None:
    for step in range(steps):
        envs.step(actions[step % len(actions)])


def _dqn(bench: Bench) -> list[Result]:
    updates = bench.many(400)

    def steps(config: dict[str, Any]) -> Callable[[], Timing]:
        def run() -> Timing:
            timing = bench.fit(config, updates)
            return Timing(timing.units * _EVERY, timing.cpu, timing.wall)

        return run

    timings = bench.race({kind: steps(_dqn_config(compile=kind == "compiled")) for kind in ("eager", "compiled")})
    what = "DQN, MLP, batch 128, an update per 10 steps, 64 environments, {}: environment steps"
    return [bench.rate("dqn", what.format(kind), each, "/s") for kind, each in timings.items()]


def _dqn_config(*, compile: bool) -> dict[str, Any]:
    """Grouping, logging and epochs as in ``configs/cartpole_dqn.yaml``."""
    return {
        "model": {
            "class_path": "DQN",
            "init_args": {
                "encoder": {"class_path": "MLP", "init_args": {"hidden": list(HIDDEN)}},
                "reward_scale": 0.1,
                "target": {"class_path": "TargetUpdate", "init_args": {"every": 1, "rate": 0.02}},
                "max_grad_norm": None,
                "log_every": 50,
                "compile": compile,
            },
        },
        "data": {
            "class_path": "ReplayData",
            "init_args": {
                "env": {"class_path": "GridWorldConfig"},
                "num_envs": 64,
                "batch_size": 128,
                "steps_per_update": _EVERY,
                "updates_per_step": 25,
                "updates_per_epoch": 1000,
            },
        },
    }


def _evaluation(bench: Bench) -> list[Result]:
    env, episodes = GridWorldConfig(), bench.many(10_000)
    policy = AgentPolicy(SoftQ.of(env.spaces, _network().requires_grad_(False)), 0.99, env)
    timings = bench.race({"play": lambda: timed(episodes, lambda: evaluate_gridworld(policy, env, episodes, 0))})
    return [bench.rate("evaluation", "episodes evaluated, GridCNN, untrained", timings["play"], "/s")]


ROWS = (
    Row("cnn", "fit with GridCNN against a plain eager loop of the same network", 2, _convolution),
    Row("environment", "steps of batched grids", 1, _environment),
    Row("dqn", "environment steps of DQN, eager and compiled", 2, _dqn),
    Row("evaluation", "episodes of an evaluation", 1, _evaluation),
)
