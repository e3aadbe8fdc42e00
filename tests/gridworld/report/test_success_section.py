import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from gymnasium.spaces import Discrete
from matplotlib.ticker import PercentFormatter

from iqlightning.analysis.report.embed import chart_html
from iqlightning.analysis.report.exhibit import Exhibit
from iqlightning.analysis.runs import Group
from iqlightning.evaluation.reference_policies import RandomPolicy
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.evaluation.play import evaluate_gridworld
from iqlightning.gridworld.evaluation.success_figures import Curve, success_figure
from iqlightning.gridworld.evaluation.success_profile import binned, success_profiles
from iqlightning.gridworld.report.sections import success_section

VALUES = torch.tensor([1, 1, 2, 2, 5, 6])
PROFILE = binned(VALUES, torch.tensor([True, True, True, False, False, False]), bins=3)


def played(label, colour, config, success=None):
    """A run of which as much is known as the section reads, and the profiles of its episodes."""
    results = evaluate_gridworld(RandomPolicy(Discrete(4)), config, 60, seed=0)
    if success is not None:
        results = replace(results, success=torch.full_like(results.success, success))
    return Exhibit(Group(label, []), colour, config), success_profiles(results)


def test_points_stand_at_their_rates_and_columns_where_the_episodes_are():
    figure = success_figure([Curve(2, {"shortest": PROFILE})], ["shortest"])
    (axes,) = figure.axes
    (line,) = axes.lines
    assert line.get_ydata() == pytest.approx([1.0, 0.5, 0.0])
    bars: Any = axes.patches
    assert [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in bars] == [
        pytest.approx((0.55, 1.45)),
        pytest.approx((1.55, 2.45)),
        pytest.approx((4.55, 6.45)),
    ]
    assert axes.get_xlabel() == "moves of the shortest path"


def test_the_scale_follows_the_worst():
    nearly = binned(torch.arange(4).repeat(2500), torch.ones(10_000, dtype=torch.bool), bins=4)
    figure = success_figure([Curve(0, {"shortest": nearly})], ["shortest"])
    (axes,) = figure.axes
    assert axes.get_ylim()[0] > 0.99
    assert isinstance(axes.yaxis.get_major_formatter(), PercentFormatter)
    marks = re.findall(r">([0-9.]+)%<", chart_html(figure, "success"))
    assert len(marks) >= 3
    assert len(set(marks)) == len(marks)


def test_runs_of_an_environment_share_figures():
    small, dense = (
        GridWorldConfig(height=5, width=5, num_walls=3),
        GridWorldConfig(height=6, width=6, wall_density=0.3, min_size=4),
    )
    body = success_section(
        [played("first", 0, small), played("second", 1, small, success=True), played("third", 0, dense)]
    )
    assert body.count("<h3>") == 2
    assert body.count("<svg") == 3 + 4  # the number of walls matters only where it varies
    assert re.search(r"first reaches [0-9.]+% of the goals up to \d+ moves? away and [0-9.]+% of those \d+ or", body)
    assert "second reaches all 60 goals" in body


def test_nothing_is_said_of_runs_without_grids():
    assert success_section([]) == ""
