import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from small_runs import demonstrations, learner, trainer

from iqlightning.algorithms.dqn import DQN
from iqlightning.callbacks.progress_bar import UpdateProgressBar
from iqlightning.data.replay_data import ReplayData
from iqlightning.envs.gymnasium import GymnasiumConfig


def _first_line(folder: Path, model: Any, data: Any, **changes: Any) -> str:
    bar, screen = UpdateProgressBar(), io.StringIO()
    bar.console = Console(file=screen, width=40)
    trainer(folder, [bar], max_steps=1, **changes).fit(model, datamodule=data)
    return screen.getvalue().splitlines()[0]


def test_the_first_line_says_what_is_trained_on_what_and_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model, data = learner(), demonstrations(tmp_path)
    line = _first_line(tmp_path, model, data)
    weights = sum(each.numel() for each in model.agent.network.parameters())
    # zeros and ones are seen as they are, of which nothing is said
    expected = (
        f"run -> logs/run/version_0: IQLearn, MLP, {weights:,} weights, 40 demonstrations of {data.env.name}, cpu"
    )
    assert line == expected


def test_how_observations_are_scaled_is_said_where_they_are(tmp_path: Path) -> None:
    env = GymnasiumConfig("CartPole-v1")
    data = ReplayData(env, num_envs=2, warmup_steps=10, batch_size=4, updates_per_epoch=1)
    line = _first_line(tmp_path, learner(DQN, scale="space"), data, logger=False)
    assert line.startswith("DQN, MLP, ")
    assert "moves of its own in 2 environments CartPole-v1, cpu; observations: 4 numbers; networks see them " in line


def test_weights_that_only_follow_others_do_not_count(tmp_path: Path) -> None:
    env = GymnasiumConfig("CartPole-v1")
    data = ReplayData(env, num_envs=1, warmup_steps=10, batch_size=4, updates_per_epoch=1)
    model = learner(DQN)
    line = _first_line(tmp_path, model, data, logger=False)
    assert model.agent.target_network is not None
    assert f" {sum(each.numel() for each in model.agent.network.parameters()):,} weights, " in line
    assert "1 environment CartPole-v1" in line
