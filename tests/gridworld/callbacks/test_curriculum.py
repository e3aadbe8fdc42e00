from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from small_runs import demonstrations, learner, trainer, weights

from iqlightning.algorithms import DQN, IQLearn
from iqlightning.data.imitation_data import ImitationData
from iqlightning.data.replay_data import ReplayData
from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.errors import UserError
from iqlightning.gridworld.callbacks.curriculum import Curriculum, Stage
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.nets.encoders.mlp import MLP

TARGET = GridWorldConfig("random_everything", 6, 6, num_walls=4)
STAGES = [
    Stage(epochs=1, min_size=3, max_size=4, num_walls=1),
    Stage(epochs=1, num_walls=0, level="random_walls"),
]


class Watch(Callback):
    """Remembers what was trained on at each update, the curriculum's figures and the observations served."""

    def __init__(self) -> None:
        self.envs: dict[int, GridWorldConfig] = {}
        self.figures: list[tuple[float, float]] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.envs[trainer.global_step] = trainer.datamodule.training_env

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if not trainer.sanity_checking:
            seen = trainer.callback_metrics
            self.figures.append((float(seen["curriculum/stage"]), float(seen["curriculum/success_rate"])))


def imitation(folder: Path) -> ImitationData:
    return demonstrations(folder, env=TARGET, updates_per_epoch=4, updates_per_step=2)


def replay(folder: Path) -> ReplayData:
    options: dict[str, Any] = {"capacity": 400, "batch_size": 16, "warmup_steps": 40}
    return ReplayData(TARGET, num_envs=4, **options, updates_per_epoch=4, updates_per_step=2)


@pytest.mark.parametrize(("make_data", "kind"), [(imitation, IQLearn), (replay, DQN)])
def test_stages_follow_each_other_by_epochs_and_the_runs_own_environment_comes_last(tmp_path, make_data, kind):
    watch = Watch()
    module = learner(kind)
    data = make_data(tmp_path)
    trainer(tmp_path, [Curriculum(STAGES, episodes=20), watch], max_steps=12).fit(module, datamodule=data)
    first, second = (stage.env(TARGET) for stage in STAGES)
    assert watch.envs == {0: first, 2: first, 4: second, 6: second, 8: TARGET, 10: TARGET}
    assert [stage for stage, _ in watch.figures] == [0, 1, 2]
    assert data.env == TARGET


def test_the_demonstrations_served_are_those_of_the_stage(tmp_path):
    walls = []

    class Served(Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            walls.append(next(iter(batch))["expert"].obs[:, 0].sum((1, 2)).unique().tolist())

    data = demonstrations(tmp_path, env=TARGET, updates_per_epoch=4)
    trainer(tmp_path, [Curriculum(STAGES, episodes=5), Served()], max_steps=12).fit(learner(), datamodule=data)
    assert set(walls[0]) <= {36 - 9 + 1, 36 - 16 + 1}
    assert walls[1:] == [[0], [4]]


def test_success_ends_a_stage_as_soon_as_it_is_reached(tmp_path):
    class Clever(Watch):
        def on_validation_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            if trainer.global_step == 8:  # the second validation
                trainer.callbacks[0]._success = lambda *_: 0.95

    watch = Clever()
    curriculum = Curriculum([Stage(success=0.9, num_walls=0)], episodes=20)
    curriculum._success = lambda *_: 0.89  # type: ignore[method-assign]
    trainer(tmp_path, [curriculum, watch], max_steps=12).fit(learner(), datamodule=imitation(tmp_path))
    easy = STAGES[1].env(TARGET).num_walls
    assert [env.num_walls for env in watch.envs.values()][::2] == [easy, easy, TARGET.num_walls]


@pytest.mark.parametrize(("make_data", "kind"), [(imitation, IQLearn), (replay, DQN)])
def test_a_resumed_run_goes_on_in_its_stage_bit_for_bit(tmp_path, make_data, kind):
    whole = learner(kind)
    keep = ModelCheckpoint(str(tmp_path), filename="{step}", every_n_train_steps=2, save_top_k=-1)
    run = trainer(tmp_path, [Curriculum(STAGES, episodes=5), keep], max_steps=12)
    run.fit(whole, datamodule=make_data(tmp_path))
    for step in (2, 4, 6):  # the second is between an epoch's last update and its validation
        resumed, watch = learner(kind), Watch()
        again = trainer(tmp_path, [Curriculum(STAGES, episodes=5), watch], max_steps=12)
        again.fit(resumed, datamodule=make_data(tmp_path), ckpt_path=str(tmp_path / f"step={step}.ckpt"))
        assert torch.equal(weights(resumed), weights(whole))
        assert watch.envs[max(watch.envs)] == TARGET


def test_a_stage_changes_only_what_it_names():
    target = GridWorldConfig(height=16, width=16, wall_density=0.3, max_moves=99)
    assert Stage(epochs=1, max_size=8).env(target).sizes == ((8, 8),)
    assert Stage(epochs=1, min_size=6, max_size=8).env(target).sizes == ((6, 6), (7, 7), (8, 8))
    assert Stage(epochs=1, num_walls=3).env(target) == GridWorldConfig(height=16, width=16, num_walls=3, max_moves=99)
    assert Stage(epochs=1, layout="maze").env(target) == GridWorldConfig(
        height=16, width=16, layout="maze", max_moves=99
    )


def test_what_cannot_be_is_refused_in_a_sentence(tmp_path):
    wrong: list[tuple[dict[str, Any], str]] = [
        ({}, "give one"),
        ({"epochs": 0}, "at least 1"),
        ({"success": 1.5}, "share"),
    ]
    for options, words in wrong:
        with pytest.raises(UserError, match=words):
            Stage(**options)
    with pytest.raises(UserError, match="at least one stage"):
        Curriculum([])
    data = ImitationData(TARGET, path="there.safetensors")
    with pytest.raises(UserError, match="cannot change"):
        data.change_training_env(STAGES[0].env(TARGET))
    with pytest.raises(UserError, match="another shape"):
        imitation(tmp_path).change_training_env(GridWorldConfig())
    cart_pole = ReplayData(GymnasiumConfig("CartPole-v1"))
    module, run = learner(kind=DQN, encoder=partial(MLP, hidden=[4])), trainer(tmp_path, [Curriculum(STAGES)])
    with pytest.raises(UserError, match="changes GridWorlds"):
        run.fit(module, datamodule=cart_pole)
