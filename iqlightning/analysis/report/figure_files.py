"""A report's learning curves, final figures and episodes as files for a paper: PDF, SVG and, of the same points, CSV.

What environments show of themselves, such as GridWorld's maps and failures, is in the report alone.
``figures.json`` beside the files says what each shows and which program made them.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from iqlightning.analysis.charts import boxes, intervals, literal
from iqlightning.analysis.report.exhibit import Exhibit
from iqlightning.analysis.report.sections import Chart, by
from iqlightning.analysis.report.tables import Standing, interval_of, standings
from iqlightning.analysis.report.watched import DISTRIBUTIONS, Watched
from iqlightning.errors import UserError
from iqlightning.files import path_of, write_atomically

__all__ = ["require_own_folder", "write_figures"]

_INDEX = "figures.json"

Rows = Iterable[Sequence[object]]


def require_own_folder(folder: str | Path, mark: str, *, force: bool = False) -> None:
    """Before any work is done for it: the folder is new, empty, or made by the same program.

    Raises:
        UserError: if it is none of these, unless ``force`` says that what is there may be replaced.
    """
    path = path_of(folder)
    if path.exists() and not path.is_dir():
        raise UserError(f"cannot write figures to '{folder}': it is not a folder")
    if force or not path.exists() or not any(path.iterdir()):
        return
    index = path / _INDEX
    if not index.is_file() or mark not in index.read_text(encoding="utf-8", errors="replace"):
        raise UserError(f"'{folder}' holds other files; name another folder for the figures, or give --force")


def write_figures(
    folder: str | Path, charts: Sequence[Chart], exhibits: Sequence[Exhibit], watched: Sequence[Watched], mark: str
) -> None:
    """Writes them all.

    Args:
        folder: where to; it is made if need be.
        charts: learning curves.
        exhibits: whose final figures are drawn.
        watched: policies that have played; returns and lengths of their episodes are drawn.
        mark: of the program that made them.

    Raises:
        UserError: if one cannot be written.
    """
    files = _Files(path_of(folder), mark)
    for chart in charts:
        points = (
            # one seed has no interval
            (series.label, series.band.seeds, x, mean, *((low, high) if series.band.seeds > 1 else ("", "")))
            for series in chart.series
            for x, mean, low, high in zip(*series.band[:4], strict=True)
        )
        head = ("configuration", "seeds", "updates", "mean", "low", "high")
        files.write(chart.name, chart.figure(legend=True), head, points, f"{chart.heading}. {chart.meaning}")
    for place, shown in by(exhibits, lambda each: each.place).items():
        _write_results(files, place, standings(shown))
    for place in dict.fromkeys(each.exhibit.place for each in watched):
        _write_episodes(files, place, [each for each in watched if each.exhibit.place == place])
    files.write_index()


def _write_results(files: "_Files", place: str, found: Sequence[Standing]) -> None:
    """All final figures as one table, and the most telling one drawn."""
    if not found:
        return
    rows = (
        (each.label, each.policy, each.figure.name, each.value.number, each.value.mean, each.value.low, each.value.high)
        for each in found
    )
    head = ("configuration", "policy", "figure", "seeds", "mean", "low", "high")
    figure = found[0].figure
    # of each configuration the first policy, which is the greedy one
    drawn = {each.label: each for each in reversed(found) if each.figure == figure and each.own}
    lines = [(each.label, each.colour or 0, each.value) for each in reversed(drawn.values())]
    picture = intervals(lines, figure.label, percent=figure.form.endswith("%")) if lines else None
    what = f"{figure.label} of each configuration's first policy on unseen episodes of {place}; {interval_of(figure)}"
    files.write(f"{place}-results", picture, head, rows, what)


def _write_episodes(files: "_Files", place: str, watched: Sequence[Watched]) -> None:
    played = [(each.exhibit, each.results) for each in watched if each.results is not None]
    for name, axis in DISTRIBUTIONS.items() if played else ():
        lines = [(each.group.label, each.colour, getattr(results, name).tolist()) for each, results in played]
        rows = ((label, number, value) for label, _, values in lines for number, value in enumerate(values))
        head = ("configuration", "episode", name.removesuffix("s"))
        files.write(
            f"{place}-{name}", boxes(lines, axis), head, rows, f"{axis}, {place}: median, middle half, 5 to 95%"
        )


class _Files:
    """The files of a folder."""

    def __init__(self, folder: Path, mark: str) -> None:
        self._folder, self._mark = folder, mark
        self._shown: dict[str, str] = {}

    def write(self, name: str, figure: Figure | None, head: Sequence[str], rows: Rows, what: str) -> None:
        """A figure, if there is one, and its points."""
        stem = base = re.sub(r"[^\w.-]+", "_", name)[:100]
        number = 1
        while stem in self._shown:
            number += 1
            stem = f"{base}-{number}"
        self._shown[stem] = what
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([head, *rows])
        self._save(f"{stem}.csv", text.getvalue().encode())
        for kind, undated in (("pdf", "CreationDate"), ("svg", "Date")) if figure is not None else ():
            drawn = io.BytesIO()
            facts: dict[str, Any] = {"Creator": self._mark, undated: None}
            # fonts that journals take, and the same file for the same figure
            with matplotlib.rc_context({"pdf.fonttype": 42, "svg.hashsalt": stem}):
                literal(figure).savefig(drawn, format=kind, metadata=facts)  # type: ignore[union-attr]
            self._save(f"{stem}.{kind}", drawn.getvalue())

    def write_index(self) -> None:
        """What each shows."""
        index = {"generator": self._mark, "figures": self._shown}
        self._save(_INDEX, f"{json.dumps(index, indent=2)}\n".encode())

    def _save(self, name: str, content: bytes) -> None:
        write_atomically(self._folder / name, content, what="figure")
