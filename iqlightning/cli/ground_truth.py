"""``evaluate --truth``, ``--transfer``, ``--demonstrations``: is the recovered reward right? Numbers and tables.

The first two solve GridWorld exactly; the third compares with recorded rewards, in any environment.
"""

import dataclasses
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from iqlightning.data.demonstrations import check_fits, load_demonstrations
from iqlightning.errors import UserError
from iqlightning.evaluation.recorded_rewards import recorded_reward_metrics
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.evaluation.reward_transfer import transfer_metrics
from iqlightning.gridworld.evaluation.truth import truth_metrics
from iqlightning.gridworld.evaluation.value_maps import value_maps
from iqlightning.gridworld.game.layouts import Layouts, draw_layouts
from iqlightning.types import EnvConfig, Trajectories

__all__ = [
    "recorded_demonstrations",
    "recorded_figures",
    "recorded_table",
    "require_solvable",
    "transfer_figures",
    "transfer_table",
    "truth_figures",
    "truth_table",
]

# each figure takes linear solves over all cells, their number cubed
_MOST_CELLS = 1024

_TRUTH_LABELS = {
    "policy_agreement": ("greedy moves on a shortest path", "1"),
    "regret": ("regret of the greedy policy (discounted return lost)", "0"),
    "occupancy_divergence": ("occupancy divergence (total variation)", "0"),
    "reward_pearson": ("reward: Pearson correlation, all moves", "1"),
    "reward_spearman": ("reward: Spearman correlation, all moves", "1"),
    "reward_pearson_visited": ("reward: Pearson correlation, the expert's moves", "1"),
    "reward_epic": ("reward: EPIC distance", "0"),
    "reward_shaping_free": ("reward: distance up to shaping", "0"),
    "q_error": ("mean |Q - Q*|", "0"),
    "v_error": ("mean |V - V*|", "0"),
}

_TRANSFER_LABELS = {
    "same": "same grids",
    "slippery": "slippery moves",
    "other_walls": "other walls",
    "other_walls_slippery": "both",
}


def truth_figures(policy: Any, env: EnvConfig, grids: int, seed: int, device: torch.device) -> dict[str, float]:
    """:func:`~iqlightning.gridworld.evaluation.truth.truth_metrics` on ``grids`` unseen grids, and their number."""
    layouts = _layouts(require_solvable(env, "--truth"), grids, seed)
    return truth_metrics(value_maps(policy, layouts, device=device)) | {"grids": grids}


def transfer_figures(
    policy: Any, env: EnvConfig, grids: int, seed: int, slip: float, device: torch.device
) -> dict[str, Any]:
    """``transfer_metrics`` on unseen grids, and what was changed."""
    grid = require_solvable(env, "--transfer")
    layouts = _layouts(grid, grids, seed)
    # the fixed arrangement has no other walls of its own
    varied = grid if grid.random_walls else dataclasses.replace(grid, level="random_walls")
    others = _layouts(varied, grids, seed + 1)
    found: dict[str, Any] = {"grids": grids, "slip": slip, "gamma": policy.gamma}
    return found | {"settings": transfer_metrics(policy, layouts, others, slip=slip, device=device)}


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
    return {"path": path} | recorded_reward_metrics(policy, trajectories, device)


def recorded_table(figures: dict[str, Any]) -> Table:
    """Figures of :func:`recorded_figures`."""
    table = Table(title=f"recovered reward beside those recorded in {Path(figures['path']).name}", title_justify="left")
    for heading in ("over", "number", "Pearson", "Spearman"):
        table.add_column(heading, justify="left" if heading == "over" else "right")
    for label, number, name in (
        ("distinct transitions", "transitions", "transition"),
        ("episodes (returns)", "episodes", "return"),
    ):
        cells = (figures[f"{name}_{kind}"] for kind in ("pearson", "spearman"))
        table.add_row(label, f"{figures[number]:,}", *("none" if cell != cell else f"{cell:.3f}" for cell in cells))
    return table


def truth_table(figures: dict[str, float]) -> Table:
    """Figures of :func:`truth_figures` beside what the exact solution would have."""
    table = Table(title=f"against the exact solution of {int(figures['grids']):,} grids", title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("exact", justify="right")
    for name, (label, exact) in _TRUTH_LABELS.items():
        table.add_row(label, f"{figures[name]:.3f}", exact)
    return table


def transfer_table(figures: dict[str, Any]) -> Table:
    """Figures of :func:`transfer_figures`."""
    title = f"return reached with the recovered reward alone (discount {figures['gamma']:g}), planned anew"
    table = Table(title=title, title_justify="left", pad_edge=False, collapse_padding=True)
    table.caption = (
        f"a slippery move goes astray with probability {figures['slip']:g}; share: of the way from random moves to the "
        "plan for the true reward"
    )
    table.caption_justify = "left"
    table.add_column("on")
    columns = {
        "reached": "r(s, a)",
        "transition_reached": "r(s, a, s')",
        "best": "true\nreward",
        "uniform": "random\nmoves",
        "share": "share by\nr(s, a)",
        "transition_share": "share by\nr(s, a, s')",
    }
    for heading in columns.values():
        table.add_column(heading, justify="right")
    for setting, label in _TRANSFER_LABELS.items():
        found = figures["settings"][setting]
        cells = (f"{found[name]:.1%}" if "share" in name else f"{found[name]:.2f}" for name in columns)
        table.add_row(label, *cells)
    return table


def require_solvable(env: EnvConfig, option: str) -> GridWorldConfig:
    """The environment, if it can be solved exactly.

    Raises:
        UserError: if it is no GridWorld or a large one, naming the option that asked for it.
    """
    if not isinstance(env, GridWorldConfig):
        raise UserError(f"{option} needs an environment that can be solved exactly: GridWorld, not '{env.name}'")
    if env.num_cells > _MOST_CELLS:
        raise UserError(
            f"{option} solves grids of at most {_MOST_CELLS:,} cells exactly, not of {env.height}x{env.width}; "
            "give a smaller --height and --width"
        )
    return env


def _layouts(env: GridWorldConfig, grids: int, seed: int) -> Layouts:
    return draw_layouts(env, torch.full((grids,), seed), torch.arange(grids), split="test")
