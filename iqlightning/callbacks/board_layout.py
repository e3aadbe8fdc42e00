"""Arranges TensorBoard: a page of the scalars that matter first, and a table of settings with final figures."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.tensorboard.summary import hparams

__all__ = ["BoardLayout"]

#: Page of "Custom scalars": heading to chart to its curves; a band is mean, lowest and highest.
LAYOUT: dict[str, dict[str, list[Any]]] = {
    "1 how good": {
        "success rate": ["Multiline", ["val/success_rate"]],
        "distance ratio": ["Multiline", ["val/distance_ratio"]],
        "mean return": ["Multiline", ["val/mean_return"]],
        "agreement with the expert": ["Multiline", ["val/expert_agreement"]],
    },
    "2 how it learns": {
        "loss": ["Multiline", ["train/loss"]],
        "gradient norm": ["Multiline", ["train/grad_norm"]],
        "learning rate": ["Multiline", ["train/learning_rate"]],
        "entropy": ["Multiline", ["train/entropy"]],
    },
    "3 what it believes": {
        "Q and V": ["Multiline", ["train/q", "train/v"]],
        "recovered reward": ["Margin", ["train/reward", "train/reward_min", "train/reward_max"]],
        "reward against the truth": ["Multiline", ["truth/reward_pearson", "truth/reward_spearman"]],
        "distances from the true reward": ["Multiline", ["truth/reward_epic", "truth/reward_shaping_free"]],
        "regret": ["Multiline", ["truth/regret"]],
    },
    "4 is it learning": {
        "held-out likelihood": ["Multiline", ["stability/log_likelihood"]],
        "V - Q at the expert's action": ["Multiline", ["stability/gap"]],
        "Bellman residual": ["Multiline", ["stability/residual"]],
        "share of rewards outside phi's domain": ["Multiline", ["train/guarded"]],
        "warnings": ["Multiline", ["stability/warnings"]],
    },
}

#: Column of the table to the settings it is taken from; all others are in the run's config.yaml.
COLUMNS = {
    "encoder": ("model.encoder",),
    "divergence": ("model.divergence",),
    "value term": ("model.value_term",),
    "gamma": ("model.gamma",),
    "temperature": ("model.value.temperature", "model.temperature"),
    "learning rate": ("model.optimizer.lr",),
    "seed": ("model.seed", "data.seed"),
    "level": ("data.env.level", "data.env.id"),
    "height": ("data.env.height",),
    "width": ("data.env.width",),
    "demonstrations": ("data.episodes",),
    "batch size": ("data.batch_size",),
    "noise": ("data.noise_std",),
}

_FINAL = ("success_rate", "distance_ratio", "manhattan_ratio", "spl", "mean_return", "mean_length")


class BoardLayout(Callback):
    """Writes the page when a run begins, and the settings with the final figures when it ends.

    The figures are those of the first row of the run's final table where there is one (put this callback after
    :class:`~iqlightning.callbacks.summary.FinalSummary`), else those of the last validation.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Arranges the scalars."""
        for board in _boards(trainer):
            board.experiment.add_custom_scalars(LAYOUT)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Adds the run's line to the table."""
        if not trainer.global_step:
            return
        for board in _boards(trainer):
            final = _final_row(Path(board.log_dir)) or {
                name: float(trainer.callback_metrics[f"val/{name}"])
                for name in _FINAL
                if f"val/{name}" in trainer.callback_metrics
            }
            settings = {"algorithm": type(pl_module).__name__} | _listed(dict(_plain(board.hparams)))
            if final:
                writer = board.experiment._get_file_writer()
                for part in hparams(settings, {f"final/{name}": value for name, value in final.items()}):
                    writer.add_summary(part)
                for name, value in final.items():
                    board.experiment.add_scalar(f"final/{name}", value, trainer.global_step)


def _boards(trainer: Trainer) -> list[TensorBoardLogger]:
    if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
        return []
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def _final_row(folder: Path) -> dict[str, float]:
    try:
        row = json.loads((folder / "summary.json").read_text())["rows"][0]
        return {name: float(row[name]) for name in _FINAL if name in row}
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return {}


def _listed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of the table that this run has something for."""
    found = {column: [settings[key] for key in keys if key in settings] for column, keys in COLUMNS.items()}
    return {column: values[0] for column, values in found.items() if values}


def _plain(settings: Any, prefix: str = "") -> list[tuple[str, str | int | float | bool]]:
    """Dotted keys as on the command line to what the table can show, classes by their last name; nulls are left out."""
    if isinstance(settings, Mapping):
        pairs = []
        for key, value in settings.items():
            name = prefix if key in ("init_args", "class_path") else f"{prefix}.{key}" if prefix else str(key)
            pairs += _plain(value, name)
        return pairs
    if settings is None or settings == []:
        return []
    if isinstance(settings, str):
        return [(prefix, settings.rpartition(".")[2] if settings.startswith(("iqlightning.", "torch.")) else settings)]
    return [(prefix, settings if isinstance(settings, (bool, int, float)) else str(settings))]
