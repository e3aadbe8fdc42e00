"""The report's section on what success depends on: distance, detour and walls."""

from collections.abc import Mapping, Sequence
from html import escape

from iqlightning.analysis.report.charts import profile_chart
from iqlightning.analysis.report.tables import Exhibit, environment_of
from iqlightning.gridworld.evaluation.results import GridWorldResults
from iqlightning.gridworld.evaluation.success_profile import Profile, success_profiles

__all__ = ["success_section"]

# quantity to (axis, what it is)
_QUANTITIES = {
    "shortest": ("moves of the shortest path", "<b>Distance</b>: moves of the shortest path."),
    "detour": ("moves that the walls cost", "<b>Detour</b>: moves that the walls cost on that path."),
    "walls_between": ("walls between start and goal", "<b>Walls between</b>: in the rectangle of start and goal."),
    "walls": ("walls on the grid", "<b>Walls</b>: on the whole grid."),
}


def success_section(played: Sequence[tuple[Exhibit, GridWorldResults]]) -> str:
    """Success rates by what is told of each grid; the runs of an environment share a figure for each quantity.

    Args:
        played: runs and their greedy episodes.
    """
    if not played:
        return ""
    by_place: dict[str, list[tuple[Exhibit, Mapping[str, Profile]]]] = {}
    for exhibit, results in played:
        profiles = success_profiles(results)
        by_place.setdefault(environment_of(exhibit.group.runs[0]), []).append((exhibit, profiles))
    parts = [
        "<p>Success rate of the greedy policy by how far the goal is, how long the way around the walls, and how many "
        "walls there are; shaded are 95% intervals (Wilson), grey columns show where the grids are.</p>"
    ]
    for place, shown in by_place.items():
        heading = f"<h3>{escape(place)}</h3>" if len(by_place) > 1 else ""
        keys = "".join(f'<span><i class="b{e.colour}"></i>{escape(e.group.label)}</span>' for e, _ in shown)
        said = "; ".join(_said(exhibit.group.label, profiles["shortest"]) for exhibit, profiles in shown)
        figures = []
        for name, (axis, caption) in _QUANTITIES.items():
            drawn = [(e.group.label, e.colour, profiles[name]) for e, profiles in shown if name in profiles]
            if chart := profile_chart(drawn, f"success rate by {axis}", x_label=axis):
                figures.append(f"<figure>{chart}<figcaption>{caption}</figcaption></figure>")
        charts = f'<div class="charts">{"".join(figures)}</div>'
        parts.append(f'{heading}<p>Here {escape(said)}.</p><div class="key">{keys}</div>{charts}')
    return "".join(parts)


def _said(label: str, by_distance: Profile) -> str:
    """How success changes from the nearest goals to the furthest ones."""
    total, reached = int(by_distance.episodes.sum()), int(by_distance.successes.sum())
    if reached == total:
        return f"{label} reaches all {total:,} goals"
    rates, nearest, furthest = (
        by_distance.rate.tolist(),
        by_distance.highest.tolist()[0],
        by_distance.lowest.tolist()[-1],
    )
    return (
        f"{label} reaches {rates[0]:.1%} of the goals up to {nearest} {'move' if nearest == 1 else 'moves'} away and "
        f"{rates[-1]:.1%} of those {furthest} or more away"
    )
