"""The report's tables: what was run, how it ended, how right it is."""

import json
import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Any, NamedTuple

from iqlightning.analysis.intervals import Estimate, estimate, share
from iqlightning.analysis.report.charts import interval_bar
from iqlightning.analysis.report.examination import Examination
from iqlightning.analysis.runs import Group, Run, differing_settings
from iqlightning.gridworld.game.rules import GOAL_REWARD

__all__ = ["Exhibit", "environment_of", "results_table", "runs_table", "truth_table"]


class Exhibit(NamedTuple):
    """A group of runs with the number of its colour, and what its checkpoint showed or why there is nothing."""

    group: Group
    colour: int
    found: Examination | str


class _Column(NamedTuple):
    """A figure of the results table: its key in a summary, heading, format, and which end of it is better."""

    key: str
    heading: str
    show: Callable[[float], str]
    better: Callable[[Sequence[float]], float] | None
    lowest: float = -math.inf
    highest: float = math.inf


_GRID_COLUMNS = (
    _Column("success_rate", "success", lambda x: f"{x:.1%}", max),
    _Column("distance_ratio", "distance ratio", lambda x: f"{x:.3f}", min, lowest=1.0),
    _Column("manhattan_ratio", "Manhattan ratio", lambda x: f"{x:.3f}", min, lowest=1.0),
    _Column("spl", "SPL", lambda x: f"{x:.3f}", max, lowest=0.0, highest=1.0),
    _Column("mean_return", "mean return", lambda x: f"{x:.2f}", max, highest=GOAL_REWARD),
)
_OTHER_COLUMNS = (
    _Column("mean_return", "mean return", lambda x: f"{x:.2f}", max),
    _Column("mean_length", "mean length", lambda x: f"{x:.1f}", None, lowest=0.0),
)

_TRUTH = {
    "policy_agreement": ("greedy moves on a shortest path", "{:.1%}"),
    "regret": ("regret of the greedy policy (true discounted return)", "{:.3g}"),
    "reward_pearson": ("reward, Pearson", "{:.2f}"),
    "reward_spearman": ("reward, Spearman", "{:.2f}"),
    "reward_epic": ("reward, EPIC distance", "{:.2f}"),
    "reward_shaping_free": ("reward, distance free of shaping", "{:.2f}"),
    "occupancy_divergence": ("occupancy, distance from the soft optimum", "{:.2f}"),
}


def environment_of(run: Run) -> str:
    """The environment of a run in a few words, from its settings or its summary."""
    env: dict[str, Any] = (run.summary or {}).get("env") or {}
    settings = {
        key.removeprefix("data.env."): value for key, value in run.settings.items() if key.startswith("data.env.")
    }
    known = settings | env
    if "id" in known:
        return str(known["id"])
    level = known.get("level", "random_everything")
    walls = known.get("num_walls")
    density = known.get("wall_density")
    what = f"{walls} walls" if walls is not None else f"{density:.0%} walls" if density is not None else "5 walls"
    return f"{level}, {known.get('height', 10)}x{known.get('width', 10)}, {what}"


def runs_table(exhibits: Sequence[Exhibit]) -> str:
    """Each group with its seeds and the settings that set it apart; the common ones folded away."""
    firsts = [exhibit.group.runs[0] for exhibit in exhibits]
    differing = differing_settings(firsts)
    head = "".join(f'<th class="setting">{_breakable(_key(key))}</th>' for key in differing)
    rows = []
    for index, (group, colour, _) in enumerate(exhibits):
        cells = []
        for values in differing.values():
            usual = max(set(values), key=values.count)
            mark = ' class="differs"' if values[index] != usual and values.count(usual) > 1 else ""
            cells.append(f"<td{mark}>{_breakable(values[index])}</td>")
        seeds = ", ".join(str(run.seed) for run in group.runs)
        rows.append(
            f'<tr><td class="name">{_dot(colour)}{escape(group.label)}</td>'
            f"<td>{escape(environment_of(group.runs[0]))}</td><td>{escape(seeds)}</td>{''.join(cells)}</tr>"
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
    environments = list(dict.fromkeys(environment_of(exhibit.group.runs[0]) for exhibit in exhibits))
    for environment in environments:
        rows = _rows([each for each in exhibits if environment_of(each.group.runs[0]) == environment])
        if rows:
            tables.append(f"<h3>{escape(environment)}</h3>{_table(rows)}")
    return "".join(tables)


class _Row(NamedTuple):
    label: str
    policy: str
    colour: int | None
    figures: list[dict[str, Any]]
    baseline: bool


def _rows(exhibits: Sequence[Exhibit]) -> list[_Row]:
    """One row a group and policy; policies that know nothing of the group's training stand below, once."""
    rows: list[_Row] = []
    shared: dict[str, _Row] = {}
    for group, colour, found in exhibits:
        by_policy: dict[str, list[dict[str, Any]]] = {}
        for run in group.runs:
            for figures in (run.summary or {}).get("rows", []):
                by_policy.setdefault(str(figures.get("policy")), []).append(figures)
        if not by_policy and isinstance(found, Examination):
            by_policy["greedy, played for this report"] = [found.results.metrics()]
        for policy, figures in by_policy.items():
            if policy in ("random policy", "shortest-path expert"):
                shared.setdefault(policy, _Row("", policy, None, figures[:1], baseline=True))
            else:
                rows.append(
                    _Row(group.label, policy, colour, figures, baseline=policy.startswith("behaviour cloning,"))
                )
    return rows + list(shared.values())


def _table(rows: Sequence[_Row]) -> str:
    columns = [c for c in _GRID_COLUMNS if any(c.key in row.figures[0] for row in rows)]
    columns = columns if any(c.key == "success_rate" for c in columns) else list(_OTHER_COLUMNS)
    estimates = [[_estimate(row.figures, column.key) for column in columns] for row in rows]
    own = [index for index, row in enumerate(rows) if row.label and not row.baseline]
    best = []
    for place, column in enumerate(columns):
        means = [found.mean for index in own if (found := estimates[index][place]) is not None]
        best.append(column.better(means) if column.better and len(means) > 1 else math.nan)
    heads = "".join(f'<th class="n">{column.heading}</th>' for column in columns)
    lines = []
    for row, found in zip(rows, estimates, strict=True):
        cells = "".join(
            _cell(each, column, math.nan if row.baseline else top)
            for each, column, top in zip(found, columns, best, strict=True)
        )
        bar = ""
        if columns[0].key == "success_rate" and found[0] is not None:
            bar = interval_bar(found[0], 0.0, 1.0, row.colour if row.colour is not None else 7)
        dot = "" if row.colour is None else _dot(row.colour)
        other = ' class="other"' if row.baseline else ""
        seeds = len(row.figures)
        lines.append(
            f'<tr{other}><td class="name">{dot}{escape(row.label)}</td><td>{escape(row.policy)}</td>'
            f'<td class="bars">{bar}</td>{cells}'
            f'<td class="n">{seeds}</td></tr>'
        )
    return (
        f'<div class="scroll"><table><tr><th class="name">run</th><th>policy</th><th class="bars"></th>{heads}'
        f'<th class="n">seeds</th></tr>'
        f"{''.join(lines)}</table></div>"
    )


def _estimate(figures: Sequence[dict[str, Any]], key: str) -> Estimate | None:
    values = [float(each[key]) for each in figures if isinstance(each.get(key), (int, float))]
    if not values:
        return None
    if key == "success_rate":
        return share(values, [int(each.get("episodes", 0)) for each in figures])
    return estimate(values)


def _cell(found: Estimate | None, column: _Column, best: float) -> str:
    if found is None:
        return '<td class="n"></td>'
    mark = ' class="n best"' if found.mean == best else ' class="n"'
    ends = ""
    if found.low is not None and found.high is not None:
        low, high = max(found.low, column.lowest), min(found.high, column.highest)
        ends = f"<br><small>{column.show(low)} to {column.show(high)}</small>"
    return f"<td{mark}>{column.show(found.mean)}{ends}</td>"


def truth_table(exhibits: Sequence[Exhibit]) -> str:
    """How right policy and reward are, on probe grids that are solved exactly."""
    shown = [(each, each.found) for each in exhibits if isinstance(each.found, Examination) and each.found.truth]
    if not shown:
        return ""
    heads = "".join(f'<th class="n">{_dot(each.colour)}{escape(each.group.label)}</th>' for each, _ in shown)
    lines = []
    for key, (label, form) in _TRUTH.items():
        # rounding leaves a 1e-16 where there is nothing
        values = [value if abs(value := found.truth.get(key, math.nan)) > 1e-9 else 0.0 for _, found in shown]
        cells = "".join(f'<td class="n">{form.format(value)}</td>' for value in values)
        lines.append(f"<tr><td>{label}</td>{cells}</tr>")
    correlations = "".join(f'<td class="n">{found.value_correlation:.2f}</td>' for _, found in shown)
    lines.insert(2, f"<tr><td>V, Pearson with the exact V*</td>{correlations}</tr>")
    return f'<div class="scroll"><table><tr><th></th>{heads}</tr>{"".join(lines)}</table></div>'


def _dot(colour: int) -> str:
    return f'<span class="dot b{colour}"></span> '


def _breakable(text: str) -> str:
    """With places at which a narrow column may break it."""
    return escape(text).replace("_", "_<wbr>").replace(".", ".<wbr>")


def _key(key: str) -> str:
    """A key as a heading: ``encoder`` for ``model.encoder.class_path``, ``algorithm`` for ``model.class_path``."""
    key = key.removesuffix(".class_path")
    return {"model": "algorithm", "data": "data"}.get(key, key.partition(".")[2] or key)
