import argparse
from pathlib import Path

import pytest

from iqlightning.analysis.experiments.curves import curves
from iqlightning.analysis.experiments.table import rows_of
from iqlightning.analysis.experiments.trial import Outcome
from iqlightning.gridworld.experiments.study import Study


def outcome(group: str, seed: int, rate: float, factors: dict, episodes: int = 1000) -> Outcome:
    figures = {"success_rate": rate, "distance_ratio": 2.0, "episodes": episodes}
    return Outcome(f"{group}{seed}", group, seed, factors, None, 1.0, {"random_walls": figures})


def listed(**options) -> list:
    study = Study()
    parser = argparse.ArgumentParser()
    study.add_options(parser)
    given = parser.parse_args([])
    given.seeds, given.quick, given.configs = [0], False, Path("configs")
    vars(given).update(options)
    return list(study.trials(given))


def test_all_levels_methods_and_networks_are_trained_and_the_ablation_starts_from_one_of_them():
    trials = listed(ablation_seeds=[0, 1])
    levels = {trial.group for trial in trials if trial.factors["part"] == "levels"}
    assert len(levels) == 3 * 3 * 2
    own = [trial for trial in trials if trial.group == "iq_mlp_random_walls"]
    assert [trial.seed for trial in own] == [0, 1]
    ablated = [trial for trial in trials if trial.factors["part"] == "ablation"]
    assert len(ablated) == 6 * 2
    for trial in ablated:  # one setting apart from the start, no more
        assert trial.config == own[0].config
        assert len(set(trial.settings.items()) - set(own[0].settings.items())) == 1


def test_the_reported_sections_name_the_study_and_what_is_seen():
    own = {"part": "levels", "level": "random_walls", "method": "iq", "network": "mlp"}
    other = {"part": "ablation", "what": "batch size", "value": "8"}
    outcomes = [outcome("iq_mlp_random_walls", seed, 0.5, own) for seed in range(3)]
    outcomes += [outcome("batch_size_8", seed, 0.9, other) for seed in range(3)]
    (quoted,) = Study().report_sections(outcomes)
    assert "IQ-Learn converges within 200 steps" in quoted.body
    assert set(Study().figures(outcomes)) == {"levels", "ablation"}


@pytest.mark.parametrize("joined", [True, False])
def test_each_panel_has_the_words_of_its_own_rows(joined: bool):
    rows = rows_of(
        [
            outcome("a", 0, 0.2, {"what": "x", "value": "one"}),
            outcome("b", 0, 0.4, {"what": "y", "value": "two"}),
            outcome("c", 0, 0.6, {"what": "y", "value": "three"}),
        ]
    )
    figure = curves(
        {what: [row for row in rows if row.factors["what"] == what] for what in ("x", "y")},
        lambda row: row.factors["value"],
        lambda row: "all",
        x_label="setting",
        joined=joined,
    )
    shown = [[label.get_text() for label in axis.get_xticklabels()] for axis in figure.axes]
    assert shown == [["one"], ["two", "three"]]
    styles = {container[0].get_linestyle() for axis in figure.axes for container in axis.containers}
    assert styles == ({"-"} if joined else {"None"})
