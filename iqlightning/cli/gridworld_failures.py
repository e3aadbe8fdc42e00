"""``evaluate --failures FILE.png``: which grids fail and why, counted, drawn, and against distance and walls."""

import io
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from iqlightning.checkpoint_files import write_atomically
from iqlightning.cli.gridworld_options import require_gridworld
from iqlightning.errors import UserError
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.evaluation.failures import clearest, count_kinds, explain_failures, q_along
from iqlightning.gridworld.evaluation.play import evaluate_gridworld
from iqlightning.gridworld.evaluation.success_profile import success_profiles
from iqlightning.types import EnvConfig

__all__ = ["failure_figures", "failure_table", "require_explainable"]


def require_explainable(env: EnvConfig, picture: str, *, sampled: bool) -> GridWorldConfig:
    """The environment, before anything is played.

    Raises:
        UserError: if failures cannot be explained, or the picture would be of another kind.
    """
    sentence = f"--failures explains failures on GridWorld only, and this environment is '{env.name}'"
    grid = require_gridworld(env, sentence)
    if sampled:
        raise UserError("--failures explains what a greedy policy does: leave out --sample")
    if Path(picture).suffix.lower() != ".png":
        raise UserError(f"--failures writes a picture, a file that ends in .png, not '{picture}'")
    return grid


def failure_figures(
    policy: Any, env: GridWorldConfig, episodes: int, seed: int, picture: str, device: torch.device
) -> dict[str, Any]:
    """Plays the grids of the evaluation again, remembering paths, draws the clearest failures, and counts.

    Returns:
        ``kinds``: kind to number, the most frequent first; ``by``: quantity to its ranges with success rate and number.
    """
    # matplotlib is slow to import, and is needed for this option alone
    import numpy as np
    from PIL import Image

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
    Image.fromarray(whole).save(buffer, "PNG")
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


def failure_table(figures: dict[str, Any], episodes: int) -> Table:
    """How often each kind occurs."""
    table = Table(title="why grids fail", title_justify="left")
    table.add_column("kind")
    table.add_column("grids", justify="right")
    table.add_column("of all", justify="right")
    for kind, count in figures["kinds"].items() or [("none fails", 0)]:
        table.add_row(kind, f"{count:,}", f"{count / episodes:.2%}")
    return table
