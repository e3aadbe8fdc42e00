import argparse

import pytest

from iqlightning.analysis.experiments.table import rows_of
from iqlightning.analysis.experiments.trial import Outcome
from iqlightning.cli.config_files import config_folder
from iqlightning.gridworld.experiments.divergences import Divergences
from iqlightning.losses import divergences


def trials(**options):
    given = {"seeds": [0, 1], "quick": False, "configs": config_folder(), "episodes": 100, "grids": 8}
    return list(Divergences().trials(argparse.Namespace(**(given | options))))


def test_every_divergence_is_tried_on_both_levels_and_on_the_static_one():
    tried = {(trial.factors["objective"], trial.factors["level"]) for trial in trials()}
    names = set(divergences.__all__) - {"Divergence", "PointwiseDivergence", "Penalized"}
    for level in ("random_walls", "random_everything", "static"):
        assert {name for name, at in tried if at == level} >= names, level
    assert ("cloning", "random_walls") in tried
    assert {trial.checkpoint for trial in trials()} == {"last"}


def test_the_tables_show_means_over_seeds_and_leave_out_what_is_not_known():
    factors = {"objective": "Chi2", "level": "random_walls", "kind": "offline"}
    figures = ({"success_rate": rate, "episodes": 10, "truth": {"reward_epic": rate / 2}} for rate in (0.5, 1.0))
    outcomes = [
        Outcome(str(seed), "random_walls_Chi2", seed, factors, "run", 1.0, {"random_walls": each})
        for seed, each in enumerate(figures)
    ]
    (table,) = Divergences().tables(rows_of(outcomes))
    cells = {str(column.header): list(column.cells) for column in table.columns}
    assert cells["objective"] == ["Chi2"]
    assert cells["success"] == ["75.00%"]
    assert cells["EPIC"] == ["0.375"]
    assert cells["regret"] == [""]


@pytest.mark.slow
def test_a_quick_trial_of_each_kind_runs(workplace):
    for only in ("random_walls_Chi2", "static_ForwardKL_offline", "static_LSIQ_online"):
        assert workplace.run("bench", "divergences", "--quick", "--seeds", "0", "--only", only) == 0
        assert only.split("_")[-2] in workplace.shown()
