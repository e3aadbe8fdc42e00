"""``evaluate --truth`` and ``--transfer``: is the recovered reward right? GridWorld is solved exactly to know."""

import dataclasses
from typing import Any

import torch
from rich.table import Table

from iqlightning.cli.gridworld_options import require_gridworld
from iqlightning.errors import UserError
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.evaluation.reward_transfer import transfer_metrics
from iqlightning.gridworld.evaluation.truth import TRUTH_FIGURES, truth_metrics
from iqlightning.gridworld.evaluation.value_maps import value_maps
from iqlightning.gridworld.game.layouts import Layouts, draw_layouts
from iqlightning.types import EnvConfig

__all__ = [
    "require_solvable",
    "transfer_figures",
    "transfer_table",
    "truth_figures",
    "truth_table",
]

# each figure takes linear solves over all cells, their number cubed
_MOST_CELLS = 1024

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
    changed: dict[str, Any] = {"grids": grids, "slip": slip, "gamma": policy.gamma}
    return changed | {"settings": transfer_metrics(policy, layouts, others, slip=slip, device=device)}


def truth_table(figures: dict[str, float]) -> Table:
    """Figures of :func:`truth_figures` beside what the exact solution would have."""
    table = Table(title=f"against the exact solution of {int(figures['grids']):,} grids", title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("exact", justify="right")
    for each in TRUTH_FIGURES:
        exact = each.limits[each.better == "high"]
        table.add_row(each.label, f"{figures[each.name]:{each.form}}", f"{exact:g}")
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
        reached = figures["settings"][setting]
        cells = (f"{reached[name]:.1%}" if "share" in name else f"{reached[name]:.2f}" for name in columns)
        table.add_row(label, *cells)
    return table


def require_solvable(env: EnvConfig, option: str) -> GridWorldConfig:
    """The environment, if it can be solved exactly.

    Raises:
        UserError: if it is no GridWorld or a large one, naming the option that asked for it.
    """
    sentence = f"{option} needs an environment that can be solved exactly: GridWorld, not '{env.name}'"
    grid = require_gridworld(env, sentence)
    if grid.num_cells > _MOST_CELLS:
        raise UserError(
            f"{option} solves grids of at most {_MOST_CELLS:,} cells exactly, not of {grid.height}x{grid.width}; "
            "give a smaller --height and --width"
        )
    return grid


def _layouts(env: GridWorldConfig, grids: int, seed: int) -> Layouts:
    return draw_layouts(env, torch.full((grids,), seed), torch.arange(grids), split="test")
