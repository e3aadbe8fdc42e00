"""What ``evaluate`` can say of GridWorld beyond how well it is played: failures, the exact truth, transfer."""

import argparse
import dataclasses
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.table import Table

from iqlightning.cli.gridworld_options import add_gridworld_options, require_gridworld
from iqlightning.cli.options import Options, below_one, positive
from iqlightning.errors import UserError
from iqlightning.evaluation.tables import new_table
from iqlightning.files import write_atomically
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.evaluation.failures import clearest, count_kinds, explain_failures, q_along
from iqlightning.gridworld.evaluation.play import evaluate_gridworld
from iqlightning.gridworld.evaluation.reward_transfer import transfer_metrics
from iqlightning.gridworld.evaluation.success_profile import success_profiles
from iqlightning.gridworld.evaluation.truth import TRUTH_FIGURES, truth_metrics
from iqlightning.gridworld.evaluation.value_maps import value_maps
from iqlightning.gridworld.game.layouts import Layouts, draw_layouts
from iqlightning.types import EnvConfig

__all__ = ["Analysis", "add_gridworld_analyses", "gridworld_analyses", "require_gridworld_analyses"]

_DEFAULT_SLIP = 0.2

# each figure of the exact solution takes linear solves over all cells, their number cubed
_MOST_CELLS = 1024

_TRANSFER_LABELS = {
    "same": "same grids",
    "slippery": "slippery moves",
    "other_walls": "other walls",
    "other_walls_slippery": "both",
}


class Analysis(NamedTuple):
    """What else was found out about a policy.

    Attributes:
        name: of its figures in the file of results.
        figures: primitives only.
        table: of them.
    """

    name: str
    figures: dict[str, Any]
    table: Table


def add_gridworld_analyses(options: Options) -> None:
    """Adds ``--truth``, ``--transfer``, ``--slip``, ``--failures``, and the options of the grids."""
    exact: dict[str, Any] = {"metavar": "GRIDS", "type": positive, "nargs": "?", "const": 64, "default": None}
    options.add_argument("--truth", help="compare Q, policy and reward with the exact solution of 64 grids", **exact)
    options.add_argument("--transfer", help="plan anew with the recovered reward alone, also on changed grids", **exact)
    options.add_argument(
        "--slip",
        type=below_one,
        default=None,
        help=f"probability that a move of --transfer slips; None: {_DEFAULT_SLIP}",
    )
    drawn = "draw which grids fail and why; count them"
    options.add_output("--failures", what="picture", metavar="PNG", default=None, help=drawn)
    add_gridworld_options(options, instead_of="as in training")


def require_gridworld_analyses(given: argparse.Namespace, env: EnvConfig) -> None:
    """Before anything is played.

    Raises:
        UserError: if what is asked for cannot be had of this environment.
    """
    for option, grids in (("--truth", given.truth), ("--transfer", given.transfer)):
        if grids is not None:
            sentence = f"{option} needs an environment that can be solved exactly: GridWorld, not '{env.name}'"
            grid = require_gridworld(env, sentence)
            if grid.num_cells > _MOST_CELLS:
                raise UserError(
                    f"{option} solves grids of at most {_MOST_CELLS:,} cells exactly, not of {grid.height}x"
                    f"{grid.width}; give a smaller --height and --width"
                )
    if given.failures is not None:
        require_gridworld(env, f"--failures explains failures on GridWorld only, and this environment is '{env.name}'")
        if given.sample:
            raise UserError("--failures explains what a greedy policy does: leave out --sample")
        if Path(given.failures).suffix.lower() != ".png":
            raise UserError(f"--failures writes a picture, a file that ends in .png, not '{given.failures}'")
    if given.slip is not None and given.transfer is None:
        raise UserError("--slip is how often a move of --transfer slips: give --transfer as well")


def gridworld_analyses(
    given: argparse.Namespace, policy: Any, env: EnvConfig, device: torch.device, mark: str
) -> Iterator[Analysis]:
    """Those that are asked for, one after the other; :func:`require_gridworld_analyses` has let them pass.

    Pictures bear the mark of the command.
    """
    if not isinstance(env, GridWorldConfig):
        return
    if given.failures is not None:
        failures = _failures(policy, env, given.episodes, given.seed, given.failures, device, mark)
        yield Analysis("failures", failures, _failure_table(failures, given.episodes))
    if given.truth is not None:
        maps = value_maps(policy, _layouts(env, given.truth, given.seed), device=device)
        truth = truth_metrics(maps) | {"grids": given.truth}
        yield Analysis("truth", truth, _truth_table(truth))
    if given.transfer is not None:
        slip = _DEFAULT_SLIP if given.slip is None else given.slip
        layouts = _layouts(env, given.transfer, given.seed)
        # the fixed arrangement has no other walls of its own
        varied = env if env.random_walls else dataclasses.replace(env, level="random_walls")
        others = _layouts(varied, given.transfer, given.seed + 1)
        transfer: dict[str, Any] = {"grids": given.transfer, "slip": slip, "gamma": policy.gamma}
        transfer["settings"] = transfer_metrics(policy, layouts, others, slip=slip, device=device)
        yield Analysis("transfer", transfer, _transfer_table(transfer))


def _layouts(env: GridWorldConfig, grids: int, seed: int) -> Layouts:
    return draw_layouts(env, torch.full((grids,), seed), torch.arange(grids), split="test")


def _failures(
    policy: Any, env: GridWorldConfig, episodes: int, seed: int, picture: str, device: torch.device, mark: str
) -> dict[str, Any]:
    """Plays the grids of the evaluation again, remembering paths, draws the clearest failures, and counts.

    Returns:
        ``kinds``: kind to number, the most frequent first; ``by``: quantity to its ranges with success rate and number.
    """
    # matplotlib is slow to import, and is needed for this option alone
    import numpy as np
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    from iqlightning.gridworld.evaluation.policy_figures import failure_panel
    from iqlightning.gridworld.evaluation.success_figures import success_panel

    results = evaluate_gridworld(policy, env, episodes, seed, split="test", device=device, record_paths=True)
    failures = explain_failures(results, policy)
    profiles = success_profiles(results)
    panels = [success_panel(profiles, f"{len(failures):,} of {episodes:,} grids fail")]
    if examples := clearest(failures, 2)[:6]:
        panels.append(failure_panel(results, examples, [q_along(policy, results.layouts, each) for each in examples]))
    width = max(panel.shape[1] for panel in panels)
    whole = np.concatenate(
        [np.pad(each, ((0, 0), (0, width - each.shape[1]), (0, 0)), constant_values=255) for each in panels]
    )
    buffer = io.BytesIO()
    facts = PngInfo()
    facts.add_text("Software", mark)
    Image.fromarray(whole).save(buffer, "PNG", pnginfo=facts)
    write_atomically(picture, buffer.getvalue(), what="picture")
    return {
        "kinds": {kind.value: count for kind, count in count_kinds(failures).items()},
        "by": {
            name: [
                {"from": low, "to": high, "success_rate": rate, "episodes": number}
                for low, high, rate, number in zip(
                    *(each.tolist() for each in (profile.lowest, profile.highest, profile.rate, profile.episodes)),
                    strict=True,
                )
            ]
            for name, profile in profiles.items()
        },
    }


def _failure_table(figures: dict[str, Any], episodes: int) -> Table:
    """How often each kind occurs."""
    table = new_table("why grids fail", "kind", "grids", "of all")
    for kind, count in figures["kinds"].items() or [("none fails", 0)]:
        table.add_row(kind, f"{count:,}", f"{count / episodes:.2%}")
    return table


def _truth_table(figures: dict[str, float]) -> Table:
    """Figures beside what the exact solution would have."""
    table = new_table(f"against the exact solution of {int(figures['grids']):,} grids", "figure", "value", "exact")
    for each in TRUTH_FIGURES:
        exact = each.limits[each.better == "high"]
        table.add_row(each.label, f"{figures[each.name]:{each.form}}", f"{exact:g}")
    return table


def _transfer_table(figures: dict[str, Any]) -> Table:
    """Returns of the plans, in each setting."""
    title = f"return reached with the recovered reward alone (discount {figures['gamma']:g}), planned anew"
    caption = (
        f"a slippery move goes astray with probability {figures['slip']:g}; share: of the way from random moves to the "
        "plan for the true reward"
    )
    columns = {
        "reached": "r(s, a)",
        "transition_reached": "r(s, a, s')",
        "best": "true\nreward",
        "uniform": "random\nmoves",
        "share": "share by\nr(s, a)",
        "transition_share": "share by\nr(s, a, s')",
    }
    table = new_table(title, "on", *columns.values(), caption=caption)
    for setting, label in _TRANSFER_LABELS.items():
        reached = figures["settings"][setting]
        cells = (f"{reached[name]:.1%}" if "share" in name else f"{reached[name]:.2f}" for name in columns)
        table.add_row(label, *cells)
    return table
