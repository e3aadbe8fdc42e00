"""``evaluate --demonstrations``: the recovered reward beside those that demonstrations recorded, in any environment."""

from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from iqlightning.data.demonstrations import check_fits, load_demonstrations
from iqlightning.evaluation.recorded_rewards import recorded_reward_metrics
from iqlightning.evaluation.tables import new_table
from iqlightning.types import EnvConfig, Trajectories

__all__ = ["recorded_demonstrations", "recorded_figures", "recorded_table"]


def recorded_demonstrations(env: EnvConfig, path: str) -> Trajectories:
    """A demonstrations file of the environment, before anything is played.

    Raises:
        UserError: if it cannot be read or does not fit.
    """
    trajectories, _ = load_demonstrations(path)
    check_fits(path, trajectories, env)
    return trajectories


def recorded_figures(policy: Any, trajectories: Trajectories, path: str, device: torch.device) -> dict[str, Any]:
    """:func:`~iqlightning.evaluation.recorded_rewards.recorded_reward_metrics` on what is in a file."""
    # an actor's V is a mean over draws from torch's generator; seeded here and given back after, so that it repeats
    with torch.random.fork_rng(devices=[] if device.type == "cpu" else None):
        torch.manual_seed(0)
        return {"path": path} | recorded_reward_metrics(policy, trajectories, device)


def recorded_table(figures: dict[str, Any]) -> Table:
    """Figures of :func:`recorded_figures`."""
    title = f"recovered reward beside those recorded in {Path(figures['path']).name}"
    table = new_table(title, "over", "number", "Pearson", "Spearman")
    for label, number, name in (
        ("distinct transitions", "transitions", "transition"),
        ("episodes (returns)", "episodes", "return"),
    ):
        cells = (figures[f"{name}_{kind}"] for kind in ("pearson", "spearman"))
        table.add_row(label, f"{figures[number]:,}", *("none" if cell != cell else f"{cell:.3f}" for cell in cells))
    return table
