import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from iqlightning.analysis.experiments.experiment import experiments
from iqlightning.analysis.experiments.learning_curves import last_evaluations, return_curve
from iqlightning.analysis.experiments.table import rows_of
from iqlightning.analysis.experiments.trial import Outcome
from iqlightning.cli.bench import EXPERIMENTS
from iqlightning.cli.config_files import config_folder
from iqlightning.data.demonstrations import save_demonstrations
from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.errors import UserError
from iqlightning.types import Trajectories

CONTROL = experiments(*EXPERIMENTS)["control"]
TASKS = ("CartPole-v1", "Acrobot-v1", "LunarLander-v3")


def options(folder: Path, *, quick: bool = False, **changes) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    CONTROL.add_options(parser)
    given = {"demonstrations": [str(folder)], "seeds": [0, 1, 2, 3, 4], "quick": quick, "configs": config_folder()}
    return argparse.Namespace(**(vars(parser.parse_args([])) | given | changes))


@pytest.fixture
def folder(tmp_path):
    for task in TASKS:
        (tmp_path / f"{task}.safetensors").touch()
    return tmp_path


def test_each_algorithm_gets_the_same_trajectories_and_updates(folder):
    trials = list(CONTROL.trials(options(folder)))
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


def test_a_task_with_a_slash_in_its_name_has_files_without(tmp_path):
    (tmp_path / "MinAtar-Breakout-v1.safetensors").touch()
    trials = list(CONTROL.trials(options(tmp_path, tasks=["MinAtar/Breakout-v1"], seeds=[3])))
    assert len(trials) == 4 * 2
    assert {trial.factors["trajectories"] for trial in trials} == {1, 3, 10, 20}
    assert {trial.settings["data.symmetries"] for trial in trials} == {"false"}  # none is known there
    assert trials[0].group == "MinAtar_Breakout_v1_iq_learn_1"
    assert {Path(trial.settings["data.path"]).name for trial in trials} == {"MinAtar-Breakout-v1.safetensors"}


def several_experts(place: Path, *names: str) -> list[str]:
    for name in names:
        (place / name).mkdir(parents=True)
        (place / name / "CartPole-v1.safetensors").touch()
    return [str(place / name) for name in names]


def test_several_experts_are_a_factor_and_make_a_table_of_their_own(tmp_path):
    folders = several_experts(tmp_path, "first", "second", "third")
    given = options(tmp_path, demonstrations=folders, tasks=["CartPole-v1"], seeds=[0, 1])
    trials = list(CONTROL.trials(given))
    assert len(trials) == 3 * 2 * 3 * 2
    assert len({trial.name for trial in trials}) == len(trials)
    assert {(trial.factors["expert"], Path(trial.settings["data.path"]).parent.name) for trial in trials} == {
        (name, name) for name in ("first", "second", "third")
    }
    returns = {"first": (100.0, 110.0), "second": (200.0, 210.0), "third": (300.0, 320.0)}
    outcomes = [
        Outcome(
            trial.name,
            trial.group,
            trial.seed,
            dict(trial.factors),
            None,
            1.0,
            {"CartPole-v1": {"mean_return": returns[trial.factors["expert"]][trial.seed], "episodes": 100}},
        )
        for trial in trials
    ]
    (table,) = CONTROL.tables(rows_of(outcomes))
    cells = [list(column.cells) for column in table.columns]
    assert table.row_count == 2 * 3
    assert [column[0] for column in cells] == [
        "CartPole-v1",
        "1",
        "IQ-Learn",
        "206.7",
        "105.0 to 310.0",
        "100.0",
        "3 x 2",
    ]


def test_experts_that_cannot_be_told_apart_are_sentences(tmp_path, configs):
    folders = several_experts(tmp_path / "here", "expert") + several_experts(tmp_path / "there", "expert")
    with pytest.raises(UserError, match=r"names of their folders, and two of .* have one"):
        list(CONTROL.trials(options(tmp_path, demonstrations=folders, tasks=["CartPole-v1"])))
    given = options(tmp_path, demonstrations=[str(tmp_path), folders[0]], tasks=["Hopper-v5"], configs=configs)
    with pytest.raises(UserError, match="Hopper-v5 is learnt from one expert: give one folder, not 2"):
        list(CONTROL.trials(given))


def test_missing_demonstrations_and_unknown_tasks_are_sentences(tmp_path):
    with pytest.raises(UserError, match=r"CartPole-v1\.safetensors.*cartpole_iq\.yaml has the commands"):
        list(CONTROL.trials(options(tmp_path)))
    with pytest.raises(UserError, match="CartPole-v1, Acrobot-v1, LunarLander-v3"):
        list(CONTROL.trials(options(tmp_path, tasks=["Pong"])))


@pytest.fixture
def configs(tmp_path):
    place = tmp_path / "configs"
    place.mkdir()
    (place / "hopper_iq.yaml").write_text("model: {class_path: IQLearn}\n")
    (tmp_path / "Hopper-v5.safetensors").touch()
    return place


def test_continuous_tasks_are_played_while_they_are_learnt_and_nothing_is_selected(tmp_path, configs):
    given = options(tmp_path, tasks=["Hopper-v5"], configs=configs, seeds=[0, 1], updates=300)
    trials = list(CONTROL.trials(given))
    by_algorithm = {trial.factors["algorithm"]: trial for trial in trials}
    assert list(by_algorithm) == ["IQ-Learn", "LS-IQ", "SQIL", "cloning"]
    assert len({trial.name for trial in trials}) == len(trials) == 8
    for trial in trials:
        assert trial.settings["checkpoint.monitor"] == "null"
        assert "episodes: 20, seed: 1, split: test" in trial.settings["trainer.callbacks"]
        assert trial.evaluations == {"Hopper-v5": ("--episodes", "20", "--seed", "1")}
        assert (trial.settings["trainer.max_steps"], trial.settings["data.updates_per_epoch"]) == ("300", "15")
    assert by_algorithm["cloning"].settings["data.online"] == "null"
    assert by_algorithm["LS-IQ"].settings["model"] == "LSIQ"
    assert {trial.settings["data.episodes"] for trial in trials} == {"1"}


def test_a_configuration_of_an_algorithms_own_is_taken_as_it_is(tmp_path, configs):
    (configs / "hopper_sqil.yaml").write_text("model: {class_path: SQIL}\n")
    given = options(tmp_path, tasks=["Hopper-v5"], configs=configs, seeds=[0])
    sqil = next(trial for trial in CONTROL.trials(given) if trial.factors["algorithm"] == "SQIL")
    assert sqil.config.endswith("hopper_sqil.yaml")
    assert not any(key.startswith(("model", "trainer.max_steps")) for key in sqil.settings)


def test_a_continuous_task_without_demonstrations_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match=r"Ant-v5\.safetensors.*collect --gym Ant-v5"):
        list(CONTROL.trials(options(tmp_path, tasks=["Ant-v5"])))


def run_folder(place: Path, points: dict[int, float], demonstrations: Path) -> Path:
    """A run of 10 updates an epoch, two environment steps each after a hundred."""
    place.mkdir(parents=True)
    online = "{warmup_steps: 100, steps_per_update: 2.0}"
    (place / "config.yaml").write_text(
        f"data: {{class_path: X, init_args: {{path: {demonstrations}, updates_per_epoch: 10, online: {online}}}}}\n"
    )
    lines = [f"{at // 10 - 1},{at - 1},{value}" for at, value in points.items()]
    (place / "metrics.csv").write_text("\n".join(["epoch,step,val/mean_return", *lines]) + "\n")
    return place


def test_a_learning_curve_is_over_environment_steps_and_whole_where_the_run_was_cut_off(tmp_path):
    run_folder(tmp_path / "version_0", {10: 7.0}, tmp_path)  # another run
    run_folder(tmp_path / "version_1", {10: 1.0, 20: 2.0, 30: 9.0}, tmp_path)
    last = run_folder(tmp_path / "version_2", {30: 3.0, 40: 4.0}, tmp_path)
    assert return_curve(last) == [(120, 1.0), (140, 2.0), (160, 3.0), (180, 4.0)]


def test_a_run_is_scored_by_its_last_five_evaluations():
    assert last_evaluations([(step, float(step)) for step in (100, 2, 3, 4, 5, 6)]) == 4.0
    assert last_evaluations([(1, 3.0)]) == 3.0
    assert last_evaluations([]) is None


@pytest.fixture
def outcomes(tmp_path):
    env = GymnasiumConfig("Pendulum-v1")
    path = tmp_path / "shown.safetensors"
    shown = Trajectories(
        observations=torch.zeros(3, 3),
        actions=torch.zeros(2, 1),
        rewards=torch.tensor([80.0, 30.0]),
        starts=torch.tensor([0, 2]),
        terminated=torch.tensor([True]),
        truncated=torch.tensor([False]),
    )
    save_demonstrations(path, shown, {"env": env.to_dict(), "source": "test"})
    found = [Outcome("r", "random policy", 0, {}, None, 0.0, {"Pendulum-v1": {"mean_return": 10.0, "episodes": 20}})]
    for seed, height in enumerate((50.0, 70.0)):
        run = run_folder(tmp_path / f"{seed}/version_0", dict.fromkeys((10, 20, 30), height), path)
        factors = {"task": "Pendulum-v1", "algorithm": "IQ-Learn"}
        played = {"Pendulum-v1": {"mean_return": 999.0, "std_return": 1.0, "episodes": 20}}
        found.append(Outcome(f"k{seed}", "Pendulum_v1_iq_learn", seed, factors, str(run), 1.0, played))
    return found


def test_scores_are_normalised_by_the_random_policy_and_the_expert(outcomes):
    measured = CONTROL.measured(outcomes)
    assert [each.group for each in measured] == [
        "random policy",
        "Pendulum_v1_iq_learn",
        "Pendulum_v1_iq_learn",
        "expert, as recorded",
    ]
    scores = [each.figures["Pendulum-v1"].get("normalised") for each in measured]
    assert scores == [None, pytest.approx(0.4), pytest.approx(0.6), None]
    rows = rows_of(measured)
    (table,) = CONTROL.tables(rows)
    assert table.row_count == 1
    assert next(row for row in rows if row.factors).figures["last_evaluations"].mean == pytest.approx(60.0)
    known = Outcome("e", "expert", 0, {}, None, 0.0, {"Pendulum-v1": {"mean_return": 210.0, "episodes": 20}})
    played = CONTROL.measured([*outcomes, known])
    assert played[1].figures["Pendulum-v1"]["normalised"] == pytest.approx(0.2)
    assert played[-1] == known


def test_the_learning_curve_has_a_band_over_seeds_and_levels(outcomes):
    figures = CONTROL.figures(CONTROL.measured(outcomes))
    assert set(figures) == {"learning_Pendulum-v1"}
    (axes,) = figures["learning_Pendulum-v1"].axes
    lines: Any = axes.lines
    line, *levels = lines
    assert line.get_xydata() == pytest.approx(np.array([[120.0, 60.0], [140.0, 60.0], [160.0, 60.0]]))
    assert [level.get_ydata()[0] for level in levels] == [10.0, 110.0]
    (shade,) = axes.collections
    assert (shade.get_paths()[0].get_extents().y0, shade.get_paths()[0].get_extents().y1) == (50.0, 70.0)
