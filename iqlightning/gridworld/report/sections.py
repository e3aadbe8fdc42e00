"""The report's sections about GridWorld: each a picture, and a sentence on what is seen in it."""

from collections.abc import Sequence
from html import escape

from matplotlib.figure import Figure

from iqlightning.analysis.charts import INK, boxes
from iqlightning.analysis.report.embed import animation_html, chart_html, picture_html
from iqlightning.analysis.report.exhibit import Exhibit
from iqlightning.analysis.report.sections import by, colour_key, folded
from iqlightning.analysis.report.tables import dot, figures_table
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.evaluation.failures import clearest, count_kinds, q_along
from iqlightning.gridworld.evaluation.figures import value_map_panel
from iqlightning.gridworld.evaluation.policy_figures import episode_animation, failure_panel, visitation_panel
from iqlightning.gridworld.evaluation.success_figures import QUANTITIES, Curve, success_figure
from iqlightning.gridworld.evaluation.success_profile import Profile, success_profiles
from iqlightning.gridworld.evaluation.truth import TRUTH_FIGURES
from iqlightning.gridworld.report.examination import Examination, examine

__all__ = ["sections", "success_section"]

_PICTURED = 2  # probe grids drawn for each policy
_WALKS = 6

Grids = Sequence[tuple[Exhibit, Examination]]


def sections(exhibits: Sequence[Exhibit], episodes: int, seed: int) -> list[tuple[str, str, str]]:
    """Anchor, heading and HTML of each."""
    grids = []
    for each in exhibits:
        assert each.policy is not None
        assert isinstance(each.env, GridWorldConfig)
        grids.append((each, examine(each.policy, each.env, episodes, seed)))
    return [
        ("maps", "Value, policy and reward", _maps(grids)),
        ("visits", "Where they go", _visits(grids)),
        ("rewards", "Recovered and true reward", _rewards(grids)),
        (
            "success",
            "What success depends on",
            success_section([(each, success_profiles(seen.results)) for each, seen in grids]),
        ),
        ("failures", "Failures", _failures(grids)),
        ("walks", "Sample grids", _walks(grids)),
    ]


def _maps(grids: Grids) -> str:
    correlations = ", ".join(f"{seen.value_correlation:.2f} ({escape(each.group.label)})" for each, seen in grids)
    parts = [
        "<p>Unseen grids, the same for all runs of a level; the red disc is the start, yellow the goal. Arrows are red "
        "where no shortest path goes that way. "
        "V and the recovered reward have each run's own scale; the last column is the exact soft optimum of the true "
        f"reward at the run's discount and temperature.</p><p>Here V correlates with the exact V* by {correlations}."
        "</p>"
    ]
    pictures = []
    for each, seen in grids:
        picture = value_map_panel(seen.maps.first(_PICTURED), dpi=90)
        pictures.append((each, picture_html(picture, f"maps of V, policy and reward, {each.group.label}")))
    return "".join(parts) + folded(pictures)


def _visits(grids: Grids) -> str:
    shown = [(each, seen, seen.visits) for each, seen in grids if seen.visits is not None]
    if not shown:
        return ""
    apart = ", ".join(f"{escape(e.group.label)} {float(v.greedy_distance.mean()):.2f}" for e, _, v in shown)
    parts = [
        "<p>How often each cell is visited when episodes start everywhere, exactly, discounted as in training. The "
        "expert draws among all shortest paths; a greedy policy takes one of them, so some distance is no fault; drawn "
        "is softmax(Q / temperature). The distance is total variation, 0 (the same) to 1; the yellow cell is the goal."
        f"</p><p>Here the greedy policy's visits are apart from the expert's by {apart} (mean over grids).</p>"
    ]
    pictures = []
    for each, seen, visits in shown:
        panel = visitation_panel(visits.first(_PICTURED))
        picture = picture_html(panel, f"visits of expert and policy, {each.group.label}", "small")
        body = (
            f"{picture}<p><small>Distance from the expert's visits, mean over {len(visits.expert)} grids at discount "
            f"{seen.maps.gamma:g}: greedy {float(visits.greedy_distance.mean()):.2f}, drawn "
            f"{float(visits.drawn_distance.mean()):.2f} (temperature {seen.policy.temperature:g}).</small></p>"
        )
        pictures.append((each, body))
    return "".join(parts) + folded(pictures)


def _rewards(grids: Grids) -> str:
    charts = []
    for each, seen in grids:
        drawn = chart_html(_reward_figure(seen, each.colour), f"recovered reward, {each.group.label}")
        caption = f"{dot(each.colour)}<b>{escape(each.group.label)}</b>"
        charts.append(f"<figure>{drawn}<figcaption>{caption}</figcaption></figure>")
    return (
        "<p>Recovered reward r(s, a) = Q(s, a) - &gamma; V(s') of every move on the probe grids, by what the move does "
        "and is truly worth: median, middle half, 5 to 95%. From behaviour alone a reward is known up to scale and "
        "shaping, so what counts is the order of the rows; the distance up to shaping forgives both.</p>"
        f'<div class="charts">{"".join(charts)}</div>{_truth_table(grids)}'
    )


def _reward_figure(seen: Examination, colour: int) -> Figure:
    rows = [(move, colour, values.tolist()) for move, values in seen.rewards.items()]
    figure = boxes(rows, "recovered reward", height=2.2)
    figure.axes[0].axvline(0, color=INK, lw=0.8, ls=(0, (4, 3)))
    return figure


def _truth_table(grids: Grids) -> str:
    """How right policy and reward are, on probe grids that are solved exactly."""
    shown = [(each, seen) for each, seen in grids if seen.truth]
    if not shown:
        return ""
    # how far visits are from the expert's stands beside their maps, in a measure that is easier to read
    figures = [figure for figure in TRUTH_FIGURES if figure.name != "occupancy_divergence"]
    names = [figure.label for figure in figures]
    names.insert(2, "V: Pearson correlation with the exact V*")
    columns = []
    for each, seen in shown:
        # rounding leaves a -1e-16 where there is nothing
        cells = [f"{round(seen.truth[figure.name], 9) + 0.0:{figure.form}}" for figure in figures]
        cells.insert(2, f"{seen.value_correlation:.2f}")
        columns.append((each, cells))
    return figures_table("policy and reward beside the exact solution", names, columns)


def success_section(played: Sequence[tuple[Exhibit, dict[str, Profile]]]) -> str:
    """Success rates by what is told of each grid; the runs of an environment share a chart for each quantity."""
    if not played:
        return ""
    profiles_of = {each.group.label: profiles for each, profiles in played}
    parts = [
        "<p>Success rate of the greedy policy by how far the goal is, how long the way around the walls, and how many "
        "walls there are; shaded are 95% intervals (Wilson), grey columns show where the grids are.</p>"
    ]
    places = by([each for each, _ in played], lambda each: each.place)
    for place, shown in places.items():
        curves = [Curve(each.colour, profiles_of[each.group.label]) for each in shown]
        heading = f"<h3>{escape(place)}</h3>" if len(places) > 1 else ""
        sentence = "; ".join(
            _by_distance(each.group.label, profiles_of[each.group.label]["shortest"]) for each in shown
        )
        charts = "".join(
            f"<figure>{chart_html(success_figure(curves, [name]), f'success rate by {axis}, {place}')}</figure>"
            for name, axis in QUANTITIES.items()
            if all(name in curve.profiles for curve in curves)
        )
        parts.append(f'{heading}<p>Here {escape(sentence)}.</p>{colour_key(shown)}<div class="charts">{charts}</div>')
    return "".join(parts)


def _by_distance(label: str, profile: Profile) -> str:
    """How success changes from the nearest goals to the furthest ones."""
    total, reached = int(profile.episodes.sum()), int(profile.successes.sum())
    if reached == total:
        return f"{label} reaches all {total:,} goals"
    rates, nearest, furthest = profile.rate.tolist(), int(profile.highest[0]), int(profile.lowest[-1])
    return (
        f"{label} reaches {rates[0]:.1%} of the goals up to {nearest} {'move' if nearest == 1 else 'moves'} away and "
        f"{rates[-1]:.1%} of those {furthest} or more away"
    )


def _failures(grids: Grids) -> str:
    parts = [
        "<p>Greedy episodes that never reach the goal, by how they end, each kind with its clearest example. Triangles "
        "show Q of the four moves along the way, light is good. The red disc is the start, the line the way, yellow "
        "the goal; a ring marks the first move that is on no shortest path.</p>"
    ]
    shown = []
    for each, seen in grids:
        number, total = len(seen.failures), len(seen.results.success)
        longer = int((seen.results.success & (seen.results.moves > seen.results.shortest)).sum())
        sentence = f"{number:,} of {total:,} grids fail ({number / total:.1%}); {longer:,} arrive by a detour."
        if number:
            counts = "; ".join(f"{kind.value} ({count:,})" for kind, count in count_kinds(seen.failures).items())
            near = sum(failure.shortest for failure in seen.failures) / number
            overall = float(seen.results.shortest.double().mean())
            sentence += f" They end {counts}. Mean shortest path there {near:.1f} moves, on all grids {overall:.1f}."
        examples = _clearest_failures(seen, each.group.label) if number else ""
        shown.append((each, f"<p>{escape(sentence)}</p>{examples}"))
    return "".join(parts) + folded(shown)


def _clearest_failures(seen: Examination, label: str) -> str:
    of_each_kind = 1 if len(count_kinds(seen.failures)) > 2 else 2
    failures = clearest(seen.failures, of_each_kind)[:6]
    qs = [q_along(seen.policy, seen.results.layouts, failure) for failure in failures]
    return picture_html(failure_panel(seen.results, failures, qs), f"failures, {label}", "small")


def _walks(grids: Grids) -> str:
    shown = []
    for each, seen in grids:
        results = seen.results
        number = min(_WALKS, len(results.success))
        figures = []
        for n in range(number):
            gif, _, _ = episode_animation(results, [n], max(4, min(20, 300 // seen.env.width)))
            ends = f"{int(results.moves[n])} moves" if results.success[n] else "fails"
            picture = animation_html(gif, f"grid {n + 1}, {each.group.label}", "small")
            figures.append(
                f"<figure>{picture}<figcaption>{ends}, shortest {int(results.shortest[n])}</figcaption></figure>"
            )
        shown.append((each, f'<div class="charts small">{"".join(figures)}</div>'))
    return (
        "<p>The first unseen grids, played greedily. The red disc is the player, the red square where it began, the "
        f"line its way, yellow the goal; a red frame marks a failure.</p>{folded(shown)}"
    )
