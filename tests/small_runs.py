"""Runs small enough for a test: a 4x4 grid, a tiny network, a few updates."""

from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Checkpoint, ProgressBar
from lightning.pytorch.loggers import TensorBoardLogger

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


def trainer(folder: Path, callbacks: list[Callback], **changes: Any) -> Trainer:
    options: dict[str, Any] = {
        "accelerator": "cpu",
        "max_steps": 20,
        "max_epochs": -1,
        "logger": TensorBoardLogger(str(folder / "logs"), name="run"),
        "callbacks": callbacks,
        "plugins": [VerifiedCheckpointIO()],
        "enable_progress_bar": any(isinstance(callback, ProgressBar) for callback in callbacks),
        "enable_checkpointing": any(isinstance(callback, Checkpoint) for callback in callbacks),
        "enable_model_summary": False,
        "num_sanity_val_steps": 1,
        "log_every_n_steps": 1,
    }
    return Trainer(**(options | changes))
