"""Keeps ``best.ckpt`` and ``last.ckpt``."""

from pathlib import Path
from typing import Any, Literal

import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from iqlightning.checkpoint_files import write_atomically
from iqlightning.errors import UserError, unknown

__all__ = ["BestAndLast"]


class BestAndLast(ModelCheckpoint):
    """At the end of every epoch saves ``last.ckpt``, and ``best.ckpt`` if the monitored figure is the best so far.

    Unlike its base it saves ``last.ckpt`` whether or not the figure has improved; it keeps the best checkpoint of the
    whole run when the run is resumed into another folder; and it refuses to overwrite a good file with weights that are
    not finite.

    Args:
        monitor: name of a logged figure, such as ``val/distance_ratio`` or ``val/mean_return``; None: best is last.
        mode: whether ``min`` or ``max`` of it is best.
        dirpath: where to; None means ``checkpoints`` in the folder of the first logger.
    """

    def __init__(
        self,
        monitor: str | None = "val/distance_ratio",
        mode: Literal["min", "max"] = "min",
        dirpath: str | None = None,
    ) -> None:
        super().__init__(
            dirpath=dirpath,
            filename="best",
            monitor=monitor,
            mode=mode,
            save_top_k=1,
            save_last=True,
            auto_insert_metric_name=False,
            enable_version_counter=False,
            save_on_train_epoch_end=True,
        )
        self._validated = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes that the monitored figure is of the present weights."""
        super().on_validation_end(trainer, pl_module)
        self._validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves after the epoch's validation."""
        if self._should_skip_saving_checkpoint(trainer):
            return
        figures = self._monitor_candidates(trainer)
        # Lightning keeps the last validation's figures: an epoch without one must not be judged by them.
        validated, self._validated = self._validated, False
        if self.monitor is None or (validated and self.monitor in figures):
            self._save_topk_checkpoint(trainer, figures)
        elif validated:
            logged = sorted(name for name in figures if name.startswith("val/"))
            raise unknown(
                "logged figure to choose the best checkpoint by (checkpoint.monitor) called", self.monitor, logged
            )
        self._save_last_checkpoint(trainer, figures)

    def check_monitor_top_k(self, trainer: Trainer, current: torch.Tensor | None = None) -> bool:
        """Of equally good weights the later ones are kept: a perfect score says nothing more, further training does."""
        if current is None or not self.best_k_models:
            return super().check_monitor_top_k(trainer, current)
        best = self.best_k_models[self.kth_best_model_path]
        at_least = current <= best if self.mode == "min" else current >= best
        return trainer.strategy.reduce_boolean_decision(bool(at_least))

    def save_last_now(self, trainer: Trainer) -> str:
        """Saves ``last.ckpt`` in the middle of an epoch and returns its path."""
        if self._last_global_step_saved != trainer.global_step:
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))
        return self.last_model_path

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A run that found nothing left to train has its ``last.ckpt`` all the same."""
        super().on_fit_end(trainer, pl_module)
        if trainer.global_step and not self.last_model_path and not self._should_skip_saving_checkpoint(trainer):
            self.save_last_now(trainer)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from the best of the resumed run, which is copied if this run writes elsewhere."""
        if state_dict.get("dirpath") == self.dirpath:
            super().load_state_dict(state_dict)
            return
        best = Path(state_dict["best_model_path"] or ".")
        if not best.is_file():
            return
        assert self.dirpath is not None
        copied = Path(self.dirpath) / best.name
        if getattr(rank_zero_only, "rank", 0) == 0:
            write_atomically(copied, best.read_bytes(), what="checkpoint")
        score = state_dict["best_model_score"]
        moved = {
            "dirpath": self.dirpath,
            "best_model_path": str(copied),
            "kth_best_model_path": str(copied),
            "best_k_models": {} if score is None else {str(copied): score},
            "last_model_path": "",
        }
        super().load_state_dict(state_dict | moved)

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        parameters = [each.detach() for each in trainer.lightning_module.parameters() if each.is_floating_point()]
        # one number for all parameters: a norm is finite only if every part of it is
        if parameters and not torch.nn.utils.get_total_norm(parameters).isfinite():
            kept = f"; '{self.last_model_path}' has the last good ones" if self.last_model_path else ""
            raise UserError(f"the weights are no longer finite at update {trainer.global_step} and are not saved{kept}")
        super()._save_checkpoint(trainer, filepath)
