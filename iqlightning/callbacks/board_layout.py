"""Arranges TensorBoard: what matters first, with descriptions, and a table of settings with final figures."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.tensorboard.summary import hparams

from iqlightning.agents.soft_actor_critic import SoftActorCritic
from iqlightning.callbacks.best_and_last import run_folder
from iqlightning.callbacks.event_logger import EventLogger, tag_of
from iqlightning.documents import read_json
from iqlightning.errors import UserError
from iqlightning.types import EnvConfig

__all__ = ["BoardLayout"]

# bytes of a final table that are read
_LARGEST_SUMMARY = 16 << 20

#: Page of "Custom scalars", and group of "Time series", to chart to its curves; a band is mean, lowest and highest.
#: The first page shows the environment's own figures as well, and any callback adds what it has as its attribute
#: ``charts``, what it draws, with descriptions, as ``board_pictures``, and what is said of its figures as
#: ``board_descriptions``.
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
    "4 is it stable": {
        "held-out likelihood": ["Multiline", ["val/log_likelihood"]],
        "share of rewards outside phi's domain": ["Multiline", ["train/guarded"]],
    },
}

#: What is said of a figure.
DESCRIPTIONS = {
    "train/loss": "The objective, mean over the updates since the last point.",
    "train/grad_norm": "Euclidean norm of the gradient, before it is clipped.",
    "train/learning_rate": "Of the first optimizer, after the schedule.",
    "train/entropy": "Mean entropy of softmax(Q / temperature) in the states of a batch, in nats.",
    "train/q": "Mean Q(s, a) of a batch: of the expert's moves, where there are demonstrations.",
    "train/v": "Mean V(s) of the same states.",
    "train/v_minus_q": "Mean V(s) - Q(s, a) of the same moves: falls towards 0 as the policy learns to make them.",
    "train/reward": "Mean recovered reward Q(s, a) - gamma V(s') of the same moves.",
    "train/reward_min": "The lowest recovered reward of a batch.",
    "train/reward_max": "The highest recovered reward of a batch.",
    "train/guarded": "Share of rewards outside the domain of phi; far from 0, another objective is optimised.",
    "train/policy_q": "Mean Q(s, a) of the policy's own moves.",
    "train/q_share": "Mean |Q| against the largest that the penalty allows; above 1 is an early sign of divergence.",
    "train/clipped_targets": "Share of targets that were clipped to the bound of Q.",
    "train/actor_entropy": "Entropy of the actor's distribution.",
    "train/actor_saturation": "Share of actions at the bounds of the action space; near 1 the actor is stuck.",
    "val/log_likelihood": "Mean log pi(a | s) of demonstrations that are not trained on; higher is better.",
    "val/expert_agreement": "Share of held-out demonstrated moves that the policy would make as well.",
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
    """Arranges figures and pictures when a run begins; writes the settings with the final figures when it ends.

    The table has the last validation's figures as its metrics, and beside the settings, as ``test ...``, those of the
    first row of the run's final table where there is one (put this callback after
    :class:`~iqlightning.callbacks.summary.FinalSummary`). A scalar of one point each would only hide the curves.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Arranges figures and pictures."""
        env: EnvConfig = trainer.datamodule.env  # type: ignore[attr-defined]
        layout = {page: dict(charts) for page, charts in LAYOUT.items()}
        shown = {" ".join(figure.heading.split()): figure.name for figure in env.FIGURES if figure.heading}
        layout["1 how good"] |= {title: ["Multiline", [f"val/{name}"]] for title, name in shown.items()}
        descriptions = DESCRIPTIONS | {f"val/{each.name}": _sentence(each.label) for each in env.FIGURES}
        pictures: dict[str, str] = {}
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            for page, charts in getattr(callback, "charts", {}).items():
                layout.setdefault(page, {}).update(charts)
            for page, drawn in getattr(callback, "board_pictures", {}).items():
                pictures |= dict.fromkeys(drawn, page)
                descriptions |= drawn
            descriptions |= getattr(callback, "board_descriptions", {})
        groups = {name: page for page, charts in layout.items() for _, names in charts.values() for name in names}
        never = _never_logged(pl_module)
        layout = {
            page: {title: each for title, each in charts.items() if not never.issuperset(each[1])}
            for page, charts in layout.items()
        }
        for board in _boards(trainer):
            if isinstance(board, EventLogger):
                board.arrange(groups | pictures, descriptions)
            board.experiment.add_custom_scalars(
                {
                    page: {
                        title: [kind, [tag_of(board, name) for name in names]]
                        for title, (kind, names) in charts.items()
                    }
                    for page, charts in layout.items()
                    if charts
                }
            )

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Adds the run's line to the table."""
        folder = run_folder(trainer)  # asks all processes
        if not trainer.global_step:
            return
        env: EnvConfig = trainer.datamodule.env  # type: ignore[attr-defined]
        names = [figure.name for figure in env.FIGURES]
        figures = trainer.callback_metrics
        for board in _boards(trainer):
            # the table reads a metric from the last point of its curve
            curves = {name: float(figures[f"val/{name}"]) for name in names if f"val/{name}" in figures}
            final = _final_row(folder or Path(board.log_dir), names)
            settings = {"algorithm": type(pl_module).__name__, "environment": env.name} | env.facts()
            settings |= _columns(dict(_flattened(board.hparams))) | {
                f"test {name}": each for name, each in final.items()
            }
            if curves or final:
                writer = board.experiment._get_file_writer()
                for part in hparams(settings, {tag_of(board, f"val/{name}"): each for name, each in curves.items()}):
                    writer.add_summary(part)


def _never_logged(module: Any) -> set[str]:
    """Figures that this algorithm and agent have nothing for, whose charts would stay empty."""
    never = set()
    if not isinstance(getattr(module, "agent", None), SoftActorCritic):
        never |= {"train/actor_entropy", "train/actor_saturation"}
    if getattr(module, "q_bound", None) is None:
        never |= {"train/q_share", "train/clipped_targets"}
    divergence = getattr(getattr(module, "inverse_soft_q", None), "divergence", None)
    if divergence is None or not any(map(math.isfinite, divergence.domain)):
        never.add("train/guarded")
    return never


def _boards(trainer: Trainer) -> list[TensorBoardLogger]:
    if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
        return []
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def _final_row(folder: Path, names: list[str]) -> dict[str, float]:
    try:
        row = read_json(folder / "summary.json", _LARGEST_SUMMARY)["rows"][0]
        return {name: float(row[name]) for name in names if name in row}
    except (OSError, UserError, ValueError, KeyError, IndexError, TypeError, OverflowError):
        return {}


def _sentence(label: str) -> str:
    return f"{label[:1].upper()}{label[1:]}, on episodes of the validation split."


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
