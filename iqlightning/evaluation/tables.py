"""Figures of evaluations as tables: of one policy with their intervals, or of several policies side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from iqlightning.types import EpisodeResults, Figure

__all__ = ["interval_key", "intervals_of", "policies_table", "policy_table"]

# a share over more episodes than this is known to more than a tenth of a percent
_FEW_EPISODES = 1000


def interval_key(name: str) -> str:
    """What the 95% interval of a figure is called in files."""
    return f"{name}_ci95"


def intervals_of(results: EpisodeResults) -> dict[str, list[float]]:
    """The 95% intervals, named as in files."""
    return {interval_key(name): list(ends) for name, ends in results.intervals().items()}


def policy_table(title: str, figures: Sequence[Figure], values: Mapping[str, Any]) -> Table:
    """A row for each figure that there is, with its interval if there is one.

    Args:
        title: what was played, and how.
        figures: those that can be shown, in order.
        values: metrics and, as ``NAME_ci95``, intervals.
    """
    table = Table(title=title, title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("95% interval", justify="right")
    for figure in figures:
        if figure.name in values:
            ends = values.get(interval_key(figure.name), ())
            interval = " to ".join(format(end, figure.form) for end in ends)
            table.add_row(figure.label, format(values[figure.name], figure.form), interval)
    return table


def policies_table(title: str, figures: Sequence[Figure], rows: Sequence[Mapping[str, Any]], episodes: int) -> Table:
    """A row for each policy, a column for each figure that has a heading; narrow enough for 80 columns.

    Args:
        title: what was played.
        figures: those that can be shown, in order.
        rows: the policy's label as ``policy``, metrics and, as ``NAME_ci95``, intervals.
        episodes: that each policy played; shares over many get one digit more.
    """
    # fits 80 columns, which is what a log without a terminal gets
    table = Table(
        title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True
    )
    shown = [figure for figure in figures if figure.heading]
    headings = [heading for figure in shown for heading in _headings(figure)]
    table.add_column("policy", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        cells = [cell for figure in shown for cell in _cells(figure, row, episodes)]
        table.add_row(*(Text(cell) for cell in (row["policy"], *cells)))
    return table


def _headings(figure: Figure) -> list[str]:
    return [figure.heading, "95%\ninterval"] if figure.beside == "interval" else [figure.heading]


def _cells(figure: Figure, row: Mapping[str, Any], episodes: int) -> list[str]:
    form = figure.column_form
    if form.endswith("%") and episodes > _FEW_EPISODES:
        form = f".{int(form[1:-1]) + 1}%"
    value = format(row[figure.name], form)
    if figure.beside == "interval":
        ends = row[interval_key(figure.name)]
        return [value, " to ".join(format(end, form).removesuffix("%") for end in ends)]
    return [f"{value} ± {format(row[figure.beside], form)}" if figure.beside else value]
