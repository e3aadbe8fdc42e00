import io
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from small_runs import GRID, demonstrations, learner, trainer

from iqlightning.algorithms.behavior_cloning import BehaviorCloning
from iqlightning.algorithms.schedules import Cosine
from iqlightning.callbacks.best_and_last import BestAndLast
from iqlightning.callbacks.board_layout import BoardLayout
from iqlightning.callbacks.cloning_baseline import _likeliest, clone, expert_batches, train_cloning
from iqlightning.callbacks.policy_evaluation import PolicyEvaluation
from iqlightning.callbacks.summary import FinalSummary
from iqlightning.checkpoints import load_policy
from iqlightning.data.experience import OnlineReplay
from iqlightning.errors import UserError
from iqlightning.gridworld.evaluation.play import evaluate_gridworld


def _fit(folder: Path, summary: FinalSummary, model: Any = None, **changes: Any) -> tuple[Any, str]:
    screen = io.StringIO()
    summary.console = Console(file=screen, width=150)
    callbacks = [BestAndLast("val/success_rate", "max"), PolicyEvaluation(20), summary]
    run = trainer(folder, callbacks, **changes)
    run.fit(model or learner(), datamodule=demonstrations(folder))
    return run, screen.getvalue()


def test_the_table_sets_the_best_checkpoint_beside_its_rivals(tmp_path: Path) -> None:
    run, printed = _fit(tmp_path, FinalSummary(episodes=50, seed=2))
    folder = Path(str(run.log_dir))
    summary = json.loads((folder / "summary.json").read_text())
    rows = {row["policy"]: row for row in summary["rows"]}
    assert list(rows) == [
        "IQLearn, greedy",
        "IQLearn, sampled",
        "behaviour cloning, greedy",
        "random policy",
        "shortest-path expert",
    ]
    best = load_policy(folder / "checkpoints" / "best.ckpt")
    expected = evaluate_gridworld(best, GRID, 50, 2, split="test").metrics()
    assert rows["IQLearn, greedy"]["distance_ratio"] == pytest.approx(expected["distance_ratio"])
    assert rows["shortest-path expert"]["success_rate"] == 1.0
    low, high = rows["random policy"]["success_rate_ci95"]
    assert low < rows["random policy"]["success_rate"] < high
    assert summary["env"] == GRID.to_dict()
    assert summary["updates"] == 20
    scores = summary["cloning"]["held_out_log_likelihood"]
    assert list(scores) == ["1.0", "0.1", "0.01"]
    assert scores[str(summary["cloning"]["temperature"])] >= scores["1.0"]
    assert f"softmax(Q / {summary['cloning']['temperature']:g}); of temperatures 1, 0.1, 0.01 " in printed
    assert "IQLearn: the best checkpoint by val/success_rate" in printed
    for text in (
        *rows,
        "50 grids: random_walls, 4x4",
        "best.ckpt",
        "last.ckpt",
        "tensorboard --logdir",
        "92.9 to 100.0",
    ):
        assert text in printed


def test_paths_are_shown_as_seen_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _, printed = _fit(tmp_path, FinalSummary(episodes=0))
    assert "tensorboard --logdir logs\n" in printed
    assert "logs/run/version_0/checkpoints/best.ckpt\n" in printed


def test_a_cloning_run_has_no_cloning_baseline(tmp_path: Path) -> None:
    run, _ = _fit(tmp_path, FinalSummary(episodes=10), learner(BehaviorCloning), max_steps=10)
    rows = json.loads((Path(str(run.log_dir)) / "summary.json").read_text())["rows"]
    assert [row["policy"] for row in rows][:3] == [
        "BehaviorCloning, greedy",
        "BehaviorCloning, sampled",
        "random policy",
    ]


def test_an_interruption_keeps_the_rows_made_so_far(tmp_path: Path) -> None:
    class Interrupted(FinalSummary):
        def cloning_policy(self, trainer: Any, pl_module: Any, progress: Any) -> None:
            raise KeyboardInterrupt

    with pytest.raises(SystemExit):
        _fit(tmp_path, summary := Interrupted(episodes=10), max_steps=10)
    (file,) = tmp_path.rglob("summary.json")
    assert [row["policy"] for row in json.loads(file.read_text())["rows"]] == ["IQLearn, greedy", "IQLearn, sampled"]
    printed = summary.console.file.getvalue()  # type: ignore[attr-defined]
    assert "IQLearn, sampled" in printed
    assert "last.ckpt" in printed


@pytest.fixture
def fitted(tmp_path: Path) -> tuple[Any, Any]:
    data, model = demonstrations(tmp_path), learner(schedule=Cosine(warmup=5), max_grad_norm=1.0)
    trainer(tmp_path, [], max_steps=10).fit(model, datamodule=data)
    return model, data


def test_cloning_repeats_exactly_learns_and_leaves_the_learner_alone(fitted: tuple[Any, Any]) -> None:
    model, data = fitted
    before = {name: value.clone() for name, value in model.state_dict().items()}
    counted: list[int] = []
    one: Any = train_cloning(model, expert_batches(data, 1), 60, 0.1, progress=counted.append)
    other: Any = train_cloning(model, expert_batches(data, 1), 60, 0.1)
    assert sum(counted) == 60
    for name, value in one.agent.network.state_dict().items():
        assert torch.equal(value, other.agent.network.state_dict()[name])
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    expert = data.training.transitions()
    agreement = (one.act(expert.obs) == expert.actions).float().mean()
    untrained = train_cloning(model, expert_batches(data, 1), 0, 0.1)
    assert agreement > (untrained.act(expert.obs) == expert.actions).float().mean() + 0.1


def test_cloning_takes_the_temperature_that_held_out_demonstrations_find_likeliest(fitted: tuple[Any, Any]) -> None:
    model, data = fitted
    cloned = clone(model, data, 60, (1e-4, 0.1))
    held_out = data.held_out.transitions()
    for temperature, score in cloned.log_likelihood.items():
        one: Any = train_cloning(model, expert_batches(data, 1), 60, temperature)
        assert one.temperature == temperature
        assert score == pytest.approx(float(one.agent.log_prob(held_out.obs, held_out.actions).mean()), rel=1e-5)
    assert cloned.temperature == 0.1  # the other is sure of itself, and wrong now and then
    assert cloned.log_likelihood[0.1] > cloned.log_likelihood[1e-4]
    data._held_out = None
    alone = clone(model, data, 5, (0.3, 0.1))
    assert (alone.temperature, alone.log_likelihood) == (0.3, {})
    assert "no demonstration is held out" in str(alone)


def test_another_temperature_has_to_be_likelier_by_more_than_chance() -> None:
    usual = torch.tensor([-1.0, -0.5, -2.0, -0.1])
    doubtful = torch.tensor([-0.2, -1.0, -1.9, -0.4])  # 0.025 better on average, with an error of 0.28
    better = usual + torch.tensor([0.1, 0.2, 0.1, 0.0])
    assert _likeliest({1.0: usual, 0.1: doubtful}) == 1.0
    assert _likeliest({1.0: usual, 0.1: doubtful, 0.01: better}) == 0.01
    assert _likeliest({1.0: better, 0.1: usual}) == 1.0
    assert _likeliest({1.0: usual[:1], 0.1: better[:1]}) == 1.0


@pytest.mark.parametrize("temperatures", [(), (0.1, 0.0)])
def test_temperatures_of_cloning_that_are_none_are_refused(temperatures: tuple[float, ...]) -> None:
    with pytest.raises(UserError, match="cloning_temperatures"):
        FinalSummary(cloning_temperatures=temperatures)


def test_several_processes_and_online_runs_clone_from_the_same_whole_batches(fitted: tuple[Any, Any]) -> None:
    _, data = fitted
    plain = data.source.batch(7)["expert"]
    shared = expert_batches(data, 2).batch(7)
    data.online = OnlineReplay()
    online = expert_batches(data, 1).batch(7)
    for batch in (shared, online):
        assert "policy" not in batch
        assert torch.equal(batch["expert"].obs, plain.obs)  # type: ignore[typeddict-item]
        assert torch.equal(batch["expert"].actions, plain.actions)  # type: ignore[typeddict-item]


def test_the_last_line_is_the_command_to_look_at_the_run_and_names_the_tab(tmp_path: Path) -> None:
    folder = tmp_path / "my runs"
    folder.mkdir()
    screen, summary = io.StringIO(), FinalSummary(episodes=0)
    summary.console = Console(file=screen, width=80)
    trainer(folder, [summary, BoardLayout()], max_steps=5).fit(learner(), datamodule=demonstrations(tmp_path))
    *_, last = screen.getvalue().splitlines()
    # one line that can be copied as it is, whatever the folder is called
    command, comment = last.split("# ")
    assert shlex.split(command)[-3:] == ["tensorboard", "--logdir", str(folder / "logs")]
    assert comment == "tab Custom Scalars"
