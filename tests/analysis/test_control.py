import argparse
from pathlib import Path

import pytest

from iqlightning.analysis.experiments.experiment import experiments
from iqlightning.cli.bench import EXPERIMENTS
from iqlightning.cli.config_files import config_folder
from iqlightning.errors import UserError

TASKS = ("CartPole-v1", "Acrobot-v1", "LunarLander-v3")


def options(folder: Path, *, quick: bool = False, **changes) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    experiments(*EXPERIMENTS)["control"].add_options(parser)
    given = {"demonstrations": str(folder), "seeds": [0, 1, 2, 3, 4], "quick": quick, "configs": config_folder()}
    return argparse.Namespace(**(vars(parser.parse_args([])) | given | changes))


@pytest.fixture
def folder(tmp_path):
    for task in TASKS:
        (tmp_path / f"{task}.safetensors").touch()
    return tmp_path


def test_each_algorithm_gets_the_same_trajectories_and_updates(folder):
    trials = list(experiments(*EXPERIMENTS)["control"].trials(options(folder)))
    assert len(trials) == 3 * 2 * 2 * 5 + 2 * 5  # on CartPole also with imagined transitions
    assert len({trial.key() for trial in trials}) == len(trials)
    by_group = {trial.group: dict(trial.settings) for trial in trials}
    for group, settings in by_group.items():
        if "iq_learn" in group:
            other = by_group[group.replace("iq_learn", "cloning")]
            assert other == settings | {"model": "BehaviorCloning", "model.temperature": "1.0"}
    assert {trial.checkpoint for trial in trials} == {"last"}  # no return of the environment chooses anything
    numbers = {(trial.factors["task"], trial.factors["trajectories"]) for trial in trials}
    assert numbers == {(task, n) for task, two in zip(TASKS, ((1, 7), (1, 3), (3, 7)), strict=True) for n in two}


def test_without_symmetries_runs_have_names_of_their_own(folder):
    control = experiments(*EXPERIMENTS)["control"]
    plain = list(control.trials(options(folder, symmetries=False, tasks=["Acrobot-v1"])))
    assert {trial.settings["data.symmetries"] for trial in plain} == {"false"}
    both = [*plain, *control.trials(options(folder, tasks=["Acrobot-v1"]))]
    assert len({trial.name for trial in both}) == len(both) == 40


def test_missing_demonstrations_and_unknown_tasks_are_sentences(tmp_path):
    control = experiments(*EXPERIMENTS)["control"]
    with pytest.raises(UserError, match=r"CartPole-v1\.safetensors.*cartpole_iq\.yaml has the commands"):
        list(control.trials(options(tmp_path)))
    with pytest.raises(UserError, match="CartPole-v1, Acrobot-v1, LunarLander-v3"):
        list(control.trials(options(tmp_path, tasks=["Pong"])))
