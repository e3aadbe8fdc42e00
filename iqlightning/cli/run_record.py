"""Writes a run's settings and origin beside its results, and into its checkpoints."""

import json
import shlex
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from iqlightning.algorithms.lightning_internals import leave_hyperparameters_to_others
from iqlightning.cli.resuming import SETTINGS_KEY
from iqlightning.files import write_atomically
from iqlightning.provenance import MADE_KEY, provenance

__all__ = ["RunRecord"]


class RunRecord(Callback):
    """``config.yaml`` repeats the run, ``run.json`` says what made it.

    The settings in a checkpoint are compared on resuming.

    ``run.json`` has the command, versions, commit, machine, seeds, and when the run began and ended, in UTC. A
    checkpoint has the same without command and times, so that equal runs write equal files.
    """

    def __init__(self, folder: Path, config: str, settings: Mapping[str, Any], seed: object) -> None:
        super().__init__()
        self.folder = folder
        self.config = config
        self.settings = dict(settings)
        self.seed = seed
        self.made: dict[str, Any] = {}
        self._record: dict[str, Any] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Writes both files and tells the loggers."""
        seeds = {"seed_everything": self.seed, "model": pl_module.seed, "data": getattr(_data(trainer), "seed", None)}
        self.made = provenance() | {"seeds": seeds, "processes": trainer.world_size}
        if trainer.is_global_zero:
            write_atomically(self.folder / "config.yaml", self.config.encode(), what="record of the run")
            command = shlex.join(["python", "-m", "iqlightning", *sys.argv[1:]])
            self._record = {"command": command, **self.made, "begun": _now(), "ended": None, "updates": None}
            self._write()
        for logger in trainer.loggers:
            logger.log_hyperparams(self.settings)
        leave_hyperparameters_to_others(pl_module)  # they are among the settings

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Adds when it ended, and after how many updates."""
        if trainer.is_global_zero and self._record:
            self._record |= {"ended": _now(), "updates": trainer.global_step}
            self._write()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds settings and origin."""
        checkpoint[SETTINGS_KEY] = self.settings
        checkpoint[MADE_KEY] = self.made

    def _write(self) -> None:
        text = json.dumps(self._record, indent=2) + "\n"
        write_atomically(self.folder / "run.json", text.encode(), what="record of the run")


def _data(trainer: Trainer) -> object:
    return trainer.datamodule  # type: ignore[attr-defined]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
