"""Pictures of what success depends on, drawn without a display."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from iqlightning.analysis.charts import INK, RULE, dashes, mark, pixels, shade, style
from iqlightning.gridworld.evaluation.success_profile import Profile

__all__ = ["QUANTITIES", "Curve", "success_figure", "success_panel"]

#: What success is drawn against, as the axis is called.
QUANTITIES = {
    "shortest": "moves of the shortest path",
    "detour": "moves that the walls cost",
    "walls_between": "walls between start and goal",
    "walls": "walls on the grid",
}


class Curve(NamedTuple):
    """Profiles of a policy, and the number of its colour, dashes and mark."""

    colour: int
    profiles: Mapping[str, Profile]


def success_panel(profiles: Mapping[str, Profile], title: str = "") -> UInt8[np.ndarray, "height width rgb"]:
    """:func:`success_figure` of one policy, below a title."""
    figure = success_figure([Curve(0, profiles)], list(profiles))
    figure.suptitle(title, size=13, weight="bold", color=INK, x=0.02, ha="left")
    return pixels(figure)


def success_figure(curves: Sequence[Curve], names: Sequence[str]) -> Figure:
    """Success against each quantity, side by side: a point a bin and its 95% interval.

    Grey columns show where the first policy's episodes are, the tallest one a third of the picture.
    """
    figure = Figure(figsize=(0.9 + 3.6 * len(names), 3.2), facecolor="white", layout="constrained")
    places = figure.subplots(1, len(names), squeeze=False, sharey=True)[0]
    intervals = [curve.profiles[name].interval for curve in curves for name in names]
    worst = min((float(each.min()) for each in intervals if len(each)), default=0.0)
    # the scale follows the worst: at 99.9% a fixed one would show a straight line
    bottom = max(0.0, worst - 0.06 * (1 - worst) - 0.002)
    for axes, name in zip(places, names, strict=True):
        style(axes, QUANTITIES.get(name, name))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        for place, curve in enumerate(curves):
            _draw(axes, curve.colour, curve.profiles[name], bottom, columns=place == 0)
    places[0].set_ylabel("success rate", size=11, color=INK)
    places[0].set_ylim(bottom, 1 + 0.06 * (1 - bottom))
    places[0].yaxis.set_major_formatter(PercentFormatter(1.0))
    return figure


def _draw(axes: Axes, colour: int, profile: Profile, bottom: float, *, columns: bool) -> None:
    x, rate, interval = profile.mean.numpy(), profile.rate.numpy(), profile.interval.numpy()
    if columns:
        shares = profile.episodes.numpy() / max(1, int(profile.episodes.sum()))
        heights = (1 - bottom) * shares / max(float(shares.max(initial=0.0)), 1e-9) / 3
        left, right = profile.lowest.numpy() - 0.45, profile.highest.numpy() + 0.45
        axes.bar(left, heights, right - left, bottom=bottom, align="edge", color=RULE, zorder=0)
    axes.fill_between(x, interval[:, 0], interval[:, 1], color=shade(colour), alpha=0.18, linewidth=0)
    (line,) = axes.plot(x, rate, color=shade(colour), linewidth=1.6, clip_on=False)
    line.set(linestyle=(0, dashes(colour) or None), marker=mark(colour), markersize=4.5)
