import re
from dataclasses import replace
from pathlib import Path

import torch
from gymnasium.spaces import Discrete

from iqlightning.analysis.report.charts import profile_chart
from iqlightning.analysis.report.profiles import success_section
from iqlightning.analysis.report.tables import Exhibit
from iqlightning.analysis.runs import Group, Run
from iqlightning.evaluation.reference_policies import RandomPolicy
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.evaluation.play import evaluate_gridworld
from iqlightning.gridworld.evaluation.success_profile import binned

VALUES = torch.tensor([1, 1, 2, 2, 5, 6])
PROFILE = binned(VALUES, torch.tensor([True, True, True, False, False, False]), bins=3)


def played(label, colour, config, success=None):
    """A run of which as much is known as the section reads, and its episodes."""
    results = evaluate_gridworld(RandomPolicy(Discrete(4)), config, 60, seed=0)
    if success is not None:
        results = replace(results, success=torch.full_like(results.success, success))
    settings = {f"data.env.{name}": value for name, value in config.to_dict().items()}
    return Exhibit(Group(label, [Run(Path(label), settings, {}, None, None)]), colour, "no checkpoint"), results


def test_points_stand_at_their_rates_and_say_what_they_are():
    chart = profile_chart([("a <b>", 2, PROFILE)], "success", x_label="moves")
    heights = [float(y) for y in re.findall(r'<circle [^>]*cy="([0-9.]+)"', chart)]
    assert len(heights) == 3
    top, middle, bottom = heights
    assert top < middle < bottom
    assert abs((top + bottom) / 2 - middle) < 0.11  # 100, 50 and 0%
    assert "a &lt;b&gt;: 50.0% of 2 grids at 2</title>" in chart
    assert "5 to 6: 2 grids</title>" in chart


def test_the_scale_follows_the_worst():
    nearly = binned(torch.arange(4).repeat(2500), torch.ones(10_000, dtype=torch.bool), bins=4)
    marks = re.findall(r">([0-9.]+)%<", profile_chart([("a", 0, nearly)], "success", x_label="moves"))
    assert min(map(float, marks)) > 99
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
    assert profile_chart([], "success", x_label="moves") == ""
