"""One arrangement of walls and the same network with the goal in several places: does the policy follow the goal?"""

from collections.abc import Sequence
from html import escape

import torch

from iqlightning.analysis.report.embed import picture_html
from iqlightning.analysis.report.page import Section
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.evaluation.figures import policy_row
from iqlightning.gridworld.evaluation.value_maps import value_maps
from iqlightning.gridworld.game.layouts import Layouts, draw_layouts
from iqlightning.gridworld.game.planning import shortest_paths
from iqlightning.policies import AgentPolicy

__all__ = ["goals_section"]

_PLACES = ((0.15, 0.15), (0.15, 0.85), (0.5, 0.5), (0.85, 0.15), (0.85, 0.85))


def goals_section(policies: Sequence[tuple[str, AgentPolicy]], seed: int = 0) -> Section:
    """Greedy moves from all cells, red where no shortest path goes that way.

    Args:
        policies: label and policy, all of GridWorld.
        seed: of the walls.
    """
    parts = [
        "<p>The same walls, five goals. A policy that follows the goal turns its arrows towards it; one that has "
        "learned a single goal keeps them.</p>"
    ]
    seen = []
    for label, policy in policies:
        env = policy.env
        if not isinstance(env, GridWorldConfig):
            continue
        layouts = with_goals(env, seed)
        maps = value_maps(policy, layouts)
        per_grid = zip(maps.on_shortest_path, maps.reachable, strict=True)
        captions = [f"{float(good[grid].double().mean()):.0%} of moves right" for good, grid in per_grid]
        share = float(maps.on_shortest_path[maps.reachable].double().mean())
        seen.append(f"{escape(label)} {share:.0%}")
        picture = picture_html(policy_row(maps, captions), f"greedy moves with the goal elsewhere, {label}")
        parts.append(f"<h3>{escape(label)}</h3>{picture}")
    if not seen:
        return Section("goals", "Other goals", "")
    study = "both methods fail at walls once walls and goal are random; its policy maps move the goal to show it."
    study = f'<p class="study"><b>The study:</b> {study}</p>'
    here = f"<p>Here moves on a shortest path, over all five goals: {', '.join(seen)}.</p>"
    return Section("goals", "Other goals", parts[0] + study + here + "".join(parts[1:]))


def with_goals(env: GridWorldConfig, seed: int) -> Layouts:
    """One drawn arrangement of walls with the goal near the corners and in the middle, wherever that can be reached."""
    drawn = draw_layouts(env, torch.tensor([seed]), torch.tensor([0]), split="test")
    walls = drawn.walls[0]
    height, width = walls.shape
    connected = shortest_paths(drawn.walls, drawn.goal)[0] >= 0
    rows, columns = torch.nonzero(connected & ~walls, as_tuple=True)
    goals: list[int] = []
    for down, across in _PLACES:
        distance = (rows - down * (height - 1)).abs() + (columns - across * (width - 1)).abs()
        nearest = int(distance.argmin())
        goals.append(int(rows[nearest]) * width + int(columns[nearest]))
    places = torch.tensor(list(dict.fromkeys(goals)))
    start = torch.where(places == drawn.start, drawn.goal, drawn.start)
    return Layouts(walls.expand(len(places), -1, -1).contiguous(), start, places)
