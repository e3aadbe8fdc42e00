"""Configurations of a second's training, one for each way of learning, and what a run leaves behind."""

import textwrap
from pathlib import Path
from typing import Any

import torch
from small_runs import SMALL_DATA, best_and_last

from iqlightning.checkpoint_files import read_checkpoint

__all__ = ["CONFIGURATIONS", "UPDATES", "UPDATES_PER_EPOCH", "differences", "last_checkpoint", "write_configurations"]

UPDATES, UPDATES_PER_EPOCH = 60, 12

_GRID = "env: {class_path: GridWorldConfig, init_args: {height: 4, width: 4, num_walls: 2}}"
_ENCODER = "encoder: {class_path: MLP, init_args: {hidden: [8]}}"
_TRAINER = f"""
    trainer:
      accelerator: cpu
      max_steps: {UPDATES}
      callbacks: [{{class_path: PolicyEvaluation, init_args: {{episodes: 10, test_episodes: 10}}}}]
"""

CONFIGURATIONS = {
    "iq": f"""
    model:
      class_path: IQLearn
      init_args:
        {_ENCODER}
        divergence: {{class_path: Chi2, init_args: {{alpha: 0.5}}}}
        value: {{class_path: AnnealedSoftValue, init_args: {{start: 1.0, end: 0.1, updates: 40}}}}
        schedule: {{class_path: Cosine, init_args: {{warmup: 5}}}}
        target: {{class_path: TargetUpdate, init_args: {{every: 7, rate: 0.5}}}}
        max_grad_norm: 0.5
        log_every: 5
    {SMALL_DATA}
        per_episode: 2
        symmetries: true
        noise_std: 0.01
        updates_per_epoch: {UPDATES_PER_EPOCH}
        updates_per_step: 5
    """,
    "online_iq": f"""
    model:
      class_path: IQLearn
      init_args:
        {_ENCODER}
        divergence: {{class_path: Chi2, init_args: {{alpha: 0.5}}}}
        value_term: ExpertAndPolicyStates
        log_every: 5
    {SMALL_DATA}
        online: {{num_envs: 4, capacity: 64, warmup_steps: 20, steps_per_update: 1.5}}
        updates_per_epoch: {UPDATES_PER_EPOCH}
        updates_per_step: 5
    """,
    "dqn": f"""
    model:
      class_path: DQN
      init_args:
        {_ENCODER}
        target: {{class_path: TargetUpdate, init_args: {{every: 4, rate: 0.5}}}}
        schedule: {{class_path: Cosine, init_args: {{warmup: 5}}}}
        epsilon_steps: 100
        log_every: 5
    data:
      class_path: ReplayData
      init_args:
        {_GRID}
        num_envs: 4
        capacity: 64
        batch_size: 16
        warmup_steps: 20
        steps_per_update: 2.5
        n_step: 3
        updates_per_epoch: {UPDATES_PER_EPOCH}
        updates_per_step: 5
    """,
    "bc": f"""
    model:
      class_path: BehaviorCloning
      init_args:
        {_ENCODER}
        log_every: 5
    {SMALL_DATA}
        updates_per_epoch: {UPDATES_PER_EPOCH}
        updates_per_step: 5
    """,
}


def write_configurations(folder: Path) -> None:
    """``NAME.yaml`` in ``folder`` for each."""
    for name, text in CONFIGURATIONS.items():
        (folder / f"{name}.yaml").write_text(textwrap.dedent(text) + textwrap.dedent(_TRAINER))


def last_checkpoint(run: Path) -> dict[str, Any]:
    """What ``last.ckpt`` of a run holds."""
    return read_checkpoint(run / "checkpoints" / "last.ckpt")


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Where two checkpoints differ in what was learnt: weights, optimizer, replay, environments, counters.

    Bit for bit, what is logged next included, but for the callbacks, which hold the folder of the run.
    """
    learnt = ("state_dict", "optimizer_states", "global_step", "epoch", "metrics_buffer", "env_steps")
    parts = (*learnt, "ImitationData", "ReplayData", "settings")
    assert one.keys() == other.keys()
    found = [where for part in parts if part in one for where in _differences(one[part], other[part], part)]
    best = [best_and_last(each) for each in (one, other)]
    return found + _differences(best[0]["best_model_score"], best[1]["best_model_score"], "best score")


def _differences(one: Any, other: Any, where: str) -> list[str]:
    if type(one) is not type(other):
        return [where]
    if isinstance(one, torch.Tensor):
        return [] if one.dtype == other.dtype and torch.equal(one, other) else [where]
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return [where]
        return [found for key in one for found in _differences(one[key], other[key], f"{where}.{key}")]
    if isinstance(one, (list, tuple)):
        if len(one) != len(other):
            return [where]
        pairs = enumerate(zip(one, other, strict=True))
        return [found for i, (a, b) in pairs for found in _differences(a, b, f"{where}.{i}")]
    return [] if one == other else [where]
