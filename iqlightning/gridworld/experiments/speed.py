"""Rows of ``bench speed`` about GridWorld: imitation with GridCNN, environment, DQN, evaluation."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from iqlightning.agents.soft_q import SoftQ
from iqlightning.analysis.speed.measure import Bench, Result, Row, Timing, timed
from iqlightning.analysis.speed.rows import HIDDEN, beside_plain_loop
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
    env, what = GridWorldConfig(), "fit, GridCNN on 3x10x10, eager"
    shown = shortest_path_demonstrations(env, 450, 0)
    model, data = {"encoder": "GridCNN"}, {"per_episode": 8}
    return beside_plain_loop(bench, "cnn", what, env, shown, model, data, _network, bench.many(100), skip=8)


def _network() -> QNetwork:
    return QNetwork(GridWorldConfig().observation_shape, 4, 1.0, GridCNN)


def _environment(bench: Bench) -> list[Result]:
    steps = bench.many(250)
    envs = GridWorldBatch(GridWorldConfig(), _ENVS)
    envs.reset()
    actions = torch.randint(4, (64, _ENVS), generator=torch.Generator().manual_seed(0)).unbind(0)
    step = {"step": lambda: timed(steps * _ENVS, lambda: _steps(envs, actions, steps))}
    return bench.rates("environment", f"environment steps, batch of {_ENVS:,}", step)


def _steps(envs: GridWorldBatch, actions: tuple[Tensor, ...], steps: int) -> None:
    for step in range(steps):
        envs.step(actions[step % len(actions)])


def _dqn(bench: Bench) -> list[Result]:
    updates = bench.many(400)

    def steps(config: dict[str, Any]) -> Callable[[], Timing]:
        def run() -> Timing:
            timing = bench.fit(config, updates)
            return timing._replace(units=timing.units * _EVERY)

        return run

    what = "DQN, MLP, batch 128, an update per 10 steps, 64 environments, {}: environment steps"
    kinds = {kind: steps(_dqn_config(compile=kind == "compiled")) for kind in ("eager", "compiled")}
    return bench.rates("dqn", what, kinds)


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
    play = {"play": lambda: timed(episodes, lambda: evaluate_gridworld(policy, env, episodes, 0))}
    return bench.rates("evaluation", "episodes evaluated, GridCNN, untrained", play)


ROWS = (
    Row("cnn", "fit with GridCNN against a plain eager loop of the same network", 2, _convolution),
    Row("environment", "steps of batched grids", 1, _environment),
    Row("dqn", "environment steps of DQN, eager and compiled", 2, _dqn),
    Row("evaluation", "episodes of an evaluation", 1, _evaluation),
)
