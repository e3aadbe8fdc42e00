"""``evaluate --rewards``: recovered against true reward, on episodes of every quality, in any environment."""

import argparse
import io
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from iqlightning.cli.counting_bar import counting_bar
from iqlightning.cli.options import Options, positive
from iqlightning.errors import UserError
from iqlightning.evaluation.reward_correlation import SHARES, RewardPairs, reward_correlations, reward_pairs
from iqlightning.evaluation.tables import interval_key, new_table
from iqlightning.files import write_atomically
from iqlightning.types import EnvConfig

__all__ = ["add_reward_options", "recovered_rewards", "require_reward_options"]

_DEFAULT_EPISODES = 10


def add_reward_options(options: Options) -> None:
    """Adds ``--rewards`` and ``--figure``."""
    options.add_argument(
        "--rewards",
        metavar="EPISODES",
        type=positive,
        nargs="?",
        const=_DEFAULT_EPISODES,
        default=None,
        help="correlate the recovered reward with the true one, over 10 (or so many) episodes with each of "
        f"{', '.join(f'{share:.0%}%' for share in SHARES)} random moves",
    )
    drawn = "draw the returns of --rewards"
    options.add_output("--figure", what="picture", metavar="PNG", default=None, help=drawn)


def require_reward_options(given: argparse.Namespace) -> None:
    """Before anything is played.

    Raises:
        UserError: if there is nothing to draw, or the picture would be of another kind.
    """
    if given.rewards == 1:
        raise UserError("--rewards 1 leaves nothing to tell an interval from: give at least 2 episodes")
    if given.figure is None:
        return
    if given.rewards is None:
        raise UserError("--figure draws what --rewards finds: give --rewards as well")
    if Path(given.figure).suffix.lower() != ".png":
        raise UserError(f"--figure writes a picture, a file that ends in .png, not '{given.figure}'")


def recovered_rewards(
    given: argparse.Namespace, policy: Any, env: EnvConfig, device: torch.device, mark: str
) -> tuple[dict[str, Any], Table]:
    """Plays, draws if asked to, and returns figures with a table of them.

    The picture bears the mark of the command. The figures are those of
    :func:`~iqlightning.evaluation.reward_correlation.reward_correlations`.
    """
    with counting_bar("playing for rewards", given.rewards * len(SHARES)) as progress:
        pairs = reward_pairs(
            policy,
            env,
            given.rewards,
            given.seed,
            sample=given.sample,
            temperature=given.temperature,
            device=device,
            progress=progress,
        )
    if given.figure is not None:
        _draw(pairs, given.figure, env, mark)
    figures = reward_correlations(pairs)
    return figures, _table(figures, pairs)


def _draw(pairs: RewardPairs, path: str, env: EnvConfig, mark: str) -> None:
    from iqlightning.analysis.charts import grouped_scatter, literal  # matplotlib is slow to import

    groups = {}
    for share in dict.fromkeys(pairs.shares.tolist()):
        own = pairs.shares == share
        groups[f"{share:.0%} random moves"] = pairs.returns[own].tolist(), pairs.recovered[own].tolist()
    figure = grouped_scatter(groups, "return", "recovered return", title=env.name)
    drawn = io.BytesIO()
    literal(figure).savefig(drawn, format="png", dpi=130, metadata={"Software": mark})
    write_atomically(path, drawn.getvalue(), what="picture")


def _table(figures: dict[str, Any], pairs: RewardPairs) -> Table:
    headings = ("over", "number", "Pearson", "95% interval", "return", "recovered")
    table = new_table("recovered reward beside the true one", *headings)
    numbers = {"episodes": len(pairs.returns), "transitions": int(pairs.moments[:, 0].sum())}
    for name, number in numbers.items():
        key = f"reward_correlation_{name}"
        value, ends = figures[key], figures[interval_key(key)]
        cells = ("none", "") if value != value else (f"{value:.3f}", f"{ends[0]:.3f} to {ends[1]:.3f}")
        label = "episodes (returns)" if name == "episodes" else name
        table.add_row(label, f"{number:,}", *cells)
    table.add_section()
    for row in figures["reward_correlation_shares"]:
        label = f"{row['share']:.0%} random moves"
        means = (f"{row[name]:.2f}" for name in ("mean_return", "mean_recovered_return"))
        table.add_row(label, f"{row['episodes']:,}", "", "", *means)
    return table
