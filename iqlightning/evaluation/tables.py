"""Figures of evaluations as tables: of one policy with their intervals, or of several policies side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from iqlightning.types import EpisodeResults, Figure

__all__ = ["interval_key", "intervals_of", "logged_table", "new_table", "policies_table", "policy_table"]

# a share over more episodes than this is known to more than a tenth of a percent
_FEW_EPISODES = 1000


def interval_key(name: str) -> str:
    """What the 95% interval of a figure is called in files."""
    return f"{name}_ci95"


def intervals_of(results: EpisodeResults) -> dict[str, list[float]]:
    """The 95% intervals, named as in files."""
    return {interval_key(name): list(ends) for name, ends in results.intervals().items()}


def new_table(title: str, *headings: str, words: int = 1, caption: str = "") -> Table:
    """An empty table in the one style that all commands have; where it is too wide it wraps, and nothing is cut.

    Args:
        title: above it.
        headings: of the columns, each may have two lines.
        words: how many columns hold words, on the left; the others hold numbers.
        caption: below it.
    """
    made = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        caption=caption or None,
        caption_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for number, heading in enumerate(headings):
        # of words and of the ends of an interval a space is where to wrap; only a word that is too long is broken
        made.add_column(heading, justify="left" if number < words else "right", overflow="fold")
    return made


def policy_table(title: str, figures: Sequence[Figure], values: Mapping[str, Any]) -> Table:
    """A row for each figure that there is, with its interval if there is one."""
    made = new_table(title, "figure", "value", "95% interval")
    for figure in figures:
        if figure.name in values:
            ends = values.get(interval_key(figure.name), ())
            interval = " to ".join(format(end, figure.form) for end in ends)
            made.add_row(figure.label, format(values[figure.name], figure.form), interval)
    return made


def logged_table(title: str, figures: Sequence[Figure], logged: Mapping[str, float]) -> Table:
    """A row for each figure that was logged, by the name under which it was, such as ``val/mean_return``."""
    known = {figure.name: figure for figure in figures}
    made = new_table(title, "figure", "logged as", "value", words=2)
    for name in sorted(logged, key=lambda name: list(known).index(_leaf(name)) if _leaf(name) in known else len(known)):
        figure = known.get(_leaf(name), Figure(name, "", ".4g"))
        made.add_row(figure.label, name, format(logged[name], figure.form))
    return made


def _leaf(name: str) -> str:
    return name.rpartition("/")[2]


def policies_table(title: str, figures: Sequence[Figure], rows: Sequence[Mapping[str, Any]], episodes: int) -> Table:
    """A row for each policy, a column for each figure that has a heading; narrow enough for 80 columns.

    Shares over many episodes get one digit more.
    """
    shown = [figure for figure in figures if figure.heading]
    made = new_table(title, "policy", *(heading for figure in shown for heading in _headings(figure)))
    for row in rows:
        cells = [cell for figure in shown for cell in _cells(figure, row, episodes)]
        made.add_row(*(Text(cell) for cell in (row["policy"], *cells)))
    return made


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
