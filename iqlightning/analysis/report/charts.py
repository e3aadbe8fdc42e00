"""Line charts and interval bars as SVG; colours come from the page's style sheet, so that a theme changes them."""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from iqlightning.analysis.intervals import Band, Estimate
from iqlightning.gridworld.evaluation.success_profile import Profile

__all__ = [
    "Quantiles",
    "Series",
    "interval_bar",
    "line_chart",
    "profile_chart",
    "quantile_chart",
    "scatter_chart",
]

_WIDTH, _HEIGHT = 360, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 20, 12, 34
_MARKED = 60  # curves with more points than this get no marks to point at


class Series(NamedTuple):
    """A curve with the number of its colour."""

    label: str
    colour: int
    band: Band


class Quantiles(NamedTuple):
    """What a row of :func:`quantile_chart` shows: 5, 25, 50, 75 and 95% of some numbers."""

    label: str
    values: tuple[float, float, float, float, float]
    number: int


def line_chart(
    series: Sequence[Series],
    title: str,
    *,
    log: bool = False,
    percent: bool = False,
) -> str:
    """Curves over gradient updates, their intervals shaded.

    Args:
        series: what to draw.
        title: read out by screen readers.
        log: logarithmic scale; all values must be positive.
        percent: values are shares, and the axis runs from 0 to 100%.
    """
    drawn = [each for each in series if each.band.x]
    if not drawn:
        return ""
    last = max(x for each in drawn for x in each.band.x)
    means = [y for each in drawn for y in each.band.mean]
    ends = [y for each in drawn for y in (*each.band.low, *each.band.high)]
    if percent:
        low, high = 0.0, 1.0
    elif log:
        low, high = min(means) / 1.15, max(means) * 1.15
    else:
        # two seeds can have an interval a hundred times as wide as the curve is high: it is cut off there
        low, high = min(means), max(means)
        room = 0.6 * (high - low) or abs(high) or 1.0
        low, high = max(low - room, min(ends)), min(high + room, max(ends))
        low, high = (low - 0.05 * (high - low), high + 0.05 * (high - low)) if high > low else (low - 1, high + 1)

    def place_x(x: int | float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * x / last

    def place_y(y: float) -> float:
        bounded = min(max(y, low), high)
        part = math.log(bounded / low) / math.log(high / low) if log else (bounded - low) / (high - low)
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * part

    parts = [f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">']
    ticks = _log_ticks(low, high) if log else _ticks(low, high, 5)
    for y in ticks:
        text = f"{y:.0%}" if percent else _number(y)
        parts.append(
            f'<line class="rule" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{place_y(y):.1f}" y2="{place_y(y):.1f}"/>'
        )
        parts.append(f'<text class="tick" x="{_LEFT - 5}" y="{place_y(y) + 3.5:.1f}" text-anchor="end">{text}</text>')
    parts += [
        f'<text class="tick" x="{place_x(x):.1f}" y="{_HEIGHT - 18}" text-anchor="middle">{x:,.0f}</text>'
        for x in _ticks(0.0, float(last), 5)
    ]
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text class="axis" x="{middle}" y="{_HEIGHT - 3}" text-anchor="middle">gradient updates</text>')
    for _, colour, found in drawn:
        if found.seeds > 1:
            upper = [f"{place_x(x):.1f},{place_y(y):.1f}" for x, y in zip(found.x, found.high, strict=True)]
            lower = [f"{place_x(x):.1f},{place_y(y):.1f}" for x, y in zip(found.x, found.low, strict=True)]
            parts.append(f'<polygon class="band f{colour}" points="{" ".join(upper + lower[::-1])}"/>')
    for label, colour, found in drawn:
        points = [(place_x(x), place_y(y)) for x, y in zip(found.x, found.mean, strict=True)]
        parts.append(f'<polyline class="line c{colour}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>')
        if len(points) <= _MARKED:
            for (x, y), update, mean in zip(points, found.x, found.mean, strict=True):
                value = f"{mean:.1%}" if percent else f"{mean:.4g}"
                parts.append(
                    f'<circle class="mark f{colour}" cx="{x:.1f}" cy="{y:.1f}" r="{2.2 if len(points) <= 30 else 1.4}">'
                    f"<title>{escape(label)}: {value} after {update:,} updates</title></circle>"
                )
    return "".join([*parts, "</svg>"])


def interval_bar(found: Estimate, low: float, high: float, colour: int) -> str:
    """A dot with its interval on a line from ``low`` to ``high``, for a cell of a table."""
    width, height = 96, 14

    def place(value: float) -> float:
        return 4 + (width - 8) * (min(max(value, low), high) - low) / ((high - low) or 1.0)

    ends = ""
    if found.low is not None and found.high is not None:
        ends = (
            f'<line class="whisker c{colour}" x1="{place(found.low):.1f}" x2="{place(found.high):.1f}" y1="7" y2="7"/>'
        )
    return (
        f'<svg class="bar" viewBox="0 0 {width} {height}" aria-hidden="true">'
        f'<line class="rule" x1="4" x2="{width - 4}" y1="7" y2="7"/>{ends}'
        f'<circle class="f{colour}" cx="{place(found.mean):.1f}" cy="7" r="3.2"/></svg>'
    )


def quantile_chart(rows: Sequence[Quantiles], title: str, colour: int) -> str:
    """For each row the middle half of its numbers as a thick bar, 5 to 95% as a thin one, and the median."""
    row_height, label_width = 26, 150
    height = row_height * len(rows) + 24
    low, high = min(row.values[0] for row in rows), max(row.values[-1] for row in rows)
    low, high = min(low, 0.0), max(high, 0.0)
    low, high = (low - 0.04 * (high - low), high + 0.04 * (high - low)) if high > low else (low - 1, high + 1)

    def place(value: float) -> float:
        return label_width + (_WIDTH - label_width - 14) * (value - low) / (high - low)

    parts = [f'<svg class="chart" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">']
    for tick in _ticks(low, high, 4):
        kind = "reference" if tick == 0 else "rule"
        parts.append(
            f'<line class="{kind}" x1="{place(tick):.1f}" x2="{place(tick):.1f}" y1="4" y2="{height - 20}"/>'
            f'<text class="tick" x="{place(tick):.1f}" y="{height - 7}" text-anchor="middle">{_number(tick)}</text>'
        )
    for index, (label, values, number) in enumerate(rows):
        y = 4 + row_height * (index + 0.5)
        five, quarter, half, most, nearly_all = (f"{place(value):.1f}" for value in values)
        parts.append(
            f'<text class="axis" x="{label_width - 8}" y="{y + 4:.1f}" text-anchor="end">{escape(label)}</text>'
            f"<g><title>{escape(label)}: median {values[2]:.4g}, middle half {values[1]:.4g} to {values[3]:.4g}, "
            f"{number:,} moves</title>"
            f'<line class="thin c{colour}" x1="{five}" x2="{nearly_all}" y1="{y}" y2="{y}"/>'
            f'<line class="thick c{colour}" x1="{quarter}" x2="{most}" y1="{y}" y2="{y}"/>'
            f'<line class="median" x1="{half}" x2="{half}" y1="{y - 7}" y2="{y + 7}"/></g>'
        )
    return "".join([*parts, "</svg>"])


def profile_chart(profiles: Sequence[tuple[str, int, Profile]], title: str, *, x_label: str) -> str:
    """Success rates against a whole number, a point a range of it, their 95% intervals shaded.

    Columns behind them show where the first one's episodes are, the tallest one a third of the picture.

    Args:
        profiles: (label, number of the colour, profile) each.
        title: read out by screen readers.
        x_label: of the axis.
    """
    drawn = [each for each in profiles if len(each[2].lowest)]
    if not drawn:
        return ""
    left = min(int(profile.lowest.min()) for _, _, profile in drawn) - 0.5
    right = max(int(profile.highest.max()) for _, _, profile in drawn) + 0.5
    # the scale follows the worst: at 99.9% a fixed one would show a straight line
    worst = min(float(profile.interval.min()) for _, _, profile in drawn)
    low = max(0.0, worst - 0.06 * (1 - worst) - 0.002)
    floor = _HEIGHT - _BOTTOM

    def place_x(x: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (x - left) / (right - left)

    def place_y(y: float) -> float:
        return floor - (floor - _TOP) * (y - low) / (1 - low)

    parts = [f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">']
    held = drawn[0][2]
    most = max(1, int(held.episodes.max()))
    for first, last, episodes in zip(
        *(each.tolist() for each in (held.lowest, held.highest, held.episodes)), strict=True
    ):
        begin, end, height = place_x(first - 0.45), place_x(last + 0.45), (floor - _TOP) * episodes / most / 3
        parts.append(
            f'<rect class="share" x="{begin:.1f}" y="{floor - height:.1f}" width="{end - begin:.1f}" '
            f'height="{height:.1f}"><title>{_span(first, last)}: {episodes:,} grids</title></rect>'
        )
    parts += [
        f'<line class="rule" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{place_y(y):.1f}" y2="{place_y(y):.1f}"/>'
        f'<text class="tick" x="{_LEFT - 5}" y="{place_y(y) + 3.5:.1f}" text-anchor="end">{100 * y:.4g}%</text>'
        for y in _ticks(low, 1.0, 5)
    ]
    parts += [
        f'<text class="tick" x="{place_x(x):.1f}" y="{_HEIGHT - 18}" text-anchor="middle">{x:.0f}</text>'
        for x in _ticks(left, right, 6)
        if x == round(x)
    ]
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text class="axis" x="{middle}" y="{_HEIGHT - 3}" text-anchor="middle">{escape(x_label)}</text>')
    places = [[place_x(x) for x in profile.mean.tolist()] for _, _, profile in drawn]
    for (_, colour, profile), across in zip(drawn, places, strict=True):
        lower, upper = profile.interval.T.tolist()
        around = [*zip(across, upper, strict=True), *reversed([*zip(across, lower, strict=True)])]
        points = " ".join(f"{x:.1f},{place_y(y):.1f}" for x, y in around)
        parts.append(f'<polygon class="band f{colour}" points="{points}"/>')
    for (label, colour, profile), across in zip(drawn, places, strict=True):
        rates = profile.rate.tolist()
        points = " ".join(f"{x:.1f},{place_y(y):.1f}" for x, y in zip(across, rates, strict=True))
        parts.append(f'<polyline class="line c{colour}" points="{points}"/>')
        ranges = zip(profile.lowest.tolist(), profile.highest.tolist(), profile.episodes.tolist(), strict=True)
        for x, y, (first, last, episodes) in zip(across, rates, ranges, strict=True):
            told = f"{label}: {y:.1%} of {episodes:,} grids at {_span(first, last)}"
            parts.append(
                f'<circle class="mark f{colour}" cx="{x:.1f}" cy="{place_y(y):.1f}" r="2.6">'
                f"<title>{escape(told)}</title></circle>"
            )
    return "".join([*parts, "</svg>"])


def scatter_chart(
    points: Sequence[tuple[float | str, float, str]], title: str, *, x_label: str, log_x: bool = False
) -> str:
    """Dots (x, y, label); an x that is a word gets a place of its own.

    Args:
        points: what to draw.
        title: read out by screen readers.
        x_label: of the axis.
        log_x: logarithmic axis; all x must be positive numbers.
    """
    if not points:
        return ""
    words = list(dict.fromkeys(x for x, _, _ in points if isinstance(x, str)))
    across = [float(words.index(x)) if isinstance(x, str) else math.log10(x) if log_x else x for x, _, _ in points]
    left, right = (-0.5, len(words) - 0.5) if words else _widened(min(across), max(across))
    low, high = _widened(min(y for _, y, _ in points), max(y for _, y, _ in points))

    def place_x(x: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (x - left) / (right - left)

    def place_y(y: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (y - low) / (high - low)

    parts = [f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">']
    parts += [
        f'<line class="rule" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{place_y(y):.1f}" y2="{place_y(y):.1f}"/>'
        f'<text class="tick" x="{_LEFT - 5}" y="{place_y(y) + 3.5:.1f}" text-anchor="end">{_number(y)}</text>'
        for y in _ticks(low, high, 5)
    ]
    if words:
        marks = [(float(place), word) for place, word in enumerate(words)]
    elif log_x:
        powers = [float(power) for power in range(math.ceil(left), math.floor(right) + 1)]
        # over several decades 1, 2 and 5 of each would run into one another
        ticks = [10**x for x in powers] if len(powers) > 1 else _log_ticks(10**left, 10**right)
        marks = [(math.log10(x), _number(x)) for x in ticks]
    else:
        marks = [(x, _number(x)) for x in _ticks(left, right, 4)]
    parts += [
        f'<text class="tick" x="{place_x(x):.1f}" y="{_HEIGHT - 18}" text-anchor="middle">{escape(text)}</text>'
        for x, text in marks
    ]
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text class="axis" x="{middle}" y="{_HEIGHT - 3}" text-anchor="middle">{escape(x_label)}</text>')
    for x, (shown, y, label) in zip(across, points, strict=True):
        where = shown if isinstance(shown, str) else _number(shown)
        parts.append(
            f'<circle class="mark f0" cx="{place_x(x):.1f}" cy="{place_y(y):.1f}" r="4">'
            f"<title>{escape(f'{label}: {y:.4g} at {where}')}</title></circle>"
        )
    return "".join([*parts, "</svg>"])


def _span(first: int, last: int) -> str:
    """A range of whole numbers in words."""
    return f"{first}" if first == last else f"{first} to {last}"


def _widened(low: float, high: float) -> tuple[float, float]:
    """A little more than from low to high, and never nothing."""
    room = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return low - room, high + room


def _ticks(low: float, high: float, number: int) -> list[float]:
    """Round numbers between low and high."""
    rough = (high - low) / number
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    ticks = [round(index * step, 12) for index in range(first, math.floor(high / step + 1e-9) + 1)]
    return [0.0 if tick == 0 else tick for tick in ticks]


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    inside = [tick for tick in ticks if low <= tick <= high]
    return inside if len(inside) > 1 else _ticks(low, high, 4)


def _number(value: float) -> str:
    return f"{value:.4g}" if 1e-3 <= abs(value) < 1e5 or value == 0 else f"{value:.0e}"
