"""Rows that need no world: ``fit`` with a small perceptron on numbers in the shape of CartPole's."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from iqlightning.analysis.speed.bench import HIDDEN, Bench, Row, imitation_config
from iqlightning.analysis.speed.measure import Result, Timing
from iqlightning.analysis.speed.plain_loops import PlainData, compiled_loop, eager_loop, perceptron
from iqlightning.data.demonstrations import save_demonstrations
from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.trajectories import Trajectories

__all__ = ["ROWS"]

_EPISODES, _MOVES = 200, 50


def _eager(bench: Bench) -> list[Result]:
    with _perceptron(compile=False) as (config, data):
        updates = bench.many(1500)
        timings = bench.race(
            {
                "fit": lambda: bench.fit(config, updates),
                "plain eager loop": _plain(data, updates),
            }
        )
        what = "fit, MLP 128-128, eager / plain eager loop"
        return [bench.against("mlp", what, timings, "fit", "plain eager loop")]


def _compiled(bench: Bench) -> list[Result]:
    with _perceptron(compile=True) as (config, data):
        updates = bench.many(1500)
        compiled = compiled_loop(_network, data, 64)
        timings = bench.race(
            {
                "fit": lambda: bench.fit(config, 3 * updates),
                "plain eager loop": _plain(data, updates),
                "plain compiled loop": lambda: compiled(3 * updates),
            }
        )
        return [
            bench.against("mlp_compiled", f"fit, MLP 128-128, compiled / {plain}", timings, "fit", plain)
            for plain in ("plain eager loop", "plain compiled loop")
        ]


def _network() -> nn.Module:
    return perceptron(4, 2, HIDDEN)


def _plain(data: PlainData, updates: int) -> Callable[[], Timing]:
    return lambda: eager_loop(_network, data, 64, updates)


@contextmanager
def _perceptron(*, compile: bool) -> Iterator[tuple[dict[str, Any], PlainData]]:
    """The configuration of ``fit`` and the same transitions for a plain loop.

    Grouping, logging and epochs are those of ``configs/cartpole_iq.yaml``; values do not matter for the speed.
    """
    generator = torch.Generator().manual_seed(0)
    transitions = _EPISODES * _MOVES
    trajectories = Trajectories(
        observations=torch.randn(transitions + _EPISODES, 4, generator=generator),
        actions=torch.randint(2, (transitions,), generator=generator),
        rewards=torch.ones(transitions),
        starts=torch.arange(_EPISODES + 1) * _MOVES,
        terminated=torch.ones(_EPISODES, dtype=torch.bool),
        truncated=torch.zeros(_EPISODES, dtype=torch.bool),
    )
    metadata = {"env": GymnasiumConfig("CartPole-v1").to_dict(), "seed": 0, "source": "bench", "recipe": {}}
    encoder = {"class_path": "MLP", "init_args": {"hidden": list(HIDDEN)}}
    model = {"compile": compile, "log_every": 50}
    data = {"updates_per_step": 25, "updates_per_epoch": 2500}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "demonstrations.safetensors"
        save_demonstrations(path, trajectories, metadata)
        yield imitation_config(str(path), encoder, model, data), PlainData.of(trajectories)


ROWS = (
    Row("mlp", "fit with a small perceptron against a plain eager loop", 2, _eager),
    Row("mlp_compiled", "the same with compile: true, against plain loops", 3, _compiled),
)
