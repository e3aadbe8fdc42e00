"""Runs small enough for a test: a 4x4 grid, a tiny network, a few updates."""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Checkpoint, ProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from iqlightning.algorithms.iq_learn import IQLearn
from iqlightning.checkpoint_io import VerifiedCheckpointIO
from iqlightning.data.imitation_data import ImitationData
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.nets.encoders.mlp import MLP

#: The section of small configurations that says what is imitated, but for how long an epoch is.
SMALL_DATA = """data:
      class_path: ImitationData
      init_args:
        env: {class_path: GridWorldConfig, init_args: {height: 4, width: 4, num_walls: 2}}
        episodes: 40
        batch_size: 16"""

TINY = f"""
    model:
      class_path: BehaviorCloning
      init_args:
        encoder: {{class_path: MLP, init_args: {{hidden: [16]}}}}
        log_every: 10
    {SMALL_DATA}
        updates_per_epoch: 10
        updates_per_step: 4
    trainer:
      accelerator: cpu
      max_steps: 30
      callbacks:
        - {{class_path: PolicyEvaluation, init_args: {{episodes: 20, test_episodes: 20}}}}
"""

#: By algorithm, its arguments and an environment of Gymnasium.
ONLINE = """
    model: {class_path: %s, init_args: {%s}}
    data:
      class_path: ReplayData
      init_args:
        env: {class_path: GymnasiumConfig, init_args: {id: %s}}
        num_envs: 2
        warmup_steps: 20
        batch_size: 8
        updates_per_epoch: 2
    trainer: {accelerator: cpu, max_steps: 2, callbacks: [{class_path: PolicyEvaluation, init_args: {episodes: 2}}]}
    checkpoint: {monitor: val/mean_return, mode: max}
"""
MLP_8 = "encoder: {class_path: MLP, init_args: {hidden: [8]}}"

GRID = GridWorldConfig("random_walls", 4, 4, num_walls=2)


def demonstrations(folder: Path, **changes: Any) -> ImitationData:
    options: dict[str, Any] = {
        "env": GRID,
        "directory": str(folder / "data"),
        "episodes": 40,
        "batch_size": 16,
        "updates_per_epoch": 10,
        "updates_per_step": 4,
    }
    return ImitationData(**(options | changes))


def learner(kind: Any = IQLearn, **changes: Any) -> Any:
    return kind(**({"encoder": partial(MLP, hidden=[16]), "log_every": 5} | changes))


def best_and_last(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """What the keeper of checkpoints has said in one of them."""
    return next(state for name, state in checkpoint["callbacks"].items() if "BestAndLast" in name)


class Always:
    """A policy that repeats one action, and notes of how many observations it is asked at once."""

    def __init__(self, action: int) -> None:
        self.action = action
        self.asked: list[int] = []

    def act(self, observations: torch.Tensor, *, sample: bool = False) -> torch.Tensor:
        self.asked.append(len(observations))
        return torch.full((len(observations),), self.action)


def weights(model: Any) -> torch.Tensor:
    return torch.cat([value.double().flatten() for value in model.state_dict().values() if value.is_floating_point()])


def quiet_trainer(**changes: Any) -> Trainer:
    """A trainer that writes and shows nothing."""
    off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    options: dict[str, Any] = dict.fromkeys(off, False)
    options |= {"accelerator": "cpu", "devices": 1, "max_epochs": -1, "plugins": [VerifiedCheckpointIO()]}
    return Trainer(**(options | changes))


def board(run: Trainer) -> EventAccumulator:
    """All that a run has written for TensorBoard."""
    return EventAccumulator(str(run.log_dir), size_guidance={"images": 0, "tensors": 0, "scalars": 0}).Reload()


def trainer(folder: Path, callbacks: list[Callback], **changes: Any) -> Trainer:
    options: dict[str, Any] = {
        "max_steps": 20,
        "logger": TensorBoardLogger(str(folder / "logs"), name="run"),
        "callbacks": callbacks,
        "enable_progress_bar": any(isinstance(callback, ProgressBar) for callback in callbacks),
        "enable_checkpointing": any(isinstance(callback, Checkpoint) for callback in callbacks),
        "num_sanity_val_steps": 1,
        "log_every_n_steps": 1,
    }
    return quiet_trainer(**(options | changes))
