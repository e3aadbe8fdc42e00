"""Charts drawn once with matplotlib: as SVG in the report, as RGB arrays in TensorBoard, as files of a paper.

Figures are made with matplotlib's object interface: no global figure state and no display.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator, PercentFormatter

from iqlightning.analysis.intervals import Band

__all__ = [
    "FAINT",
    "INK",
    "MARKS",
    "PALETTE",
    "RULE",
    "Series",
    "chart",
    "grouped_scatter",
    "learning_curves",
    "pixels",
    "scatter",
    "style",
]

#: Colours of curves; the marks tell them apart on grey paper and for readers who see no red or green.
PALETTE = ("#2f67c9", "#c8641b", "#23895a", "#a8438f", "#7a6a1f", "#5d52c4", "#b3303f", "#2b8595")
MARKS = "osD^vP*X"
INK, FAINT, RULE = "#22262a", "#5f666d", "#e3e5e8"

_MARKED = 60  # curves with more points than this get no marks


class Series(NamedTuple):
    """A curve over gradient updates, and the number of its colour and mark."""

    label: str
    colour: int
    band: Band


def chart(x_label: str, width: float = 5.0, height: float = 3.2) -> tuple[Figure, Axes]:
    """An empty chart with horizontal rules; sizes are in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    style(axes, x_label)
    return figure, axes


def style(axes: Axes, x_label: str) -> None:
    """Horizontal rules, no frame, and nothing darker than the curves but the words."""
    axes.set_xlabel(x_label, size=11, color=INK, parse_math=False)
    axes.grid(axis="y", color=RULE)
    axes.set_axisbelow(True)
    axes.spines[["top", "left", "right"]].set_visible(False)
    axes.spines["bottom"].set_color(RULE)
    axes.tick_params(labelsize=10.5, labelcolor=FAINT, color=RULE)


def learning_curves(series: Sequence[Series], *, log: bool = False, percent: bool = False) -> Figure | None:
    """Means over seeds against gradient updates, their intervals shaded; None if there is no point.

    Args:
        series: what to draw.
        log: logarithmic scale; all values must be positive.
        percent: values are shares, and the axis runs from 0 to 100%.
    """
    drawn = [each for each in series if each.band.x]
    if not drawn:
        return None
    figure, axes = chart("gradient updates")
    low, high = (0.0, 1.0) if percent else _limits([each.band for each in drawn], log=log)
    if log:
        axes.set_yscale("log")
    for _, colour, band in drawn:
        shade = PALETTE[colour]
        marked = len(band.x) <= _MARKED
        if band.seeds > 1:
            axes.fill_between(
                band.x, np.clip(band.low, low, high), np.clip(band.high, low, high), color=shade, alpha=0.18, lw=0
            )
        axes.plot(band.x, band.mean, color=shade, lw=1.8, marker=MARKS[colour] if marked else "", markersize=3.5)
    axes.set_ylim(low - 0.02 if percent else low, high + 0.02 if percent else high)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    if percent:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    elif log:
        # where the curves hardly change there may be no 1, 2 or 5 to mark
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if high > 3 * low else MaxNLocator(4))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:.4g}"))
    return figure


def _limits(bands: Sequence[Band], *, log: bool) -> tuple[float, float]:
    """Ends of the axis. Two seeds can have an interval a hundred times as wide as the curve is high: it is cut off."""
    means = [y for band in bands for y in band.mean]
    low, high = min(means), max(means)
    if log:
        return low / 1.15, high * 1.15
    room = 0.6 * (high - low) or abs(high) or 1.0
    low = max(low - room, min(y for band in bands for y in band.low))
    high = min(high + room, max(y for band in bands for y in band.high))
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def scatter(x: Sequence[float] | Sequence[str], y: Sequence[float], x_label: str, *, log_x: bool = False) -> Figure:
    """Dots; words on the x axis each get a place of their own.

    Args:
        x: numbers, or words.
        y: as many numbers.
        x_label: of the axis.
        log_x: logarithmic axis; all x must be positive numbers.
    """
    figure, axes = chart(x_label)
    words = list(dict.fromkeys(each for each in x if isinstance(each, str)))
    axes.scatter([words.index(each) if isinstance(each, str) else each for each in x], y, s=36, color=PALETTE[0])
    if words:
        axes.set_xticks(range(len(words)), words, parse_math=False)
        axes.set_xlim(-0.5, len(words) - 0.5)
    elif log_x:
        axes.set_xscale("log")
    return figure


def grouped_scatter(
    groups: Mapping[str, tuple[Sequence[float], Sequence[float]]], x_label: str, y_label: str, *, title: str = ""
) -> Figure:
    """Dots of several groups, each in its colour and mark, with a legend below; for a file of its own.

    Args:
        groups: label to as many x as y.
        x_label: of the axis.
        y_label: of the axis.
        title: of the picture.
    """
    figure, axes = chart(x_label, 5.4, 4.2)
    for number, (label, (x, y)) in enumerate(groups.items()):
        colour, mark = PALETTE[number % len(PALETTE)], MARKS[number % len(MARKS)]
        axes.scatter(x, y, s=30, color=colour, marker=mark, alpha=0.75, linewidths=0, label=label)
    axes.set_ylabel(y_label, size=11, color=INK, parse_math=False)
    if title:
        figure.suptitle(title, size=12, color=INK, parse_math=False)
    figure.legend(loc="outside lower center", ncols=3, fontsize=9, frameon=False, labelcolor=INK)
    return figure


def pixels(figure: Figure) -> UInt8[np.ndarray, "height width rgb"]:
    """The figure as an RGB array."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])
