"""The rows of the table: each measures one thing beside its plain counterpart."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from iqlightning.agents.soft_q import SoftQ
from iqlightning.analysis.speed import setups, whole_runs
from iqlightning.analysis.speed.bench import Bench
from iqlightning.analysis.speed.breakdown import Parts
from iqlightning.analysis.speed.measure import Result, Timing, timed
from iqlightning.analysis.speed.plain_game import PlainGame, plain_dqn
from iqlightning.analysis.speed.plain_learning import compiled_loop, eager_loop, perceptron
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.encoders.grid_cnn import GridCNN
from iqlightning.gridworld.evaluation.play import evaluate_gridworld
from iqlightning.gridworld.expert import shortest_path_demonstrations
from iqlightning.gridworld.game.state import GridWorldBatch
from iqlightning.nets.q_network import QNetwork
from iqlightning.policies import QPolicy

__all__ = ["ROWS", "Row"]


@dataclass(frozen=True)
class Row:
    """A name, what it is about, how many contenders take turns in it, and the function that measures it.

    Attributes:
        disk: bytes that it writes to a temporary folder at scale 1.
    """

    name: str
    summary: str
    contenders: int
    measure: Callable[[Bench], list[Result]]
    disk: float = 0.0


def _perceptron(bench: Bench) -> list[Result]:
    with tempfile.TemporaryDirectory() as folder:
        data = setups.small_demonstrations(Path(folder))
        config = setups.perceptron_config(data, 64)
        plain, updates = data.plain(), bench.many(1500)
        found = bench.race(
            {
                "fit": lambda: bench.fit(config, updates),
                "raw eager loop": lambda: eager_loop(lambda: perceptron(4, 2, setups.HIDDEN), plain, 64, updates),
            }
        )
        return [
            bench.against(
                "mlp", "fit, MLP 128-128, eager / raw eager loop", found, ("fit", "raw eager loop"), 0.9, 0.98
            ),
            *_where_time_goes(bench, "mlp", config, updates),
        ]


def _compiled_perceptron(bench: Bench) -> list[Result]:
    with tempfile.TemporaryDirectory() as folder:
        data = setups.small_demonstrations(Path(folder))
        config = setups.perceptron_config(data, 64, compile=True)
        plain, updates = data.plain(), bench.many(1500)
        raw = compiled_loop(lambda: perceptron(4, 2, setups.HIDDEN), plain, 64)
        found = bench.race(
            {
                "fit": lambda: bench.fit(config, 3 * updates),
                "raw eager loop": lambda: eager_loop(lambda: perceptron(4, 2, setups.HIDDEN), plain, 64, updates),
                "raw compiled loop": lambda: raw(3 * updates),
            }
        )
        name, what = "mlp_compiled", "fit, MLP 128-128, compiled"
        return [
            bench.against(name, f"{what} / raw eager loop", found, ("fit", "raw eager loop"), 2.5, 3.5),
            bench.against(name, f"{what} / raw compiled loop", found, ("fit", "raw compiled loop"), 0.9, 1.0),
            *_where_time_goes(bench, name, config, 3 * updates),
        ]


def _convolution(bench: Bench) -> list[Result]:
    with tempfile.TemporaryDirectory() as folder:
        data = setups.grid_demonstrations(Path(folder))
        config = setups.iq_config(data, "GridCNN", 64, data={"per_episode": 8})
        plain, updates = data.plain(together=8), bench.many(100)
        found = bench.race(
            {
                "fit": lambda: bench.fit(config, updates, skip=8),
                "raw eager loop": lambda: eager_loop(_grid_network, plain, 64, updates),
            }
        )
        what = "fit, GridCNN on 3x10x10, eager / raw eager loop of the same network"
        return [
            bench.against("cnn", what, found, ("fit", "raw eager loop"), 0.95, 1.3),
            *_where_time_goes(bench, "cnn", config, updates),
        ]


def _grid_network() -> QNetwork:
    config = GridWorldConfig()
    return QNetwork(config.observation_shape, 4, 1.0, GridCNN)


def _where_time_goes(bench: Bench, row: str, config: dict[str, Any], updates: int) -> list[Result]:
    parts = Parts()
    timing = bench.fit(config, updates, parts=parts)
    bench.progress(1)
    shares = parts.shares(timing.cpu, timing.units)
    total = sum(shares.values())
    rows = sorted(shares.items(), key=lambda item: -item[1])
    return [Result(row, f"  {part} ({value / total:.0%})", "us/update", (value,)) for part, value in rows]


def _environment(bench: Bench) -> list[Result]:
    config, num_envs, steps = GridWorldConfig(), 4096, bench.many(250)
    plain = PlainGame(config, num_envs, 1 << 13)
    ours = GridWorldBatch(config, num_envs, copy_observations=False)
    ours.reset()
    actions = np.random.default_rng(0).integers(4, size=(64, num_envs))
    tensors = torch.from_numpy(actions).unbind(0)

    def run(step: Callable[[Any], object], chosen: Any) -> Timing:
        def steps_made() -> None:
            for i in range(steps):
                step(chosen[i % 64])

        return timed(steps * num_envs, steps_made)

    contenders: dict[str, Callable[[], Timing]] = {
        "eager": lambda: run(ours.step, tensors),
        "plain numpy loop": lambda: run(plain.step, actions),
    }
    found = bench.race(contenders)
    what = "environment, batch 4,096, eager / plain numpy loop"
    return [bench.against("environment", what, found, ("eager", "plain numpy loop"), 0.75, 1.0)]


def _expert(bench: Bench) -> list[Result]:
    episodes = bench.many(5000)

    def make() -> Timing:
        made: list[int] = []
        timing = timed(
            1, lambda: made.append(shortest_path_demonstrations(GridWorldConfig(), episodes, 0).num_transitions)
        )
        return Timing(made[0], timing.cpu, timing.wall)

    found = bench.race({"expert": make})["expert"]
    rates = tuple(each.rate(bench.clock) for each in found)
    return [Result("expert", f"{episodes:,} demonstrations made", "transitions/s", rates, 2e5, 2e6)]


def _dqn(bench: Bench) -> list[Result]:
    env, updates = GridWorldConfig(), bench.many(400)
    eager = setups.dqn_config(env, 128, 10, 64)
    compiled = setups.dqn_config(env, 128, 10, 64, compile=True)

    def ours(config: dict[str, Any]) -> Timing:
        timing = bench.fit(config, updates)
        return Timing(timing.units * 10, timing.cpu, timing.wall)

    plain = "raw loop, one environment"
    found = bench.race(
        {
            "eager": lambda: ours(eager),
            "compiled": lambda: ours(compiled),
            plain: lambda: plain_dqn(env, setups.HIDDEN, 128, 10, updates),
        }
    )
    what = "DQN, MLP, batch 128, an update per 10 steps, 64 environments, {} / raw loop with one"
    return [
        bench.against("dqn", what.format("eager"), found, ("eager", plain), 2.0, 4.0),
        *_where_time_goes(bench, "dqn", eager, updates),
        bench.against("dqn", what.format("compiled"), found, ("compiled", plain), 2.0, 4.0),
    ]


def _evaluation(bench: Bench) -> list[Result]:
    env, episodes = GridWorldConfig(), bench.many(10_000)
    network = _grid_network().requires_grad_(False)
    policy = QPolicy(SoftQ.of(env.spaces, network), 0.99, env)
    found = bench.race({"play": lambda: timed(episodes, lambda: evaluate_gridworld(policy, env, episodes, 0))})
    seconds = tuple(each.wall / each.units * 10_000 for each in found["play"])
    what = "evaluation of 10,000 episodes, GridCNN, untrained"
    return [Result("evaluation", what, "s", seconds, 30.0, 5.0, more_is_better=False)]


def _large(bench: Bench) -> list[Result]:
    with tempfile.TemporaryDirectory() as folder:
        small, large = (
            setups.iq_config(
                data,
                {"class_path": "MLP", "init_args": {"hidden": list(setups.HIDDEN)}},
                64,
                data={"validation_fraction": 0.0, "updates_per_step": 25, "out_of_core": on_disk},
            )
            for data, on_disk in (
                (setups.grid_demonstrations(Path(folder)), False),
                (setups.large_demonstrations(Path(folder), bench.many(10_000_000)), True),
            )
        )
        updates = bench.many(1000)
        found = bench.race(
            {"on disk": lambda: bench.fit(large, updates), "in memory": lambda: bench.fit(small, updates)}
        )
        what = f"fit, MLP 128-128 on 3x10x10, {bench.many(10_000_000):,} transitions on disk / few in memory"
        peak = whole_runs.peak_memory(large, updates)
    return [
        bench.against("large", what, found, ("on disk", "in memory"), 0.8, 1.0),
        Result("large", "  its resident memory at the most", "MB", (peak,), 1500.0, 1000.0, more_is_better=False),
    ]


ROWS = {
    row.name: row
    for row in (
        Row("mlp", "fit with a small perceptron against a raw eager loop", 2, _perceptron),
        Row("mlp_compiled", "the same with compile: true, against raw loops", 3, _compiled_perceptron),
        Row("cnn", "fit with GridCNN against a raw eager loop of the same network", 2, _convolution),
        Row("environment", "batched GridWorld against a plain numpy loop", 2, _environment),
        Row("expert", "making demonstrations", 1, _expert),
        Row("dqn", "DQN against a raw loop with one environment", 3, _dqn),
        Row("evaluation", "playing episodes", 1, _evaluation),
        Row("large", "demonstrations that stay on the disk against demonstrations in memory", 2, _large, 4e9),
        Row("start", "seconds to the help and to the first update", 2, whole_runs.start),
        Row("memory", "memory of a run", 2, whole_runs.memory),
        Row("processes", "two processes against one", 3, whole_runs.processes),
        Row("learnt", "seconds until 99% success", 2, whole_runs.time_to_success),
    )
}
