"""Charts drawn once with matplotlib: as SVG in the report, as RGB arrays in TensorBoard, as files of a paper.

Figures are made with matplotlib's object interface: no global figure state and no display.
"""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import NamedTuple, cast

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator, PercentFormatter

from iqlightning.analysis.intervals import Band, Estimate

__all__ = [
    "DASHES",
    "FAINT",
    "INK",
    "MARKS",
    "PALETTE",
    "RULE",
    "Series",
    "boxes",
    "chart",
    "dashes",
    "grouped_scatter",
    "intervals",
    "learning_curves",
    "literal",
    "mark",
    "pixels",
    "shade",
    "style",
]

#: Colours of curves; the marks tell them apart on grey paper and for readers who see no red or green.
PALETTE = ("#2f67c9", "#c8641b", "#23895a", "#a8438f", "#7a6a1f", "#5d52c4", "#b3303f", "#2b8595")
MARKS = "osD^vP*X"

#: Of curves beyond the palette, which begins again: lengths of strokes and gaps in line widths, the first unbroken.
DASHES = ((), (5.0, 2.0), (1.5, 1.5), (6.0, 2.0, 1.5, 2.0))

INK, FAINT, RULE = "#22262a", "#5f666d", "#e3e5e8"

_MARKED = 60  # curves with more points than this get no marks
_NAMES = 2  # of a legend in a row


def shade(number: int) -> str:
    """The colour of a curve by its number."""
    return PALETTE[number % len(PALETTE)]


def dashes(number: int) -> tuple[float, ...]:
    """The dashes of a curve by its number; none for those that the palette suffices for."""
    return DASHES[number // len(PALETTE) % len(DASHES)]


def mark(number: int) -> str:
    """The mark of a curve by its number; where the palette begins again, a colour has another mark."""
    return MARKS[(number + number // len(PALETTE)) % len(MARKS)]


class Series(NamedTuple):
    """A curve over gradient updates, and the number of its colour, dashes and mark."""

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


def learning_curves(
    series: Sequence[Series],
    *,
    y_label: str = "",
    log: bool = False,
    percent: bool = False,
    legend: bool = False,
) -> Figure | None:
    """Means over seeds against gradient updates, their intervals shaded; None if there is no point.

    Args:
        series: what to draw.
        y_label: what is drawn.
        log: logarithmic scale; all values must be positive.
        percent: values are shares, and the axis runs from 0 to 100%.
        legend: whether the curves are named, below; for a file of its own.
    """
    drawn = [each for each in series if each.band.x]
    if not drawn:
        return None
    figure, axes = chart("gradient updates", height=3.2 + (0.2 * -(-len(drawn) // _NAMES) if legend else 0.0))
    axes.set_ylabel(y_label, size=11, color=INK, parse_math=False)
    low, high = (0.0, 1.0) if percent else _limits([each.band for each in drawn], log=log)
    if log:
        axes.set_yscale("log")
    for label, number, band in drawn:
        marked = len(band.x) <= _MARKED
        if band.seeds > 1:
            ends = (np.clip(band.low, low, high), np.clip(band.high, low, high))
            axes.fill_between(band.x, *ends, color=shade(number), alpha=min(0.18, 1 / len(drawn)), lw=0)
        (line,) = axes.plot(band.x, band.mean, color=shade(number), lw=1.8, label=label)
        line.set(linestyle=(0, dashes(number) or None), marker=mark(number) if marked else "", markersize=3.5)
        if len(band.x) == len(drawn) == 1:  # the number says all there is
            said = f"{band.mean[0]:.1%}" if percent else f"{band.mean[0]:.4g}"
            words = {"size": 11, "color": INK, "ha": "right", "textcoords": "offset points", "parse_math": False}
            axes.annotate(said, (band.x[0], band.mean[0]), xytext=(-8, -4), **words)
    if legend:
        # strokes long enough to show their dashes
        look = {"fontsize": 8, "frameon": False, "labelcolor": INK, "handlelength": 4.0}
        figure.legend(loc="outside lower center", ncols=_NAMES, **look)
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
    margin = 0.05 * (high - low) or 0.1 * abs(high) or 1.0
    return low - margin, high + margin


def grouped_scatter(
    groups: Mapping[str, tuple[Sequence[float], Sequence[float]]], x_label: str, y_label: str, *, title: str = ""
) -> Figure:
    """Dots of several groups, each in its colour and mark, with a legend below; for a file of its own."""
    figure, axes = chart(x_label, 5.4, 4.2)
    for number, (label, (x, y)) in enumerate(groups.items()):
        colour, mark = PALETTE[number % len(PALETTE)], MARKS[number % len(MARKS)]
        axes.scatter(x, y, s=30, color=colour, marker=mark, alpha=0.75, linewidths=0, label=label)
    axes.set_ylabel(y_label, size=11, color=INK, parse_math=False)
    if title:
        figure.suptitle(title, size=12, color=INK, parse_math=False)
    figure.legend(loc="outside lower center", ncols=3, fontsize=9, frameon=False, labelcolor=INK)
    return figure


def boxes(
    rows: Sequence[tuple[str, int, Sequence[float | int]]], x_label: str, *, height: float | None = None
) -> Figure:
    """Distributions side by side: median, middle half as a box, 5 to 95% as a line.

    Args:
        rows: label, number of the colour, and values of each.
        x_label: what the values are.
        height: of the figure in inches; None for one that suits the rows.
    """
    figure, axes = _named_rows([label for label, _, _ in rows], x_label, height)
    drawn = axes.boxplot(
        [np.asarray(values, dtype=np.float64) for _, _, values in rows],
        orientation="horizontal",
        positions=np.arange(len(rows)),
        manage_ticks=False,
        whis=(5, 95),
        showfliers=False,
        showcaps=False,
        patch_artist=True,
        widths=0.5,
        medianprops={"color": INK, "linewidth": 2},
    )
    for place, (_, number, _) in enumerate(rows):
        drawn["boxes"][place].set(facecolor=shade(number), alpha=0.6, linewidth=0)
        for whisker in drawn["whiskers"][2 * place : 2 * place + 2]:
            whisker.set(color=shade(number), linewidth=1.6)
    return figure


def intervals(rows: Sequence[tuple[str, int, Estimate]], x_label: str, *, percent: bool = False) -> Figure:
    """Means with their intervals, one below the other.

    Args:
        rows: label, number of the colour, and figure of each.
        x_label: what is measured.
        percent: the figures are shares.
    """
    figure, axes = _named_rows([label for label, _, _ in rows], x_label, None)
    for place, (_, number, value) in enumerate(rows):
        if value.low is not None and value.high is not None:
            axes.plot([value.low, value.high], [place, place], color=shade(number), lw=3, alpha=0.55)
        axes.plot([value.mean], [place], color=shade(number), marker=mark(number), markersize=6, lw=0)
    if percent:
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    return figure


# letters of a line of a name beside a row
_LETTERS = 26


def _named_rows(labels: Sequence[str], x_label: str, height: float | None) -> tuple[Figure, Axes]:
    """An empty chart of rows from the top to the bottom, each with its name, which is wrapped."""
    named = [fill(label, _LETTERS) for label in labels]
    lines = max((name.count("\n") for name in named), default=0)
    figure, axes = chart(x_label, height=0.9 + (0.3 + 0.17 * lines) * len(named) if height is None else height)
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=RULE)
    axes.set_yticks(np.arange(len(named)), named)
    axes.set_ylim(len(named) - 0.5, -0.5)
    axes.tick_params(axis="y", labelcolor=INK, labelsize=9.5, length=0)
    return figure, axes


def pixels(figure: Figure) -> UInt8[np.ndarray, "height width rgb"]:
    """The figure as an RGB array."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def literal(figure: Figure) -> Figure:
    """The figure with all its texts as they are: a name with two dollar signs is no formula."""
    axes = [axis for each in figure.axes for axis in (each.xaxis, each.yaxis) if axis.get_scale() == "log"]
    powers = {id(text) for axis in axes for text in axis.findobj(Text)}  # matplotlib's own formulas
    for artist in figure.findobj(Text):
        if id(artist) not in powers:
            cast(Text, artist).set_parse_math(False)
    return figure
