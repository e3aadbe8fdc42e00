import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from small_runs import GRID, demonstrations, learner, trainer

from iqlightning.algorithms.behavior_cloning import BehaviorCloning
from iqlightning.algorithms.schedules import Cosine
from iqlightning.callbacks.best_and_last import BestAndLast
from iqlightning.callbacks.cloning_baseline import expert_batches, train_cloning
from iqlightning.callbacks.policy_evaluation import PolicyEvaluation
from iqlightning.callbacks.summary import FinalSummary
from iqlightning.checkpoints import load_policy
from iqlightning.data.experience import OnlineReplay
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
    one: Any = train_cloning(model, expert_batches(data, 1), 60, progress=counted.append)
    other: Any = train_cloning(model, expert_batches(data, 1), 60)
    assert sum(counted) == 60
    for name, value in one.agent.network.state_dict().items():
        assert torch.equal(value, other.agent.network.state_dict()[name])
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    expert = data.training.transitions()
    agreement = (one.act(expert.obs) == expert.actions).float().mean()
    untrained = train_cloning(model, expert_batches(data, 1), 0)
    assert agreement > (untrained.act(expert.obs) == expert.actions).float().mean() + 0.1


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
