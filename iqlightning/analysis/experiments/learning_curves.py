"""Learning curves over environment steps, read from runs: their scores, and a figure of several algorithms."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from iqlightning.analysis.charts import FAINT, INK, MARKS, PALETTE, chart
from iqlightning.analysis.intervals import Band
from iqlightning.analysis.runs import read_run

__all__ = ["Curve", "last_evaluations", "learning_figure", "median_band", "return_curve"]

Curve = list[tuple[int, float]]
"""Points (environment steps, mean return of an evaluation)."""

_LAST = 5  # evaluations that a run is scored by
_RETURN = "val/mean_return"


def return_curve(folder: Path) -> Curve:
    """The returns that a run's evaluations found, against the environment steps before each.

    A run that was cut off went on in a folder of its own, the next ``version_N``: points before it began come from the
    folders before. Offline, there are no steps, and the curve is one over gradient updates.

    Args:
        folder: of the run's last part, ``.../version_N``.
    """
    run = read_run(folder)
    points = dict(run.curves.get(_RETURN, []))
    epoch = int(run.settings.get("data.updates_per_epoch", 1))
    number = int(folder.name.removeprefix("version_"))
    while points and min(points) > epoch and number > 0:
        number -= 1
        before = read_run(folder.with_name(f"version_{number}"))
        begun = min(points)
        earlier = {at: value for at, value in before.curves.get(_RETURN, []) if at < begun}
        if not earlier:
            break
        points = earlier | points
    ratio = float(run.settings.get("data.online.steps_per_update", 1.0))
    first = int(run.settings.get("data.online.warmup_steps", 0))
    return [(first + round(ratio * updates), value) for updates, value in sorted(points.items())]


def last_evaluations(curve: Curve) -> float | None:
    """What a run is scored by, the mean of its last five evaluations, never the best; None without any."""
    return statistics.fmean(value for _, value in curve[-_LAST:]) if curve else None


def median_band(curves: Sequence[Curve]) -> Band:
    """The median over seeds with the lowest and the highest, where all of them have a point."""
    points = [dict(curve) for curve in curves]
    shared = sorted(set.intersection(*map(set, points))) if points else []
    columns = [[each[x] for each in points] for x in shared]
    median = [statistics.median(column) for column in columns]
    return Band(shared, median, [min(column) for column in columns], [max(column) for column in columns], len(curves))


def learning_figure(
    title: str,
    curves: Mapping[str, Sequence[Curve]],
    offline: Mapping[str, Sequence[float]],
    levels: Mapping[str, float],
) -> Figure:
    """Median over seeds against environment steps, from the lowest to the highest seed shaded.

    Args:
        title: of the task.
        curves: algorithm to a curve of each seed.
        offline: algorithm that takes no steps to a score of each seed, drawn as a level of its own.
        levels: label to a return that a dashed line marks.
    """
    figure, axes = chart("environment steps", 6.4, 4.4)
    labels = [*curves, *offline]
    colours = {label: PALETTE[number % len(PALETTE)] for number, label in enumerate(labels)}
    for number, (label, seeds) in enumerate(curves.items()):
        band = median_band(seeds)
        if not band.x:
            continue
        axes.fill_between(band.x, band.low, band.high, color=colours[label], alpha=0.16, lw=0)
        mark = MARKS[number % len(MARKS)] if len(band.x) <= 60 else ""
        axes.plot(band.x, band.mean, color=colours[label], lw=1.8, marker=mark, markersize=3.5, label=label)
    for label, scores in offline.items():
        axes.axhspan(min(scores), max(scores), color=colours[label], alpha=0.12, lw=0)
        axes.axhline(
            statistics.median(scores), color=colours[label], lw=1.8, linestyle="-.", label=f"{label} (offline)"
        )
    for label, height in levels.items():
        axes.axhline(height, color=FAINT, lw=1, linestyle="--")
        # beside the axes: curves begin at one level and end, if all is well, at the other
        place, coordinates = (1.015, height), ("axes fraction", "data")
        axes.annotate(label.replace(", ", ",\n"), place, xycoords=coordinates, fontsize=9, color=FAINT, va="center")
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.0f}"))
    axes.set_ylabel("return", size=11, color=INK)
    figure.suptitle(title, size=12, color=INK, parse_math=False)
    if axes.get_legend_handles_labels()[1]:
        figure.legend(loc="outside lower center", ncols=4, fontsize=9, frameon=False, labelcolor=INK)
    return figure
