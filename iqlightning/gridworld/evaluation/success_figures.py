"""Pictures of what success depends on, as RGB arrays, drawn without a display."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from iqlightning.gridworld.evaluation.drawing import pixels
from iqlightning.gridworld.evaluation.success_profile import Profile
from iqlightning.gridworld.game.palette import FAINT, INK

__all__ = ["success_panel"]

_LINE = "#0072b2"
_LABELS = {
    "shortest": "moves of the shortest path",
    "detour": "moves that the walls cost",
    "walls_between": "walls between start and goal",
    "walls": "walls on the grid",
}


def success_panel(
    profiles: Mapping[str, Profile], title: str = "", dpi: int = 100
) -> UInt8[np.ndarray, "height width rgb"]:
    """Success against each quantity, side by side: a point a bin, its 95% interval, and how many episodes it holds.

    Args:
        profiles: of :func:`iqlightning.gridworld.evaluation.success_profile.success_profiles`.
        title: a line above all.
        dpi: pixels an inch.

    Returns:
        uint8 (pixel rows, pixel columns, 3).
    """
    figure = Figure(figsize=(0.6 + 3.1 * len(profiles), 3.6), dpi=dpi, facecolor="white", layout="constrained")
    figure.suptitle(title, size=13, weight="bold", color=INK, x=0.02, ha="left")
    places = figure.subplots(1, len(profiles), squeeze=False, sharey=True)[0]
    worst = min((float(profile.interval.min()) for profile in profiles.values() if len(profile.lowest)), default=0.0)
    bottom = max(0.0, worst - 0.06 * (1 - worst) - 0.002)
    for axes, (name, profile) in zip(places, profiles.items(), strict=True):
        _draw(axes, profile, bottom)
        axes.set_xlabel(_LABELS.get(name, name), size=11, color=INK)
    places[0].set_ylabel("success rate", size=11, color=INK)
    # the scale follows the worst: at 99.9% a fixed one would show a straight line
    places[0].set_ylim(bottom, 1 + 0.06 * (1 - bottom))
    places[0].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0 if bottom < 0.9 else 1))
    return pixels(figure)


def _draw(axes: Axes, profile: Profile, bottom: float) -> None:
    x, rate, interval = profile.mean.numpy(), profile.rate.numpy(), profile.interval.numpy()
    shares = profile.episodes.numpy() / max(1, int(profile.episodes.sum()))
    # grey columns show where the episodes are, the tallest one a third of the picture
    floor = (1 - bottom) * shares / max(float(shares.max(initial=0.0)), 1e-9) / 3
    left, right = profile.lowest.numpy() - 0.45, profile.highest.numpy() + 0.45
    axes.bar(left, floor, right - left, bottom=bottom, align="edge", color="#e8eaec", zorder=0)
    axes.fill_between(x, interval[:, 0], interval[:, 1], color=_LINE, alpha=0.18, linewidth=0)
    axes.plot(x, rate, color=_LINE, marker="o", markersize=4.5, linewidth=1.6, clip_on=False)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.tick_params(labelsize=9, colors=FAINT)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#c4c8cc")
