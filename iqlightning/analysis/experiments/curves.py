"""Curves of a figure against a factor, one for each value of another, with intervals."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, PercentFormatter

from iqlightning.analysis.charts import MARKS, PALETTE
from iqlightning.analysis.experiments.table import Row

__all__ = ["curves"]


def curves(
    panels: Mapping[str, Sequence[Row]],
    x: Callable[[Row], Any],
    line: Callable[[Row], str],
    *,
    x_label: str,
    levels: Mapping[str, float] | None = None,
    log: bool = False,
    joined: bool = True,
) -> Figure:
    """Success rates (elsewhere returns), a panel each, with the interval of each point as a whisker.

    Args:
        panels: title to rows.
        x: of a row; a number, or a label that gets the next place in its panel.
        line: which curve a row belongs to.
        x_label: of the axis.
        levels: label to a height that a dashed line marks in all panels.
        log: logarithmic axis of numbers.
        joined: lines between the points; not for settings that have no order.
    """
    figure = Figure(figsize=(1.5 + 3.6 * len(panels), 3.9), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    known = [row for rows in panels.values() for row in rows if row.refused is None]
    names = list(dict.fromkeys(line(row) for row in known))
    numbers = all(isinstance(x(row), (int, float)) for row in known)
    main = known[0].main if known else "success_rate"
    for axis, (title, rows) in zip(axes, panels.items(), strict=True):
        # numbers mean the same in all panels, words may not
        labels = list(dict.fromkeys(x(row) for row in (known if numbers else rows) if row.refused is None))
        for index, name in enumerate(names):
            points = sorted(
                (float(x(row)) if numbers else labels.index(x(row)), row.figures[main])
                for row in rows
                if row.refused is None and line(row) == name and main in row.figures
            )
            if not points:
                continue
            places = [place for place, _ in points]
            # beside each other, where curves meet at 100%
            shift = (index - (len(names) - 1) / 2) * 0.012
            places = [place * 10**shift if log else place + shift * len(labels) for place in places]
            means = [value.mean for _, value in points]
            below = [max(0.0, value.mean - (value.mean if value.low is None else value.low)) for _, value in points]
            above = [max(0.0, (value.mean if value.high is None else value.high) - value.mean) for _, value in points]
            axis.errorbar(
                places,
                means,
                yerr=[below, above],
                label=name,
                marker=MARKS[index % len(MARKS)],
                color=PALETTE[index % len(PALETTE)],
                markersize=5,
                linewidth=1.5,
                linestyle="-" if joined else "none",
                capsize=2.5,
            )
        for name, height in (levels or {}).items():
            axis.axhline(height, color="#777777", linestyle="--", linewidth=1)
            axis.annotate(
                name, (0.01, height), xycoords=("axes fraction", "data"), fontsize=8, color="#555555", va="bottom"
            )
        axis.set_title(title, fontsize=10)
        axis.set_xlabel(x_label)
        axis.grid(alpha=0.25)
        if numbers:
            if log:
                axis.set_xscale("log")
            axis.xaxis.set_major_locator(FixedLocator([float(label) for label in labels]))
            axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
            axis.xaxis.set_minor_locator(NullLocator())
        else:
            axis.set_xticks(range(len(labels)), [str(label) for label in labels])
            axis.set_xlim(-0.5, len(labels) - 0.5)
    if main == "success_rate":
        axes[0].set_ylim(-0.03, 1.04)
        axes[0].yaxis.set_major_formatter(PercentFormatter(1.0))
        axes[0].set_ylabel("success rate")
    else:
        axes[0].set_ylabel("mean return")
    if names:
        handles, texts = max((axis.get_legend_handles_labels() for axis in axes), key=lambda pair: len(pair[1]))
        figure.legend(
            handles, texts, loc="outside lower center", ncols=min(2 + len(axes), len(names)), fontsize=8, frameon=False
        )
    return figure
