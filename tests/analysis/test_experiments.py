import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from iqlightning.analysis.experiments.experiment import experiments
from iqlightning.analysis.experiments.runner import run_trials
from iqlightning.analysis.experiments.table import as_dict, rows_of
from iqlightning.analysis.experiments.trial import Outcome, Trial
from iqlightning.cli.bench import EXPERIMENTS
from iqlightning.errors import UserError


class Ended:
    """A process that is over."""

    def __init__(self, exitcode: int) -> None:
        self.exitcode = exitcode

    def terminate(self) -> None:
        raise AssertionError("there is nothing to end")

    def join(self) -> None:
        pass


class Pretender:
    """Does at once what fit and evaluate would: a run's folder with a checkpoint, and figures."""

    def __init__(self, *, status: int = 0, killed_after: int | None = None) -> None:
        self.commands: list[list[str]] = []
        self.status = status
        self.killed_after = killed_after

    def __call__(self, commands: Sequence[Sequence[str]], log: Path, statuses: Path) -> Ended:
        said = []
        for number, command in enumerate(commands):
            if number == self.killed_after:
                statuses.write_text(json.dumps(said))
                return Ended(-9)
            self.commands.append(list(command))
            if command[0] == "fit":
                checkpoints = statuses.parent / f"version_{len(list(statuses.parent.glob('version_*')))}/checkpoints"
                checkpoints.mkdir(parents=True)
                for name in ("best", "last"):
                    (checkpoints / f"{name}.ckpt").touch()
                if self.status == 0:
                    (checkpoints.parent / "summary.json").write_text("{}")
            else:
                figures = {"success_rate": 0.75, "distance_ratio": 2.0, "episodes": 100, "truth": {"regret": 0.5}}
                Path(command[-1]).write_text(json.dumps(figures))
            said.append({"status": self.status, "sentence": "no such level" if self.status else ""})
            if self.status:
                break
        statuses.write_text(json.dumps(said))
        return Ended(self.status)


@pytest.fixture
def config(tmp_path) -> Path:
    file = tmp_path / "a.yaml"
    file.write_text("trainer: {max_steps: 3}\n")
    return file


def trials(config: Path, seeds: Sequence[int] = (0, 1), **changes) -> list[Trial]:
    given = {"settings": {"data.episodes": "9"}, "evaluations": {"10x10": ("--height", "10")}} | changes
    return [Trial(group="a_9", config=str(config), seed=seed, factors={"n": 9}, **given) for seed in seeds]


def test_trials_are_fitted_and_evaluated_once(tmp_path, config):
    launch = Pretender()
    outcomes = run_trials(trials(config), tmp_path / "x", launch)
    fit, evaluate = launch.commands[:2]
    assert fit[:3] == ["fit", "--config", str(config)]
    assert "--data.episodes=9" in fit
    assert evaluate[1:4] == [str(tmp_path / "x/seed_0/a_9/version_0/checkpoints/best.ckpt"), "--height", "10"]
    assert [outcome.figures["10x10"]["success_rate"] for outcome in outcomes] == [0.75, 0.75]
    again = Pretender()
    assert run_trials(trials(config), tmp_path / "x", again, jobs=2) == outcomes
    assert again.commands == []
    config.write_text("trainer: {max_steps: 4}\n")  # another experiment by the same name
    run_trials(trials(config), tmp_path / "x", again, jobs=2)
    assert [command[0] for command in again.commands] == ["fit", "evaluate"] * 2


def test_a_trial_is_run_again_when_a_file_that_it_depends_on_changes(tmp_path, config):
    base, shown = tmp_path / "base.yaml", tmp_path / "shown.safetensors"
    base.write_text("trainer: {devices: 1}\n")

    def files_read(configs):
        return [str(base), *configs]

    shown.write_bytes(b"one")
    config.write_text(f"data: {{class_path: A, init_args: {{path: {shown}}}}}\n")
    (trial,) = trials(config, (0,))
    keys = [trial.key(), trial.key(files_read)]
    base.write_text("trainer: {devices: 2}\n")
    keys.append(trial.key(files_read))
    shown.write_bytes(b"two, longer")
    keys.append(trial.key(files_read))
    (elsewhere,) = trials(config, (0,), settings={"data.path": str(tmp_path / "b.safetensors")})
    keys.append(elsewhere.key(files_read))
    (tmp_path / "b.safetensors").write_bytes(b"three")
    keys.append(elsewhere.key(files_read))
    assert len(set(keys)) == len(keys)
    before = trial.key(files_read)
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(shown.read_bytes())
    copy.replace(shown)  # another file with the same content
    assert trial.key(files_read) == before


def test_one_run_serves_trials_that_differ_in_their_names_alone(tmp_path, config):
    (first,) = trials(config, (0,))
    other = replace(first, group="b", factors={"n": 10})
    launch, advanced = Pretender(), []
    outcomes = run_trials([first, other], tmp_path, launch, jobs=2, advance=advanced.append)
    assert [command[0] for command in launch.commands] == ["fit", "evaluate"]
    assert [(each.group, each.factors) for each in outcomes] == [("a_9", {"n": 9}), ("b", {"n": 10})]
    assert sum(advanced) == 2
    renamed = replace(first, group="c", factors={"size": 1})
    (kept,) = run_trials([renamed], tmp_path, launch)
    assert (kept.group, kept.factors, kept.run) == ("c", {"size": 1}, outcomes[0].run)
    assert len(launch.commands) == 2


def test_what_was_cut_off_goes_on(tmp_path, config):
    (outcome,) = run_trials(trials(config, (0,)), tmp_path, Pretender(killed_after=1))
    assert "was killed" in str(outcome.trouble)
    trained = Pretender()
    run_trials(trials(config, (0,)), tmp_path, trained)
    assert [command[0] for command in trained.commands] == ["evaluate"]
    half = Pretender(status=143)
    run_trials(trials(config, (5,)), tmp_path, half)
    rest = Pretender()
    run_trials(trials(config, (5,)), tmp_path, rest)
    assert rest.commands[0][-2:] == ["--ckpt_path", str(tmp_path / "seed_5/a_9/version_0/checkpoints/last.ckpt")]


def test_a_trial_that_fails_is_told_and_tried_again(tmp_path, config):
    outcomes = run_trials(trials(config), tmp_path, Pretender(status=2))
    assert all("a_9, seed" in str(outcome.trouble) and "no such level" in str(outcome.trouble) for outcome in outcomes)
    assert rows_of(outcomes) == []
    assert all(outcome.trouble is None for outcome in run_trials(trials(config), tmp_path, Pretender()))


def test_damaged_outcomes_and_double_trials_are_refused(tmp_path, config):
    with pytest.raises(UserError, match="twice"):
        run_trials(trials(config, (3, 3)), tmp_path, Pretender())
    (tmp_path / "outcomes.jsonl").write_text('{"key": 1\n')
    with pytest.raises(UserError, match=r"outcomes\.jsonl"):
        run_trials(trials(config), tmp_path, Pretender())


def outcome(seed: int, figures: dict) -> Outcome:
    return Outcome(f"k{seed}", "g", seed, {"n": 1}, None, 1.0, {"10x10": figures})


def test_rows_hold_interquartile_means_over_seeds_and_no_too_narrow_interval():
    rates = (0.2, 0.8, 0.9, 1.0)
    (row,) = rows_of([outcome(seed, {"success_rate": rate, "episodes": 1000}) for seed, rate in enumerate(rates)])
    found = row.figures["success_rate"]
    assert found.mean == pytest.approx(0.85)
    assert found.low is not None
    assert found.low < 0.6
    assert row.each["success_rate"] == rates
    (perfect,) = rows_of([outcome(seed, {"success_rate": 1.0, "episodes": 1000}) for seed in range(3)])
    assert perfect.figures["success_rate"].low == pytest.approx(0.9962, abs=1e-4)  # Wilson's
    assert as_dict("x", [row])["rows"][0]["figures"]["success_rate"][0] == pytest.approx(0.85)


def test_returns_have_the_error_of_their_episodes():
    (row,) = rows_of([outcome(0, {"mean_return": 100.0, "std_return": 20.0, "episodes": 100})])
    found = row.figures["mean_return"]
    assert found.low == pytest.approx(100 - 1.96 * 2, abs=0.2)
    assert found.high == pytest.approx(100 + 1.96 * 2, abs=0.2)


def test_an_evaluation_that_was_refused_says_so():
    (row,) = rows_of([outcome(0, {"refused": "plays its own size only"})])
    assert row.refused == "plays its own size only"


@pytest.mark.parametrize("name", sorted(experiments(*EXPERIMENTS)))
def test_every_experiment_lists_trials_of_configurations_that_exist(name: str, tmp_path: Path):
    experiment = experiments(*EXPERIMENTS)[name]
    parser = argparse.ArgumentParser()
    experiment.add_options(parser)
    options = parser.parse_args([])
    options.seeds, options.quick = list(experiment.seeds), False
    options.configs = Path(__file__).parents[2] / "configs"
    if hasattr(options, "tasks"):  # learnt from demonstrations that it wants to be made first
        options.demonstrations = [str(tmp_path)]
        for task in options.tasks:
            (tmp_path / f"{task}.safetensors").touch()
    listed = list(experiment.trials(options))
    assert listed
    places = [(trial.group, trial.seed) for trial in listed]
    assert len(places) == len(set(places))
    assert all(Path(trial.config).is_file() and trial.evaluations for trial in listed)
    assert len({trial.key() for trial in listed}) == len(listed)
