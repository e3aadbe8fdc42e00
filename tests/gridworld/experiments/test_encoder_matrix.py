import argparse
import inspect

import pytest

from iqlightning.analysis.experiments.experiment import experiments
from iqlightning.analysis.experiments.table import rows_of
from iqlightning.analysis.experiments.trial import Outcome
from iqlightning.cli.bench import EXPERIMENTS
from iqlightning.cli.config_files import config_folder
from iqlightning.errors import UserError
from iqlightning.gridworld import encoders
from iqlightning.gridworld.experiments.encoder_matrix import EncoderMatrix

OPTIONS = argparse.ArgumentParser()
EncoderMatrix().add_options(OPTIONS)


def trials(*given: str, **more):
    options = OPTIONS.parse_args(given)
    vars(options).update({"seeds": [0, 1], "quick": False, "configs": config_folder()} | more)
    return list(EncoderMatrix().trials(options))


def test_every_planning_encoder_is_tried_with_every_objective():
    found = trials()
    assert isinstance(experiments(*EXPERIMENTS)["encoders"], EncoderMatrix)
    assert len(found) == 6 * 4 * 2
    for trial in found:
        assert inspect.isclass(getattr(encoders, trial.factors["encoder"]))
        assert trial.settings["model.encoder"] == trial.factors["encoder"]
    assert {trial.factors["objective"] for trial in found} == {"chi2", "TV", "cloning", "DQN"}


def test_what_it_does_not_know_is_refused_with_what_it_knows():
    with pytest.raises(UserError, match="LogPlanner"):
        trials("--encoders", "LogPlaner")
    with pytest.raises(UserError, match="cloning"):
        trials("--objectives", "kl")


def test_a_cell_of_the_table_is_the_worst_seed():
    outcomes = [
        Outcome(
            *(f"{objective}{seed}", f"GridCNN_{objective}", seed, {"encoder": "GridCNN", "objective": objective}),
            *("run", 1.0, {"10x10": {"success_rate": rate, "distance_ratio": 2 - rate, "episodes": 10}}),
        )
        for objective, rates in (("chi2", (1.0, 0.9)), ("TV", (0.8, 1.0)))
        for seed, rate in enumerate(rates)
    ]
    (table,) = EncoderMatrix().tables(rows_of(outcomes))
    cells = {str(column.header): list(column.cells) for column in table.columns}
    assert cells == {"encoder": ["GridCNN"], "chi2": ["90.00%, 1.100"], "TV": ["80.00%, 1.200"]}
