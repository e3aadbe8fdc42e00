"""Keeps ``best.ckpt`` and ``last.ckpt``, and some of the way there."""

import shutil
from pathlib import Path
from typing import Any, Literal, cast

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor

from iqlightning.algorithms.held_out_scores import HeldOutScores
from iqlightning.algorithms.learner import Learner
from iqlightning.algorithms.lightning_internals import is_last_batch
from iqlightning.callbacks.policy_evaluation import PolicyEvaluation
from iqlightning.checkpoint_files import SNAPSHOTS, snapshots, write_checkpoint
from iqlightning.errors import UserError, unknown
from iqlightning.files import path_of, replacing

__all__ = ["BestAndLast", "run_folder"]

_NAME = "checkpoints"


def run_folder(trainer: Trainer) -> Path | None:
    """The folder of the run's files: that which holds its checkpoints, else that of the first logger.

    It asks all processes, so that each must call it. A logger of one's own may write elsewhere, or nowhere.
    """
    folder = trainer.log_dir
    kept = [
        Path(each.dirpath) for each in trainer.checkpoint_callbacks if isinstance(each, BestAndLast) and each.dirpath
    ]
    if kept and kept[0].name == _NAME:
        return kept[0].parent
    return Path(folder) if folder and trainer.loggers else None


class BestAndLast(Checkpoint):
    """After every validation and every epoch saves ``last.ckpt``; ``best.ckpt`` if the monitored figure is the best.

    ``last.ckpt`` is saved whether or not the figure has improved; the best checkpoint of the whole run is kept when the
    run is resumed into another folder; and a good file is never overwritten with weights that are not finite.
    ``updates/N.ckpt`` are some of the checkpoints in between, spread over the training, for
    ``iqlightning play`` to show it.

    Args:
        monitor: name of a logged figure, such as ``val/mean_return`` or ``val/distance_ratio``; None: best is last.
        mode: whether ``min`` or ``max`` of it is best.
        dirpath: where to; None means ``checkpoints`` in the folder of the first logger.
        snapshots: the most ``updates/N.ckpt`` that are kept at a time; 0 for none.

    Attributes:
        best_model_path: of ``best.ckpt``, once there is one.
        best_model_score: the monitored figure of it.
        last_model_path: of ``last.ckpt``, once there is one.

    Raises:
        UserError: if there is no such mode; before the first update, if validations will not log what is monitored.
    """

    def __init__(
        self,
        monitor: str | None = "val/mean_return",
        mode: Literal["min", "max"] = "max",
        dirpath: str | None = None,
        snapshots: int = 0,
    ) -> None:
        super().__init__()
        if mode not in ("min", "max"):
            raise UserError(f"mode must be min or max, not {mode!r}")
        if snapshots < 0 or snapshots == 1:
            raise UserError(f"snapshots must be 0 or at least 2, not {snapshots}")
        self.monitor, self.mode, self.snapshots = monitor, mode, snapshots
        self.dirpath = None if dirpath is None else str(path_of(dirpath))
        self.best_model_path = self.last_model_path = ""
        self.best_model_score: Tensor | None = None
        self._validated = False  # since the last save
        self._saved_at = 0  # no need to save when no updates were made

    @property
    def state_key(self) -> str:
        """What the state goes by in a checkpoint: another figure is chosen by anew."""
        # as files of earlier versions have it
        settings = {"monitor": self.monitor, "mode": self.mode, "every_n_train_steps": 0, "every_n_epochs": 1}
        return f"{type(self).__qualname__}{settings | {'train_time_interval': None}}"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Finds the folder."""
        if self.dirpath is None:
            folder = trainer.log_dir  # asks all processes
            self.dirpath = str(Path(folder or trainer.default_root_dir) / _NAME)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuses what could never choose a checkpoint, which would else be noticed after an epoch."""
        figures = _figures_of_validations(trainer, pl_module)
        if self.monitor is None or figures is None or not self.monitor.startswith("val/") or self.monitor in figures:
            return
        if _plays(trainer):
            raise _not_logged(self.monitor, figures)
        others = "".join(f", to {figure}" for figure in sorted(figures))
        raise UserError(
            f"nothing logs '{self.monitor}', by which the best checkpoint would be chosen: add the callback "
            f"PolicyEvaluation, or set checkpoint.monitor to null, which keeps the last weights{others}"
        )

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves in the middle of an epoch; at its end, :meth:`on_train_epoch_end` does."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        self._validated = True
        if not is_last_batch(trainer):
            self._save_both(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves after the epoch's validation."""
        self._save_both(trainer)

    def save_last_now(self, trainer: Trainer) -> str:
        """Saves ``last.ckpt`` at any other moment and returns its path."""
        if self._saved_at != trainer.global_step:
            self._save_last(trainer)
        return self.last_model_path

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A run that found nothing left to train has its ``last.ckpt`` all the same."""
        if trainer.global_step and not self.last_model_path and not _is_trial(trainer):
            self.save_last_now(trainer)

    def state_dict(self) -> dict[str, Any]:
        """What there is so far."""
        names = ("monitor", "dirpath", "best_model_path", "best_model_score", "last_model_path")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from the best of the resumed run, which is copied if this run writes elsewhere."""
        best = Path(state_dict["best_model_path"] or ".")
        here = state_dict.get("dirpath") == self.dirpath
        if here:
            self.last_model_path = state_dict["last_model_path"]
        elif not best.is_file():
            return
        else:
            copied = Path(self._path("best"))
            if not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0:
                with best.open("rb") as source, replacing(copied, "checkpoint") as target:
                    shutil.copyfileobj(source, target)
            best = copied
        self.best_model_path = str(best) if state_dict["best_model_path"] else ""
        self.best_model_score = state_dict["best_model_score"]

    def _save_both(self, trainer: Trainer) -> None:
        if _is_trial(trainer) or self._saved_at == trainer.global_step:
            return
        figures = trainer.callback_metrics
        # Lightning keeps the last validation's figures: an epoch without one must not be judged by them.
        validated, self._validated = self._validated, False
        if self.monitor is None:
            self._save_best(trainer, None)
        elif validated:
            if self.monitor not in figures:
                raise _not_logged(self.monitor, {name for name in figures if name.startswith("val/")})
            score = torch.as_tensor(figures[self.monitor])
            worst = torch.full_like(score, float("inf") if self.mode == "min" else -float("inf"))
            score = torch.where(score.isnan(), worst, score)
            if trainer.strategy.reduce_boolean_decision(self._at_least_as_good(score)):
                self._save_best(trainer, score)
        self._save_last(trainer)
        if self.snapshots and trainer.is_global_zero:
            self._keep_snapshot(trainer)

    def _keep_snapshot(self, trainer: Trainer) -> None:
        """Keeps what plays, and not what a run goes on from; of too many the one goes whose neighbours are closest."""
        module, folder = cast(Learner, trainer.lightning_module), Path(self.last_model_path).parent
        updates = trainer.global_step
        content = {"state_dict": module.state_dict(), "iqlightning": module.policy_record(updates)}
        write_checkpoint(content, folder / SNAPSHOTS / f"{updates}.ckpt")
        kept = snapshots(folder)
        if len(kept) > self.snapshots:
            counts = list(kept)
            gap = {now: after - before for before, now, after in zip(counts, counts[1:], counts[2:], strict=False)}
            kept[min(gap, key=lambda count: (gap[count], count))].unlink(missing_ok=True)

    def _at_least_as_good(self, score: Tensor) -> bool:
        """Of equally good weights the later ones are kept: a perfect score says nothing more, further training does."""
        if self.best_model_score is None:
            return True
        best = self.best_model_score.to(score.device)
        return bool(score <= best if self.mode == "min" else score >= best)

    def _save_best(self, trainer: Trainer, score: Tensor | None) -> None:
        self.best_model_path, self.best_model_score = self._path("best"), score
        self._save(trainer, self.best_model_path)

    def _save_last(self, trainer: Trainer) -> None:
        self.last_model_path = self._path("last")
        self._save(trainer, self.last_model_path)

    def _path(self, name: str) -> str:
        assert self.dirpath is not None
        return str(Path(self.dirpath) / f"{name}.ckpt")

    def _save(self, trainer: Trainer, path: str) -> None:
        parameters = [each.detach() for each in trainer.lightning_module.parameters() if each.is_floating_point()]
        # one number for all parameters: a norm is finite only if every part of it is
        if parameters and not torch.nn.utils.get_total_norm(parameters).isfinite():
            kept = f"; '{self.last_model_path}' has the last good ones" if Path(self.last_model_path).is_file() else ""
            raise UserError(f"the weights are no longer finite at update {trainer.global_step} and are not saved{kept}")
        trainer.save_checkpoint(path)
        self._saved_at = trainer.global_step


def _figures_of_validations(trainer: Any, module: LightningModule) -> set[str] | None:
    """What will be logged under ``val/``; None where that cannot be known, or there are no validations."""
    parts = (module, trainer.datamodule, getattr(trainer.datamodule, "env", None), *trainer.callbacks)
    ours = all(type(each).__module__.startswith(("iqlightning.", "lightning.")) for each in parts)
    if not ours or not trainer.limit_val_batches:
        return None
    held_out = getattr(trainer.datamodule, "held_out", None)
    figures = set() if held_out is None else set(HeldOutScores.FIGURES)
    return figures | {f"val/{each.name}" for each in (trainer.datamodule.env.FIGURES if _plays(trainer) else ())}


def _plays(trainer: Any) -> bool:
    return any(isinstance(each, PolicyEvaluation) for each in trainer.callbacks)


def _not_logged(monitor: str, figures: set[str]) -> UserError:
    return unknown(
        "logged figure to choose the best checkpoint by (checkpoint.monitor) called", monitor, sorted(figures)
    )


def _is_trial(trainer: Any) -> bool:
    return bool(trainer.fast_dev_run)
