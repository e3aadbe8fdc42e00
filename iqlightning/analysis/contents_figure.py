"""A picture of demonstrations: lengths and returns of episodes, actions, ranges of observations."""

import numpy as np
from gymnasium.spaces import Discrete
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from iqlightning.analysis.charts import INK, PALETTE, style
from iqlightning.spaces import Spaces, num_actions
from iqlightning.types import Trajectories

__all__ = ["contents_figure"]

# More entries than this are a picture, or as good as one: drawn together as one distribution.
_APART = 40

# Rows of which quantiles are worked out; more change nothing that can be seen.
_ROWS = 20_000


def contents_figure(trajectories: Trajectories, spaces: Spaces, title: str) -> Figure:
    """Four charts on one page.

    Args:
        trajectories: the demonstrations, on the CPU.
        spaces: of observations and actions.
        title: above them.
    """
    figure = Figure(figsize=(10, 7), layout="constrained")
    figure.suptitle(title, color=INK, size=12, x=0.01, ha="left", parse_math=False)
    axes = figure.subplots(2, 2).ravel()
    _histogram(axes[0], trajectories.lengths.numpy(), "moves of an episode", "episodes")
    _histogram(axes[1], trajectories.returns.numpy(), "return of an episode", "episodes")
    done, seen = trajectories.actions.numpy(), trajectories.observations_in_order().flatten(1).numpy()
    if isinstance(spaces.action, Discrete):
        counts = np.bincount(done, minlength=num_actions(spaces.action))
        axes[2].bar(np.arange(len(counts)), counts, color=PALETTE[0])
        style(axes[2], "action")
        axes[2].set_ylabel("transitions", color=INK)
        axes[2].xaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        low, high = (np.ravel(getattr(spaces.action, end)) for end in ("low", "high"))
        _ranges(axes[2], done.reshape(len(done), -1), "entry of an action", "actions", (low, high))
    _ranges(axes[3], seen, "entry of an observation", "observations")
    return figure


def _histogram(axes: Axes, values: np.ndarray, x_label: str, y_label: str) -> None:
    low, high = float(values.min()), float(values.max())
    if low == high:  # one bar, of a width that can be seen
        low, high = low - 0.5, high + 0.5
    whole = values.dtype.kind in "iu"
    bins = min(30, max(1, int(high - low) if whole else 30))
    axes.hist(values, bins=bins, range=(low, high), color=PALETTE[0], edgecolor="white", linewidth=0.5)
    style(axes, x_label)
    axes.set_ylabel(y_label, color=INK)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def _ranges(
    axes: Axes, rows: np.ndarray, x_label: str, what: str, bounds: tuple[np.ndarray, np.ndarray] | None = None
) -> None:
    """Of each entry its whole range thin, its middle nine tenths thick, its median, and the bounds of its space."""
    if rows.shape[1] > _APART:
        some = rows[:: -(-len(rows) // _ROWS)].ravel()
        axes.hist(some, bins=50, color=PALETTE[0])
        style(axes, f"number in {what} ({rows.shape[1]:,} each)")
        axes.set_ylabel("numbers", color=INK)
        return
    entries = np.arange(rows.shape[1])
    low, high = rows.min(0), rows.max(0)
    fifth, middle, last = np.quantile(rows[:: -(-len(rows) // _ROWS)], (0.05, 0.5, 0.95), axis=0)
    axes.vlines(entries, low, high, color=PALETTE[0], linewidth=1.2, label="all")
    axes.vlines(entries, fifth, last, color=PALETTE[0], linewidth=6, alpha=0.45, label="5 to 95%")
    axes.plot(entries, middle, "o", color=INK, markersize=3.5, label="median")
    if bounds is not None:
        for number, end in enumerate(bounds):
            axes.plot(entries, end, "_", color=PALETTE[1], markersize=12, label="bounds" if number == 0 else None)
    style(axes, x_label)
    axes.set_ylabel(f"{what}' range", color=INK)
    axes.set_xlim(-0.6, len(entries) - 0.4)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, fontsize=9, loc="lower right", bbox_to_anchor=(1, 1), ncols=4)
