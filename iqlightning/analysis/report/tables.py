"""The report's tables: what was run, and how it ended."""

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from iqlightning.analysis.intervals import Estimate, estimate, share
from iqlightning.analysis.report.exhibit import Exhibit
from iqlightning.analysis.runs import differing_settings
from iqlightning.types import Figure

__all__ = ["dot", "results_table", "runs_table"]


def dot(colour: int) -> str:
    """A dot in one of the page's colours."""
    return f'<span class="dot b{colour}"></span> '


def runs_table(exhibits: Sequence[Exhibit]) -> str:
    """Each group with its seeds and the settings that set it apart; the common ones folded away."""
    firsts = [exhibit.group.runs[0] for exhibit in exhibits]
    differing = differing_settings(firsts)
    head = "".join(f'<th class="setting">{_breakable(_key(key))}</th>' for key in differing)
    rows = []
    for index, exhibit in enumerate(exhibits):
        cells = []
        for values in differing.values():
            usual = max(set(values), key=values.count)
            mark = ' class="differs"' if values[index] != usual and values.count(usual) > 1 else ""
            cells.append(f"<td{mark}>{_breakable(values[index])}</td>")
        seeds = ", ".join(str(run.seed) for run in exhibit.group.runs)
        rows.append(
            f'<tr><td class="name">{dot(exhibit.colour)}{escape(exhibit.group.label)}</td>'
            f"<td>{escape(exhibit.place)}</td><td>{escape(seeds)}</td>{''.join(cells)}</tr>"
        )
    folders = escape("\n".join(str(run.folder) for exhibit in exhibits for run in exhibit.group.runs))
    common = {
        key: value for key, value in firsts[0].settings.items() if all(f.settings.get(key) == value for f in firsts)
    }
    listing = escape("\n".join(f"{key}: {json.dumps(value, default=str)}" for key, value in common.items()))
    return (
        f'<div class="scroll"><table><tr><th class="name">run</th><th>environment</th><th>seeds</th>{head}</tr>'
        f"{''.join(rows)}</table></div><details><summary>{len(common)} settings that all share</summary>"
        f'<pre class="scroll"><small>{listing}</small></pre></details><details><summary>folders</summary>'
        f'<pre class="scroll"><small>{folders}</small></pre></details>'
    )


def results_table(exhibits: Sequence[Exhibit]) -> str:
    """Figures on unseen episodes with intervals over seeds, one table for each environment."""
    tables = []
    for place in dict.fromkeys(each.place for each in exhibits):
        here = [each for each in exhibits if each.place == place]
        env = here[0].env
        if env is not None and (rows := _rows(here, {"random policy", *env.references()})):
            tables.append(f"<h3>{escape(place)}</h3>{_table(rows, env.FIGURES)}")
    return "".join(tables)


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


def _table(rows: Sequence[_Row], figures: Sequence[Figure]) -> str:
    known = [figure for figure in figures if any(figure.name in row.seeds[0] for row in rows)]
    columns = [figure for figure in known if figure.heading or figure.better]
    estimates = [[_estimate(row.seeds, column.name) for column in columns] for row in rows]
    own = [index for index, row in enumerate(rows) if row.label and not row.baseline]
    best = []
    for place, column in enumerate(columns):
        means = [each.mean for index in own if (each := estimates[index][place]) is not None]
        end = {"high": max, "low": min, "": None}[column.better]
        best.append(end(means) if end is not None and len(means) > 1 else math.nan)
    heads = "".join(f'<th class="n">{escape(column.heading or column.label)}</th>' for column in columns)
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
        lines.append(
            f'<tr{other}><td class="name">{mark}{escape(row.label)}</td><td>{escape(row.policy)}</td>'
            f'<td class="bars">{bar}</td>{cells}'
            f'<td class="n">{len(row.seeds)}</td></tr>'
        )
    return (
        f'<div class="scroll"><table><tr><th class="name">run</th><th>policy</th><th class="bars"></th>{heads}'
        f'<th class="n">seeds</th></tr>'
        f"{''.join(lines)}</table></div>"
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
        f'<div class="bar" aria-hidden="true"><i class="b{colour}" style="left:{low:.1%};width:{high - low:.1%}"></i>'
        f'<b class="b{colour}" style="left:{value.mean:.1%}"></b></div>'
    )


def _breakable(text: str) -> str:
    """With places at which a narrow column may break it."""
    return escape(text).replace("_", "_<wbr>").replace(".", ".<wbr>")


def _key(key: str) -> str:
    """A key as a heading: ``encoder`` for ``model.encoder.class_path``, ``algorithm`` for ``model.class_path``."""
    key = key.removesuffix(".class_path")
    return {"model": "algorithm", "data": "data"}.get(key, key.partition(".")[2] or key)
