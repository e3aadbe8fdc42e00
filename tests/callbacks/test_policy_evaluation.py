from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from small_runs import GRID, demonstrations, learner, trainer

from iqlightning.callbacks.policy_evaluation import PolicyEvaluation
from iqlightning.data.replay_data import ReplayData
from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.gridworld.evaluation.play import evaluate_gridworld


class Figures(Callback):
    """Remembers what had been logged at the end of each validation."""

    def __init__(self) -> None:
        self.seen: list[tuple[bool, dict[str, float]]] = []

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.seen.append((trainer.sanity_checking, figures))


def test_validation_figures_are_logged_for_checkpoints_to_monitor_but_not_while_sanity_checking(tmp_path: Path) -> None:
    figures, model = Figures(), learner()
    run = trainer(tmp_path, [PolicyEvaluation(episodes=40), figures], max_steps=10)
    run.fit(model, datamodule=demonstrations(tmp_path))
    (sanity, before), (_, after) = figures.seen
    assert sanity
    assert "val/success_rate" not in before
    expected = evaluate_gridworld(model.policy, GRID, 40, 0, split="validation").metrics()
    for name in ("success_rate", "distance_ratio", "manhattan_ratio", "spl", "mean_return"):
        assert after[f"val/{name}"] == pytest.approx(expected[name], abs=1e-5)


def test_testing_plays_grids_of_the_test_split(tmp_path: Path) -> None:
    model = learner()
    (figures,) = trainer(tmp_path, [PolicyEvaluation(test_episodes=30, seed=5)]).test(
        model, datamodule=demonstrations(tmp_path), verbose=False
    )
    expected = evaluate_gridworld(model.policy, GRID, 30, 5, split="test").metrics()
    assert figures["test/success_rate"] == pytest.approx(expected["success_rate"], abs=1e-6)
    assert figures["test/spl"] == pytest.approx(expected["spl"], abs=1e-5)


def test_sampled_evaluation_repeats_itself(tmp_path: Path) -> None:
    model, data = learner(), demonstrations(tmp_path)
    run = trainer(tmp_path, [PolicyEvaluation(test_episodes=30, sample=True, temperature=1.0)])
    one, other = (run.test(model, datamodule=data, verbose=False)[0] for _ in range(2))
    assert one == other
    greedy = trainer(tmp_path, [PolicyEvaluation(test_episodes=30)]).test(model, datamodule=data, verbose=False)[0]
    assert greedy != one


def test_another_environment_logs_its_returns(tmp_path: Path) -> None:
    model = learner()
    data = ReplayData(GymnasiumConfig("CartPole-v1"))
    (figures,) = trainer(tmp_path, [PolicyEvaluation(test_episodes=5)]).test(model, datamodule=data, verbose=False)
    assert set(figures) == {"test/mean_return", "test/std_return", "test/mean_length"}
    assert figures["test/mean_return"] == figures["test/mean_length"]


@pytest.mark.slow
def test_two_processes_log_what_one_does(tmp_path: Path) -> None:
    figures = []
    for changes in ({}, {"devices": 2, "strategy": "ddp_spawn"}):
        run = trainer(tmp_path, [PolicyEvaluation(episodes=31)], **changes)
        run.validate(learner(), datamodule=demonstrations(tmp_path), verbose=False)
        figures.append(
            {name: value for name, value in run.callback_metrics.items() if "ratio" in name or "rate" in name}
        )
    assert len(figures[0]) == 3
    torch.testing.assert_close(figures[0], figures[1])
