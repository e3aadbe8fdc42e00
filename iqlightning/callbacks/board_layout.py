"""Arranges TensorBoard: a page of the scalars that matter first, and a table of settings with final figures."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.tensorboard.summary import hparams

from iqlightning.types import EnvConfig

__all__ = ["BoardLayout"]

#: Page of "Custom scalars": heading to chart to its curves; a band is mean, lowest and highest. The first page shows
#: the environment's own figures as well, and any callback adds what it has as its attribute ``charts``.
LAYOUT: dict[str, dict[str, list[Any]]] = {
    "1 how good": {"agreement with the expert": ["Multiline", ["val/expert_agreement"]]},
    "2 how it learns": {
        "loss": ["Multiline", ["train/loss"]],
        "gradient norm": ["Multiline", ["train/grad_norm"]],
        "learning rate": ["Multiline", ["train/learning_rate"]],
        "entropy": ["Multiline", ["train/entropy"]],
    },
    "3 what it believes": {
        "Q and V": ["Multiline", ["train/q", "train/v"]],
        "recovered reward": ["Margin", ["train/reward", "train/reward_min", "train/reward_max"]],
    },
    "4 is it learning": {"share of rewards outside phi's domain": ["Multiline", ["train/guarded"]]},
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
    "demonstrations": ("data.episodes",),
    "batch size": ("data.batch_size",),
    "noise": ("data.noise_std",),
}


class BoardLayout(Callback):
    """Writes the page when a run begins, and the settings with the final figures when it ends.

    The figures are those of the first row of the run's final table where there is one (put this callback after
    :class:`~iqlightning.callbacks.summary.FinalSummary`), else those of the last validation.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Arranges the scalars."""
        env: EnvConfig = trainer.datamodule.env  # type: ignore[attr-defined]
        layout = {page: dict(charts) for page, charts in LAYOUT.items()}
        shown = {" ".join(figure.heading.split()): figure.name for figure in env.FIGURES if figure.heading}
        layout["1 how good"] |= {title: ["Multiline", [f"val/{name}"]] for title, name in shown.items()}
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            for page, charts in getattr(callback, "charts", {}).items():
                layout.setdefault(page, {}).update(charts)
        for board in _boards(trainer):
            board.experiment.add_custom_scalars(layout)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Adds the run's line to the table."""
        if not trainer.global_step:
            return
        env: EnvConfig = trainer.datamodule.env  # type: ignore[attr-defined]
        names = [figure.name for figure in env.FIGURES]
        for board in _boards(trainer):
            final = _final_row(Path(board.log_dir), names) or {
                name: float(trainer.callback_metrics[f"val/{name}"])
                for name in names
                if f"val/{name}" in trainer.callback_metrics
            }
            settings = {"algorithm": type(pl_module).__name__, "environment": env.name} | env.facts()
            settings |= _columns(dict(_flattened(board.hparams)))
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


def _final_row(folder: Path, names: list[str]) -> dict[str, float]:
    try:
        row = json.loads((folder / "summary.json").read_text())["rows"][0]
        return {name: float(row[name]) for name in names if name in row}
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return {}


def _columns(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of the table that this run has something for."""
    values = {column: [settings[key] for key in keys if key in settings] for column, keys in COLUMNS.items()}
    return {column: given[0] for column, given in values.items() if given}


def _flattened(settings: Any, prefix: str = "") -> list[tuple[str, str | int | float | bool]]:
    """Dotted keys as on the command line to what the table can show, classes by their last name; nulls are left out."""
    if isinstance(settings, Mapping):
        pairs = []
        for key, value in settings.items():
            name = prefix if key in ("init_args", "class_path") else f"{prefix}.{key}" if prefix else str(key)
            pairs += _flattened(value, name)
        return pairs
    if settings is None or settings == []:
        return []
    if isinstance(settings, str):
        return [(prefix, settings.rpartition(".")[2] if settings.startswith(("iqlightning.", "torch.")) else settings)]
    return [(prefix, settings if isinstance(settings, (bool, int, float)) else str(settings))]
