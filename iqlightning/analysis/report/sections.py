"""The report's sections: each a figure or table, one sentence on what the study saw and one on what is seen here."""

from collections.abc import Callable, Sequence
from html import escape

import torch

from iqlightning.analysis.intervals import band
from iqlightning.analysis.report import pictures
from iqlightning.analysis.report.charts import Series, line_chart, quantile_chart
from iqlightning.analysis.report.examination import Examination
from iqlightning.analysis.report.page import Section
from iqlightning.analysis.report.profiles import success_section
from iqlightning.analysis.report.tables import Exhibit, environment_of, results_table, runs_table, truth_table
from iqlightning.analysis.runs import Run
from iqlightning.gridworld.evaluation.failures import clearest, count_kinds, path_of, q_along
from iqlightning.gridworld.evaluation.value_maps import ValueMaps

__all__ = ["sections"]

_PICTURED = 2  # probe grids drawn for each group
_WALKS = 6

# figure to (heading, logarithmic, a share, what it is)
_CURVES = {
    "val/success_rate": ("success rate", False, True, "Share of validation grids whose goal is reached, greedily."),
    "val/distance_ratio": ("distance ratio", True, False, "Moves made / shortest path; failures count the move limit."),
    "val/mean_return": ("mean return", False, False, "Undiscounted return of validation episodes."),
    "val/expert_agreement": (
        "agreement with the expert",
        False,
        True,
        "Held-out moves that the policy would make too.",
    ),
    "train/loss": ("loss", False, False, "Of the objective: losses of different algorithms have nothing in common."),
    "train/entropy": ("entropy", False, False, "Of the drawn policy on training states, in nats."),
    "train/reward": ("recovered reward", False, False, "Mean over the expert's transitions."),
    "train/q": ("Q", False, False, "Mean over the actions of training transitions."),
}


def sections(exhibits: Sequence[Exhibit]) -> list[Section]:
    """All of them, in the order of the page; those without anything to show have an empty body."""
    grids = [(each, each.found) for each in exhibits if isinstance(each.found, Examination)]
    return [
        Section("runs", "What was run", runs_table(exhibits) + _not_examined(exhibits)),
        Section("results", "How it ended", _results(exhibits)),
        Section("curves", "How it learned", _curves(exhibits)),
        Section("maps", "Value, policy and reward", _maps(grids)),
        Section("visits", "Where they go", _visits(grids)),
        Section("rewards", "Recovered and true reward", _rewards(exhibits, grids)),
        Section(
            "success", "What success depends on", success_section([(each, found.results) for each, found in grids])
        ),
        Section("failures", "Failures", _failures(grids)),
        Section("walks", "Sample grids", _walks(grids)),
    ]


Grids = Sequence[tuple[Exhibit, Examination]]


def _study(text: str) -> str:
    return f'<p class="study"><b>The study:</b> {text}</p>'


def _heading(exhibit: Exhibit) -> str:
    return f'<h3><span class="dot b{exhibit.colour}"></span> {escape(exhibit.group.label)}</h3>'


def _not_examined(exhibits: Sequence[Exhibit]) -> str:
    missing = [f"{escape(each.group.label)} ({escape(each.found)})" for each in exhibits if isinstance(each.found, str)]
    return f"<p><small>Without pictures below: {', '.join(missing)}.</small></p>" if missing else ""


def _results(exhibits: Sequence[Exhibit]) -> str:
    table = results_table(exhibits)
    if not table:
        return ""
    grids = any(map(_plays_grids, exhibits))
    text = (
        "<p>Unseen episodes with the best checkpoint of each run. Intervals are 95%: over seeds (Student's t) from two "
        f"seeds on{'; for the success rate never narrower than Wilson&rsquo;s over its episodes' if grids else ''}. "
        "Bold is the best mean of the runs' own policies.</p>"
    )
    study = "its released networks, played greedily on fresh grids (10x10, 5 walls, random start), reach the goal on "
    study += "56% (IQ-Learn) and 56% (DQN) with random walls, on 7.9% and 2.4% with random walls and goal; a random "
    study += "policy on 33%. Its humans had Manhattan ratios of 1.00 to 1.03, its networks about 3."
    return text + (_study(study) if grids else "") + table


def _curves(exhibits: Sequence[Exhibit]) -> str:
    parts = []
    places = _by(exhibits, environment_of)
    for place, shown in places.items():
        charts = _charts(shown)
        if charts:
            keys = "".join(f'<span><i class="b{e.colour}"></i>{escape(e.group.label)}</span>' for e in shown)
            heading = f"<h3>{escape(place)}</h3>" if len(places) > 1 else ""
            parts.append(f'{heading}<div class="key">{keys}</div><div class="charts">{"".join(charts)}</div>')
    if not parts:
        return ""
    several = any(len(exhibit.group.runs) > 1 for exhibit in exhibits)
    text = (
        "<p>Means over seeds; shaded are 95% intervals (Student's t) from three seeds on, the range of two.</p>"
        if several
        else "<p>One seed each, so no intervals.</p>"
    )
    study = _study("IQ-Learn converges within 200 steps, DQN slowly.") if any(map(_plays_grids, exhibits)) else ""
    return f"{text}{study}{_seen(exhibits)}{''.join(parts)}"


def _charts(exhibits: Sequence[Exhibit]) -> list[str]:
    """A figure for each curve that any of them has."""
    charts = []
    for name, (heading, log, percent, meaning) in _CURVES.items():
        if name == "val/mean_return" and any(map(_plays_grids, exhibits)):
            continue
        parts = {"": exhibits}
        if name == "train/loss":
            parts = _by(exhibits, lambda run: str(run.settings.get("model.class_path", "")).rpartition(".")[2])
        for algorithm, shown in parts.items():
            series = []
            for group, colour, _ in shown:
                curves = [run.curves[name] for run in group.runs if run.curves.get(name)]
                if curves:
                    series.append(Series(group.label, colour, band(curves)))
            called = f"{heading}, {algorithm}" if len(parts) > 1 else heading
            if chart := line_chart(series, called, log=log, percent=percent):
                caption = f"<b>{escape(called)}</b>. {meaning}"
                charts.append(f"<figure>{chart}<figcaption>{caption}</figcaption></figure>")
    return charts


def _by(exhibits: Sequence[Exhibit], what: Callable[[Run], str]) -> dict[str, Sequence[Exhibit]]:
    """What is asked of the first run to the exhibits, both in order of appearance."""
    found: dict[str, list[Exhibit]] = {}
    for exhibit in exhibits:
        found.setdefault(what(exhibit.group.runs[0]), []).append(exhibit)
    return dict(found)


def _plays_grids(exhibit: Exhibit) -> bool:
    """Whether the study has anything to do with it."""
    return any("val/distance_ratio" in run.curves for run in exhibit.group.runs) or isinstance(
        exhibit.found, Examination
    )


def _seen(exhibits: Sequence[Exhibit]) -> str:
    """When the success rate came within one point of its best."""
    parts = []
    for group, _, _ in exhibits:
        curves = [run.curves["val/success_rate"] for run in group.runs if run.curves.get("val/success_rate")]
        found = band(curves) if curves else None
        if found is not None and found.x:
            best = max(found.mean)
            when = next(x for x, y in zip(found.x, found.mean, strict=True) if y >= best - 0.01)
            parts.append(f"{escape(group.label)} comes within a point of its best, {best:.1%}, after {when:,} updates")
    return f"<p>Here: {'; '.join(parts)}.</p>" if parts else ""


def _maps(grids: Grids) -> str:
    if not grids:
        return ""
    parts = [
        "<p>Unseen grids, the same for all runs of a level. Arrows are red where no shortest path goes that way. "
        "V and the recovered reward have each run's own scale; the last column is the exact soft optimum of the true "
        "reward at the run's discount and temperature.</p>",
        _study("the value maps of IQ-Learn look shapeless, and the policy runs into walls."),
    ]
    said = ", ".join(f"{found.value_correlation:.2f} ({escape(e.group.label)})" for e, found in grids)
    parts.append(f"<p>Here V correlates with the exact V* by {said}.</p>")
    for exhibit, found in grids:
        parts.append(_heading(exhibit) + _map_tiles(found.maps))
    return "".join(parts)


def _map_tiles(maps: ValueMaps) -> str:
    v, best = (_range(values, maps) for values in (maps.v, maps.optimal_v))
    reward = _range(maps.greedy_rewards, maps)
    furthest = max(abs(reward[0]), abs(reward[1])) or 1.0
    tiles = []
    for grid in range(min(_PICTURED, len(maps.v))):
        walls, goal, shown = maps.layouts.walls[grid], int(maps.layouts.goal[grid]), maps.reachable[grid]

        def cut(values: torch.Tensor, shown: torch.Tensor = shown) -> torch.Tensor:
            return values.masked_fill(~shown, torch.nan)

        value = pictures.cells(cut(maps.v[grid]), *v, pictures.SEQUENTIAL)
        moves = pictures.arrows(maps.greedy[grid], maps.on_shortest_path[grid], shown)
        recovered = pictures.cells(cut(maps.greedy_rewards[grid]), -furthest, furthest, pictures.DIVERGING)
        optimal = pictures.cells(cut(maps.optimal_v[grid]), *best, pictures.SEQUENTIAL)
        for layers, caption in (
            ((value,), "V(s)"),
            (("", moves), "greedy policy"),
            ((recovered,), "reward of the greedy move"),
            ((optimal,), "exact optimal V*"),
        ):
            tiles.append(_figure(pictures.tile(walls, goal, *layers, label=caption), caption))
    bars = pictures.colour_bar(*v, pictures.SEQUENTIAL, "V(s)")
    bars += pictures.colour_bar(-furthest, furthest, pictures.DIVERGING, "reward")
    bars += pictures.colour_bar(*best, pictures.SEQUENTIAL, "V*")
    return f'<div class="tiles four">{"".join(tiles)}</div><div class="key">{bars}</div>'


def _visits(grids: Grids) -> str:
    shown = [(exhibit, found, found.visits) for exhibit, found in grids if found.visits is not None]
    if not shown:
        return ""
    parts = [
        "<p>How often each cell is visited when episodes start everywhere, exactly, discounted as in training. The "
        "expert draws among all shortest paths; a greedy policy takes one of them, so some distance is no fault. The "
        "distance is total variation, 0 (the same) to 1.</p>"
    ]
    for exhibit, found, visits in shown:
        maps = (("expert", visits.expert), ("greedy", visits.greedy), ("drawn", visits.drawn))
        tiles = []
        for grid in range(min(_PICTURED, len(visits.expert))):
            # one scale a grid, and the square root, so that what is rare can be seen beside a loop
            high = float(torch.nan_to_num(visits.expert[grid]).max()) ** 0.5 * 1.3
            for label, values in maps:
                layer = pictures.cells(values[grid].sqrt(), 0.0, high, pictures.VISITS)
                distance = {"greedy": visits.greedy_distance, "drawn": visits.drawn_distance}.get(label)
                caption = "expert" if distance is None else f"{label}, {float(distance[grid]):.2f} apart"
                picture = pictures.tile(
                    visits.layouts.walls[grid], int(visits.layouts.goal[grid]), layer, label=caption
                )
                tiles.append(_figure(picture, caption))
        mean = f"mean over {len(visits.expert)} grids: greedy {float(visits.greedy_distance.mean()):.2f}, drawn "
        mean += f"{float(visits.drawn_distance.mean()):.2f} (temperature {found.policy.value.temperature:g})"
        parts.append(
            f'{_heading(exhibit)}<div class="tiles six">{"".join(tiles)}</div><p><small>Distance, {mean}.</small></p>'
        )
    note = "of all visits to a grid, its own scale; the square root, so that what is rare is seen"
    apart = ", ".join(f"{escape(e.group.label)} {float(v.greedy_distance.mean()):.2f}" for e, _, v in shown)
    parts[1:1] = [
        _study("drew such maps for its expert and its networks, without a figure of their distance."),
        f"<p>Here the greedy policy's visits are apart from the expert's by {apart} (mean over grids).</p>",
        pictures.colour_bar("never", "often", pictures.VISITS, note),
    ]
    return "".join(parts)


def _rewards(exhibits: Sequence[Exhibit], grids: Grids) -> str:
    if not grids:
        return ""
    charts = []
    for exhibit, found in grids:
        chart = quantile_chart(found.rewards, f"recovered reward, {exhibit.group.label}", exhibit.colour)
        caption = f'<span class="dot b{exhibit.colour}"></span> <b>{escape(exhibit.group.label)}</b>'
        charts.append(f"<figure>{chart}<figcaption>{caption}</figcaption></figure>")
    return (
        "<p>Recovered reward r(s, a) = Q(s, a) - &gamma; V(s') of every move on the probe grids, by what the move does "
        "and is truly worth: median, middle half, 5 to 95%. From behaviour alone a reward is known up to scale and "
        "shaping, so what counts is the order of the rows; the distance free of shaping forgives both.</p>"
        f"{_study('drew the recovered rewards of single grids, without comparing them with the true ones.')}"
        f"{_ordered(grids)}"
        f'<div class="charts">{"".join(charts)}</div>{truth_table(exhibits)}'
    )


def _ordered(grids: Grids) -> str:
    """Whether the median rewards of the kinds of moves stand in the order in which they bring the player on."""
    said: dict[bool, list[str]] = {True: [], False: []}
    for exhibit, found in grids:
        medians = {row.label.partition(" (")[0]: row.values[2] for row in found.rewards}
        if {"shortest path", "loses ground", "stays in place"} <= set(medians):
            on = medians["shortest path"] > max(medians["loses ground"], medians["stays in place"])
            said[on].append(escape(exhibit.group.label))
    parts = []
    if said[True]:
        parts.append(
            f"moves on a shortest path have a higher median than those that are not with {', '.join(said[True])}"
        )
    if said[False]:
        parts.append(f"they do not with {', '.join(said[False])}")
    return f"<p>Here {'; '.join(parts)}.</p>" if parts else ""


def _failures(grids: Grids) -> str:
    if not grids:
        return ""
    parts = [
        "<p>Greedy episodes that never reach the goal, by how they end, each kind with its clearest example. Triangles "
        "show Q of the four moves along the way, light is good, the chosen one outlined; a ring marks the first move "
        "that is on no shortest path.</p>",
        _study("both methods fail at walls once walls and goal are random."),
    ]
    for exhibit, found in grids:
        number, total = len(found.failures), len(found.results.success)
        longer = int((found.results.success & (found.results.moves > found.results.shortest)).sum())
        sentence = f"{number:,} of {total:,} grids fail ({number / total:.1%}); {longer:,} arrive by a detour."
        if number:
            counts = "; ".join(f"{kind.value} ({count:,})" for kind, count in count_kinds(found.failures).items())
            near = sum(failure.shortest for failure in found.failures) / number
            overall = float(found.results.shortest.double().mean())
            sentence += f" They end {counts}. Mean shortest path there {near:.1f} moves, on all grids {overall:.1f}."
        parts.append(f"{_heading(exhibit)}<p>{escape(sentence)}</p>")
        if number:
            parts.append(_failure_tiles(found))
    return "".join(parts)


def _failure_tiles(found: Examination) -> str:
    tiles, tables = [], []
    width = found.env.width
    each = 1 if len(count_kinds(found.failures)) > 2 else 2
    for failure in clearest(found.failures, each):
        path = failure.path.tolist()
        walls, start, goal = (part[failure.index] for part in found.results.layouts)
        q = q_along(found.policy, found.results.layouts, failure)
        marks = pictures.q_marks(path, q, width)
        line = pictures.path_line(path, width, failure.mistake)
        tiles.append(_figure(pictures.tile(walls, int(goal), marks, line, start=int(start)), failure.kind.value))
        rows = "".join(
            f"<tr><td>{divmod(cell, width)}</td>"
            + "".join(
                f'<td class="n{" best" if a == int(values.argmax()) else ""}">{values[a]:.4g}</td>' for a in range(4)
            )
            + "</tr>"
            for cell, values in list(zip(path, q, strict=True))[:40]
        )
        tables.append(
            f'<h3>{escape(failure.kind.value)}</h3><div class="scroll"><table><tr><th>(row, column)</th>'
            f'<th class="n">up</th><th class="n">right</th><th class="n">down</th><th class="n">left</th></tr>'
            f"{rows}</table></div>"
        )
    return (
        f'<div class="tiles">{"".join(tiles)}</div><details><summary>Q-values along these paths</summary>'
        f"{''.join(tables)}</details>"
    )


def _walks(grids: Grids) -> str:
    if not grids:
        return ""
    parts = ["<p>The first unseen grids, played greedily; a red frame marks a failure.</p>"]
    for exhibit, found in grids:
        results, tiles = found.results, []
        for index in range(min(_WALKS, len(results.success))):
            path = path_of(results, index).tolist()
            walls, _, goal = (part[index] for part in results.layouts)
            good = bool(results.success[index])
            moves, shortest = int(results.moves[index]), int(results.shortest[index])
            caption = f"{moves} moves, shortest {shortest}" if good else f"fails, shortest {shortest}"
            picture = pictures.tile(walls, int(goal), "", pictures.walker(path, found.env.width), label=caption)
            tiles.append(_figure(picture, caption, "" if good else "failed"))
        parts.append(f'{_heading(exhibit)}<div class="tiles six">{"".join(tiles)}</div>')
    return "".join(parts)


def _figure(picture: str, caption: str, kind: str = "") -> str:
    return f'<figure class="{kind}">{picture}<figcaption>{escape(caption)}</figcaption></figure>'


def _range(values: torch.Tensor, maps: ValueMaps) -> tuple[float, float]:
    """Of the cells of the drawn grids that count."""
    shown = values[:_PICTURED][maps.reachable[:_PICTURED]]
    shown = shown[shown.isfinite()]
    return (float(shown.min()), float(shown.max())) if len(shown) else (0.0, 1.0)
