"""The report's tables: what was run, and how it ended."""

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from iqlightning.analysis.charts import DASHES, PALETTE, dashes
from iqlightning.analysis.intervals import Estimate, estimate, share
from iqlightning.analysis.report.exhibit import Exhibit
from iqlightning.analysis.runs import Run, differing_settings, settings_of_some
from iqlightning.provenance import in_brief
from iqlightning.types import Figure

__all__ = ["Standing", "dot", "figures_table", "interval_of", "look", "results_table", "runs_table", "standings"]


def dot(colour: int) -> str:
    """A dot in one of the page's colours; beyond the palette a stroke with the dashes of the curves."""
    return f'<i class="{"dot" if not dashes(colour) else "stroke"} {look(colour)}"></i> '


def look(colour: int) -> str:
    """Classes of the style sheet: of the colour and, beyond the palette, of the dashes."""
    cycle = colour // len(PALETTE) % len(DASHES)
    return f"b{colour % len(PALETTE)}" + (f" d{cycle}" if cycle else "")


def runs_table(exhibits: Sequence[Exhibit]) -> str:
    """Each group with its seeds and every setting that differs; those that not all have, or all share, fold away."""
    firsts = [exhibit.group.runs[0] for exhibit in exhibits]
    differing = differing_settings(firsts)
    wide = len(differing) > _COLUMNS
    head = "".join(f'<th class="setting" scope="col">{_breakable(_key(key))}</th>' for key in differing if not wide)
    marked = [[_setting(values, index) for values in differing.values()] for index in range(len(exhibits))]
    rows = []
    for exhibit, cells in zip(exhibits, marked, strict=True):
        seeds = ", ".join(str(run.seed) for run in exhibit.group.runs)
        rows.append(
            f'<tr><th class="name" scope="row">{dot(exhibit.colour)}{_breakable(exhibit.group.label)}</th>'
            f"<td>{escape(exhibit.place)}</td><td>{escape(seeds)}</td>{'' if wide else ''.join(cells)}</tr>"
        )
    apart = _settings("settings that differ", exhibits, differing) if wide else ""
    if partly := settings_of_some(firsts):
        apart += f"<details><summary>{len(partly)} settings that not all have</summary>"
        apart += f"{_settings('settings that not all have', exhibits, partly)}</details>"
    folders = escape("\n".join(_origin(run) for exhibit in exhibits for run in exhibit.group.runs))
    common = {
        key: value
        for key, value in firsts[0].settings.items()
        if all(f.settings.get(key, ...) == value for f in firsts)
    }
    listing = escape("\n".join(f"{key}: {json.dumps(value, default=str)}" for key, value in common.items()))
    return (
        f'<div {_SCROLLS} aria-label="what was run"><table><thead><tr><th class="name" scope="col">run</th>'
        f'<th scope="col">environment</th><th scope="col">seed</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>{apart}"
        f'<details class="more"><summary>{len(common)} settings that all share</summary>'
        f'<pre {_SCROLLS} aria-label="shared settings"><small>{listing}</small></pre></details>'
        '<details class="more"><summary>folders, and what made them</summary>'
        f'<pre {_SCROLLS} aria-label="folders"><small>{folders}</small></pre></details>'
    )


def figures_table(label: str, figures: Sequence[str], runs: Sequence[tuple[Exhibit, Sequence[str]]]) -> str:
    """A row for each figure, a column for each configuration; ``label`` is read out by screen readers."""
    cells = [(each, [f'<td class="n">{escape(value)}</td>' for value in values]) for each, values in runs]
    return _beside(label, "figure", figures, cells, numbers=True)


def _beside(
    label: str,
    corner: str,
    names: Sequence[str],
    columns: Sequence[tuple[Exhibit, Sequence[str]]],
    *,
    numbers: bool = False,
) -> str:
    """A row for each name, and of each configuration its cells as a column; many share no table, as pages are narrow.

    Args:
        label: read out by screen readers.
        corner: heading of the names.
        names: of the rows.
        columns: of each configuration the cells, as HTML, as many as names.
        numbers: whether the cells stand to the right, as numbers do.
    """
    tables = []
    kind = "n setting" if numbers else "setting"
    for first in range(0, len(columns), _BESIDE):
        shown = columns[first : first + _BESIDE]
        heads = "".join(
            f'<th class="{kind}" scope="col">{dot(each.colour)}{_breakable(each.group.label)}</th>' for each, _ in shown
        )
        lines = "".join(
            f'<tr><th class="name" scope="row">{_breakable(name)}</th>{"".join(cells[row] for _, cells in shown)}</tr>'
            for row, name in enumerate(names)
        )
        several = f", from {first + 1}" if len(columns) > _BESIDE else ""
        tables.append(
            f'<div {_SCROLLS} aria-label="{escape(label)}{several}"><table><thead><tr><th class="name" scope="col">'
            f"{corner}</th>{heads}</tr></thead><tbody>{lines}</tbody></table></div>"
        )
    return "".join(tables)


def _settings(label: str, exhibits: Sequence[Exhibit], settings: Mapping[str, list[str]]) -> str:
    columns = [(each, [_setting(values, run) for values in settings.values()]) for run, each in enumerate(exhibits)]
    return _beside(label, "setting", list(map(_key, settings)), columns)


def _setting(values: Sequence[str], index: int) -> str:
    """The cell of a setting, marked where most others have another value; not having it is no mark."""
    differs = ' class="differs"' if _is_unusual(values, index) and "" not in values else ""
    return f"<td{differs}>{_breakable(values[index])}</td>"


def _is_unusual(values: Sequence[str], index: int) -> bool:
    """Whether most others have another value; where all differ nothing is unusual, and it is shown all the same."""
    usual = max(sorted(set(values)), key=values.count)
    return values[index] != usual and values.count(usual) > 1


def _origin(run: Run) -> str:
    """The folder, and below it command, versions, machine and times, where it has them."""
    made = run.made or {}
    times = " to ".join(str(made[name]) for name in ("begun", "ended") if made.get(name))
    lines = [str(run.folder), str(made.get("command", "")), in_brief(made), times]
    return "\n  ".join(line for line in lines if line)


def results_table(exhibits: Sequence[Exhibit]) -> str:
    """Figures on unseen episodes with intervals over seeds, one table for each environment."""
    tables = []
    for place in dict.fromkeys(each.place for each in exhibits):
        here = [each for each in exhibits if each.place == place]
        env = here[0].env
        if env is not None and (rows := _rows(here, {"random policy", *env.references()})):
            tables.append(f"<h3>{escape(place)}</h3>{_table(rows, env.FIGURES, place)}")
    return "".join(tables)


# Settings that differ, beyond which they are the rows of a table of their own; configurations that stand beside
# each other in such a table, as many as a sheet of paper has room for.
_COLUMNS, _BESIDE = 8, 5

# what is wider than the page can be scrolled, also by keyboard
_SCROLLS = 'class="scroll" role="region" tabindex="0"'


def interval_of(figure: Figure) -> str:
    """What the interval of a final figure is, in words."""
    if figure.name == "success_rate":
        return (
            "bars are 95% intervals: over seeds (Student's t) and never narrower than Wilson's over the episodes, "
            "which stands alone where there is one seed"
        )
    return "bars are 95% intervals over seeds (Student's t); one seed has none"


class Standing(NamedTuple):
    """A figure of a policy on unseen episodes, over seeds.

    Attributes:
        label: of the runs; "" for a policy that knows nothing of them.
        policy: which of theirs.
        colour: number of their colour.
        figure: what is measured.
        value: its mean and interval.
        own: whether it is what the runs trained, not what they are compared with.
    """

    label: str
    policy: str
    colour: int | None
    figure: Figure
    value: Estimate
    own: bool


def standings(exhibits: Sequence[Exhibit]) -> list[Standing]:
    """Every figure of the tables of one environment, row by row."""
    env = exhibits[0].env
    if env is None:
        return []
    rows = _rows(exhibits, {"random policy", *env.references()})
    return [
        Standing(row.label, row.policy, row.colour, figure, value, bool(row.label) and not row.baseline)
        for row in rows
        for figure in env.FIGURES
        if (value := _estimate(row.seeds, figure.name)) is not None
    ]


class _Row(NamedTuple):
    """A policy, with the figures of each seed."""

    label: str
    policy: str
    colour: int | None
    seeds: Sequence[Mapping[str, Any]]
    baseline: bool


def _rows(exhibits: Sequence[Exhibit], references: set[str]) -> list[_Row]:
    """One row a group and policy; policies that know nothing of the group's training stand below, once."""
    rows: list[_Row] = []
    shared: dict[str, _Row] = {}
    for each in exhibits:
        by_policy: dict[str, list[Mapping[str, Any]]] = {}
        for run in each.group.runs:
            for figures in (run.summary or {}).get("rows", []):
                by_policy.setdefault(str(figures.get("policy")), []).append(figures)
        if each.played is not None:
            by_policy["greedy, played for this report"] = [each.played]
        for policy, seeds in by_policy.items():
            if policy in references:
                shared.setdefault(policy, _Row("", policy, None, seeds[:1], baseline=True))
            else:
                cloned = policy.startswith("behaviour cloning,")
                rows.append(_Row(each.group.label, policy, each.colour, seeds, baseline=cloned))
    return rows + list(shared.values())


def _table(rows: Sequence[_Row], figures: Sequence[Figure], environment: str) -> str:
    known = [figure for figure in figures if any(figure.name in row.seeds[0] for row in rows)]
    columns = [figure for figure in known if figure.heading or figure.better]
    estimates = [[_estimate(row.seeds, column.name) for column in columns] for row in rows]
    own = [index for index, row in enumerate(rows) if row.label and not row.baseline]
    best = []
    for place, column in enumerate(columns):
        means = [each.mean for index in own if (each := estimates[index][place]) is not None]
        end = {"high": max, "low": min, "": None}[column.better]
        best.append(end(means) if end is not None and len(means) > 1 else math.nan)
    heads = "".join(f'<th class="n" scope="col">{escape(column.heading or column.label)}</th>' for column in columns)
    # a heading is too narrow for what a label has in brackets: how the figure is made
    explained = "; ".join(escape(column.label) for column in columns if column.heading and "(" in column.label)
    defined = f"<p><small>{explained}.</small></p>" if explained else ""
    lines = []
    for row, means in zip(rows, estimates, strict=True):
        cells = "".join(
            _cell(each, column, math.nan if row.baseline else top)
            for each, column, top in zip(means, columns, best, strict=True)
        )
        bar = ""
        if columns[0].name == "success_rate" and means[0] is not None:
            bar = _interval_bar(means[0], row.colour if row.colour is not None else 7)
        mark = "" if row.colour is None else dot(row.colour)
        other = ' class="other"' if row.baseline else ""
        name = (
            f'<th class="name" scope="row">{mark}{_breakable(row.label)}</th>'
            if row.label
            else '<td class="name"></td>'
        )
        lines.append(
            f'<tr{other}>{name}<td class="policy">{escape(row.policy)}</td>'
            f'<td class="bars">{bar}</td>{cells}'
            f'<td class="n">{len(row.seeds)}</td></tr>'
        )
    return (
        f'<div {_SCROLLS} aria-label="results, {escape(environment)}"><table><thead><tr><th class="name" scope="col">'
        f'run</th><th scope="col">policy</th><td class="bars"></td>{heads}<th class="n" scope="col">number\n'
        f"of seeds</th></tr></thead><tbody>{''.join(lines)}</tbody></table></div>{defined}"
    )


def _estimate(seeds: Sequence[Mapping[str, Any]], name: str) -> Estimate | None:
    values = [float(each[name]) for each in seeds if isinstance(each.get(name), (int, float))]
    if not values:
        return None
    if name == "success_rate":
        return share(values, [int(each.get("episodes", 0)) for each in seeds])
    return estimate(values)


def _cell(value: Estimate | None, column: Figure, best: float) -> str:
    if value is None:
        return '<td class="n"></td>'
    mark = ' class="n best"' if value.mean == best else ' class="n"'
    ends = ""
    if value.low is not None and value.high is not None:
        low, high = max(value.low, column.limits[0]), min(value.high, column.limits[1])
        ends = f"<br><small>{low:{column.column_form}} to {high:{column.column_form}}</small>"
    return f"<td{mark}>{value.mean:{column.column_form}}{ends}</td>"


def _interval_bar(value: Estimate, colour: int) -> str:
    """A dot with its interval on a line from 0 to 100%."""
    low, high = (value.mean if end is None else end for end in (value.low, value.high))
    return (
        f'<div class="bar" aria-hidden="true"><i class="b{colour % len(PALETTE)}" '
        f'style="left:{low:.1%};width:{high - low:.1%}"></i>'
        f'<b class="b{colour % len(PALETTE)}" style="left:{value.mean:.1%}"></b></div>'
    )


def _breakable(text: str) -> str:
    """With places at which a narrow column may break it."""
    return escape(text).replace("_", "_<wbr>").replace(".", ".<wbr>")


def _key(key: str) -> str:
    """A key as a heading: ``encoder`` for ``model.encoder.class_path``, ``algorithm`` for ``model.class_path``."""
    key = key.removesuffix(".class_path")
    return {"model": "algorithm", "data": "data"}.get(key, key.partition(".")[2] or key)
