"""Rows that need no world: ``fit`` with a small perceptron on numbers in the shape of CartPole's."""

import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from iqlightning.analysis.speed.measure import Bench, Result, Row
from iqlightning.analysis.speed.plain_loop import PlainData, perceptron, plain_loop
from iqlightning.data.demonstrations import save_demonstrations
from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.trajectories import Trajectories
from iqlightning.types import EnvConfig

__all__ = ["HIDDEN", "ROWS", "beside_plain_loop"]

#: Layers of the perceptrons that are measured.
HIDDEN = (128, 128)

_EPISODES, _MOVES = 200, 50


def beside_plain_loop(
    bench: Bench,
    row: str,
    what: str,
    env: EnvConfig,
    shown: Trajectories,
    model: Mapping[str, Any],
    data: Mapping[str, Any],
    network: Any,
    updates: int,
    skip: int = 64,
) -> list[Result]:
    """IQ-Learn as the plain loop does it: chi2, value term on expert states, soft value, Adam, batches of 64."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "demonstrations.safetensors"
        save_demonstrations(path, shown, {"env": env.to_dict(), "seed": 0, "source": "bench", "recipe": {}})
        learner = {"divergence": "Chi2", "value": "SoftValue", **model}
        config = {
            "model": {"class_path": "IQLearn", "init_args": learner},
            "data": {"class_path": "ImitationData", "init_args": {"path": str(path), "batch_size": 64, **data}},
            "checkpoint": {"monitor": "val/mean_return", "mode": "max"},
        }
        plain = PlainData.of(shown, together=data.get("per_episode", 1))
        contenders = {
            "fit": lambda: bench.fit(config, updates, skip=skip),
            "plain eager loop": lambda: plain_loop(network, plain, 64, updates),
        }
        return bench.against(row, f"{what} / plain eager loop of the same network", contenders)


def _network() -> nn.Module:
    return perceptron(4, 2, HIDDEN)


def _perceptron(bench: Bench, row: str, kind: str) -> list[Result]:
    """Grouping, logging and epochs are those of ``configs/cartpole_iq.yaml``; values do not matter for the speed."""
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
    encoder = {"class_path": "MLP", "init_args": {"hidden": list(HIDDEN)}}
    model = {"encoder": encoder, "compile": kind == "compiled", "log_every": 50}
    data = {"updates_per_step": 25, "updates_per_epoch": 2500}
    env, what = GymnasiumConfig("CartPole-v1"), f"fit, MLP 128-128, {kind}"
    return beside_plain_loop(bench, row, what, env, trajectories, model, data, _network, bench.many(1500))


ROWS = tuple(
    Row(row, f"fit with a small perceptron, {kind}, against a plain loop", 2, partial(_perceptron, row=row, kind=kind))
    for row, kind in (("mlp", "eager"), ("mlp_compiled", "compiled"))
)
