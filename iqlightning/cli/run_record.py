"""Writes a run's settings beside its results, and into its checkpoints."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from iqlightning.checkpoint_files import write_atomically
from iqlightning.cli.resuming import SETTINGS_KEY

__all__ = ["RunRecord"]


class RunRecord(Callback):
    """``config.yaml`` in the run's folder repeats the run; the settings in a checkpoint are compared on resuming.

    Args:
        folder: of the run.
        config: all settings, as YAML.
        settings: ``model`` and ``data``, primitives only.
    """

    def __init__(self, folder: Path, config: str, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.folder = folder
        self.config = config
        self.settings = dict(settings)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Writes ``config.yaml`` and tells the loggers."""
        if trainer.is_global_zero:
            write_atomically(self.folder / "config.yaml", self.config.encode(), what="record of the run")
        for logger in trainer.loggers:
            logger.log_hyperparams(self.settings)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds the settings."""
        checkpoint[SETTINGS_KEY] = self.settings
