import shutil
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from small_runs import GRID, demonstrations, weights
from torch.utils.data import DataLoader, TensorDataset

import iqlightning as iq
from iqlightning.checkpoint_files import read_checkpoint
from iqlightning.checkpoint_io import VerifiedCheckpointIO
from iqlightning.errors import UserError

KEPT = Path(__file__).parents[1] / "trust" / "kept"


def plain_trainer(**changes: Any) -> lightning.Trainer:
    """As in a notebook: nothing of this package in it."""
    off: dict[str, Any] = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary"), False)
    options: dict[str, Any] = {"accelerator": "cpu", "max_steps": 6, "num_sanity_val_steps": 0}
    options["enable_checkpointing"] = "callbacks" in changes
    return lightning.Trainer(**(off | options | changes))


def own_encoder(shape: tuple[int, ...]) -> iq.Encoder:
    return iq.MLP(shape, [8])


def own_optimizer(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.01)


MODELS = {
    "by name": lambda: iq.IQLearn("MLP", divergence="Hellinger", target="TargetUpdate", schedule="Cosine"),
    "by functions": lambda: iq.IQLearn(own_encoder, optimizer=own_optimizer, head=lambda f, a: iq.DuelingHead(f, a)),
    "a number of NumPy": lambda: iq.BehaviorCloning(iq.MLP(hidden=[8]), gamma=np.float64(0.9)),
    "twins": lambda: iq.IQLearn(iq.MLP(hidden=[8]), copies=2, value=iq.AnnealedSoftValue(updates=4)),
}


def trained(model: Any, folder: Path, **changes: Any) -> lightning.Trainer:
    trainer = plain_trainer(default_root_dir=str(folder), **changes)
    trainer.fit(model, demonstrations(folder))
    return trainer


@pytest.mark.parametrize("kind", MODELS)
def test_what_a_plain_trainer_saves_is_read_with_nothing_but_the_path(tmp_path, kind):
    model = MODELS[kind]()
    keeper = ModelCheckpoint(dirpath=tmp_path / "kept", every_n_train_steps=6, save_weights_only=True)
    trainer = trained(model, tmp_path, callbacks=[keeper])
    trainer.save_checkpoint(tmp_path / "whole.ckpt")
    obs = GRID.make_batch(20, seed=0).reset()
    for path in (tmp_path / "whole.ckpt", keeper.best_model_path):
        again = type(model).load_from_checkpoint(path)
        assert torch.equal(weights(again), weights(model))
        assert again.hparams == model.hparams
        assert (again.gamma, again.env, again.spaces) == (model.gamma, GRID, model.spaces)
        assert again.policy.temperature == model.policy.temperature
        for policy in (again.policy, iq.load_policy(path)):
            assert torch.equal(policy.q_values(obs), model.policy.q_values(obs))


def test_a_loaded_model_goes_on_as_the_run_would_have(tmp_path):
    whole = iq.IQLearn(iq.MLP(hidden=[8]), optimizer="SGD", schedule="Cosine")
    trained(whole, tmp_path, max_steps=12)
    half = iq.IQLearn(iq.MLP(hidden=[8]), optimizer="SGD", schedule="Cosine")

    class Stops(lightning.Callback):
        def on_train_batch_end(self, trainer: Any, *_: Any, **__: Any) -> None:
            trainer.should_stop = trainer.global_step >= 8

    trained(half, tmp_path, max_steps=12, callbacks=[Stops()]).save_checkpoint(tmp_path / "half.ckpt")
    again = iq.IQLearn.load_from_checkpoint(tmp_path / "half.ckpt")
    plain_trainer(max_steps=12).fit(again, demonstrations(tmp_path), ckpt_path=tmp_path / "half.ckpt")
    assert torch.equal(weights(again), weights(whole))


def test_arguments_may_differ_from_those_stored(tmp_path):
    trained(iq.IQLearn("MLP"), tmp_path).save_checkpoint(tmp_path / "x.ckpt")
    changed = iq.IQLearn.load_from_checkpoint(tmp_path / "x.ckpt", gamma=0.5, encoder=iq.MLP)
    assert (changed.gamma, changed.hparams.gamma) == (0.5, 0.5)
    with pytest.raises(UserError, match="network differs in its encoder"):
        iq.IQLearn.load_from_checkpoint(tmp_path / "x.ckpt", encoder=iq.MLP(hidden=[3]))
    with pytest.raises(UserError, match=r"weights in .* are not those of these settings"):
        iq.IQLearn.load_from_checkpoint(tmp_path / "x.ckpt", target=iq.TargetUpdate())
    with pytest.raises(UserError, match="has no argument 'gama'"):
        iq.IQLearn.load_from_checkpoint(tmp_path / "x.ckpt", gama=0.5)
    with pytest.raises(UserError, match="leave out weights_only=False"):
        iq.IQLearn.load_from_checkpoint(tmp_path / "x.ckpt", weights_only=False)


def test_a_function_that_no_file_can_hold_is_asked_for_when_it_is_needed(tmp_path):
    model = iq.IQLearn("MLP", optimizer=own_optimizer)
    trained(model, tmp_path).save_checkpoint(tmp_path / "x.ckpt")
    again = iq.IQLearn.load_from_checkpoint(tmp_path / "x.ckpt")
    with pytest.raises(UserError, match=r"optimizer was made by a function .*own_optimizer.*optimizer=\.\.\."):
        plain_trainer().fit(again, demonstrations(tmp_path))
    again = iq.IQLearn.load_from_checkpoint(tmp_path / "x.ckpt", optimizer=own_optimizer)
    plain_trainer().fit(again, demonstrations(tmp_path))


def test_another_algorithm_s_and_another_program_s_checkpoints_are_called_that(tmp_path):
    trained(iq.IQLearn("MLP"), tmp_path).save_checkpoint(tmp_path / "x.ckpt")
    with pytest.raises(UserError, match=r"is a checkpoint of IQLearn, not of DQN; load_policy"):
        iq.DQN.load_from_checkpoint(tmp_path / "x.ckpt")
    torch.save({"state_dict": {}, "hyper_parameters": {}}, tmp_path / "y.ckpt")
    with pytest.raises(UserError, match="a checkpoint of another program"):
        iq.IQLearn.load_from_checkpoint(tmp_path / "y.ckpt")


def test_a_checkpoint_of_the_first_version_is_read_by_the_settings_of_its_run():
    model = iq.IQLearn.load_from_checkpoint(KEPT / "version_1.ckpt")
    assert type(model.inverse_soft_q.divergence) is iq.TotalVariation
    stored = read_checkpoint(KEPT / "version_1.ckpt")["state_dict"]
    assert all(torch.equal(model.state_dict()[f"agent.{name}"], each) for name, each in stored.items())


def test_hparams_are_filled_logged_and_plain(tmp_path):
    model = iq.IQLearn(iq.MLP(hidden=[8]), divergence=iq.Chi2(0.25), gamma=0.9)
    assert model.hparams.gamma == 0.9
    assert model.hparams.encoder == {"class_path": "iqlightning.nets.encoders.mlp.MLP", "init_args": {"hidden": [8]}}
    assert model.hparams.divergence["init_args"] == {"alpha": 0.25}
    assert model.hparams.keys() == {*iq.IQLearn.__signature__.parameters}
    logger = CSVLogger(str(tmp_path))
    trained(model, tmp_path, logger=logger)
    assert "alpha: 0.25" in (Path(logger.log_dir) / "hparams.yaml").read_text()


def test_forward_says_actions_and_values_with_gradients():
    model = iq.IQLearn(iq.MLP(hidden=[8]), value=iq.SoftValue(0.5))
    with pytest.raises(UserError, match="has no agent before a run begins"):
        model(torch.zeros(2, 4))
    with pytest.raises(UserError, match="has no agent before a run begins"):
        _ = model.policy
    model.build("CartPole-v1")
    said = model(torch.ones(2, 4))
    assert said.keys() == {"q_values", "values", "actions"}
    torch.testing.assert_close(said["values"], 0.5 * torch.logsumexp(said["q_values"] / 0.5, 1))
    said["values"].sum().backward()
    assert all(weight.grad is not None for weight in model.agent.parameters())


def test_a_model_learns_from_data_alone_where_there_is_no_environment(tmp_path):
    space = iq.GymnasiumConfig("CartPole-v1").spaces
    model = iq.BehaviorCloning(iq.MLP(hidden=[8]), optimizer=partial(torch.optim.SGD, lr=1.0))
    model.build(None, space)
    trainer = plain_trainer()
    pairs = TensorDataset(torch.zeros(40, 4), torch.ones(40, dtype=torch.int64))
    trainer.fit(model, train_dataloaders=DataLoader(pairs, batch_size=4))
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    policy = iq.load_policy(tmp_path / "x.ckpt")
    assert policy.env is None
    assert policy.predict(np.zeros(4))[0] == 1
    assert iq.BehaviorCloning.load_from_checkpoint(tmp_path / "x.ckpt").spaces == space
    with pytest.raises(UserError, match="needs an environment, or spaces"):
        model.build(None)


def test_data_of_other_spaces_are_refused_and_of_the_same_taken_over(tmp_path):
    model = iq.IQLearn("MLP")
    model.build("CartPole-v1")
    with pytest.raises(UserError, match="whose observations or actions are others"):
        trained(model, tmp_path)
    same = iq.IQLearn("MLP")
    same.build(iq.GridWorldConfig("static", 4, 4, num_walls=2))
    trained(same, tmp_path)
    assert same.env == GRID


def test_what_forward_says_is_written_as_a_program(tmp_path, onnx):
    runtime = pytest.importorskip("onnxruntime")
    model = iq.IQLearn(iq.MLP(hidden=[8]))
    for env, spaces in (("CartPole-v1", None), (None, iq.GymnasiumConfig("CartPole-v1").spaces)):
        model.build(env, spaces)
        model.to_onnx(tmp_path / "x.onnx")
        obs = torch.randn(7, 4)
        session = runtime.InferenceSession(tmp_path / "x.onnx")
        names = [output.name for output in session.get_outputs()]
        said = dict(zip(names, session.run(None, {"observations": obs.numpy()}), strict=True))
        torch.testing.assert_close(torch.from_numpy(said["q_values"]), model(obs)["q_values"].detach())


def test_a_program_is_traced_without_an_environment():
    from iqlightning.portable import likely_observations, trace

    model = iq.IQLearn(iq.MLP(hidden=[8]))
    model.build(None, iq.GymnasiumConfig("CartPole-v1").spaces)
    program = trace(model.policy, likely_observations(iq.GymnasiumConfig("CartPole-v1").spaces.observation, 4))
    obs = torch.randn(7, 4)
    said = dict(zip(program.outputs, program.program.module()(obs), strict=True))
    torch.testing.assert_close(said["q_values"], model(obs)["q_values"])


@pytest.mark.parametrize("data", [iq.ImitationData, iq.ReplayData])
def test_data_outside_a_trainer_say_what_is_missing(data):
    with pytest.raises(UserError, match=r"to a trainer.*trainer\.fit\(model, data\)"):
        data(GRID).train_dataloader()
    with pytest.raises(UserError, match=r"setup\('fit'\) first"):
        data(GRID).batch(0)


def test_a_plain_checkpoint_is_checked_by_the_checksums_of_its_archive(tmp_path):
    trained(iq.BehaviorCloning(iq.MLP(hidden=[8])), tmp_path).save_checkpoint(tmp_path / "x.ckpt")
    content = (tmp_path / "x.ckpt").read_bytes()
    damaged = tmp_path / "damaged.ckpt"
    shutil.copy(tmp_path / "x.ckpt", damaged)
    at = content.index(b"iqlightning")  # within a part, not between two
    for broken in (content[:-1], content[: len(content) // 2], content[:at] + b"j" + content[at + 1 :]):
        damaged.write_bytes(broken)
        with pytest.raises(UserError, match=r"damaged\.ckpt' is damaged"):
            iq.load_policy(damaged)


def test_a_tilde_that_begins_a_path_is_the_home_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    keepers = [iq.BestAndLast(None, dirpath="~/kept"), ModelCheckpoint("~/others", every_n_train_steps=10)]
    model, data = iq.BehaviorCloning("MLP"), demonstrations(tmp_path, directory="~/data")
    trainer = plain_trainer(callbacks=keepers, default_root_dir="~/runs", max_steps=10)
    trainer.fit(model, data)
    trainer.save_checkpoint("~/saved.ckpt")
    assert [each.name for each in (tmp_path / "home" / "data").iterdir()] == [Path(data.demonstrations_file).name]
    assert {"best.ckpt", "last.ckpt"} == {each.name for each in (tmp_path / "home" / "kept").iterdir()}
    for path in ("~/saved.ckpt", "~/kept/last.ckpt", keepers[1].best_model_path):
        assert torch.equal(weights(iq.BehaviorCloning.load_from_checkpoint(path)), weights(model))
        assert iq.load_policy(path).env == GRID
    file = f"~/data/{Path(data.demonstrations_file).name}"
    trajectories, _ = iq.load_demonstrations(file)
    assert trajectories.num_episodes == 40
    assert iq.ImitationData(path=file).env == GRID
    again = plain_trainer(callbacks=[iq.BestAndLast(None, dirpath="~/kept")], max_steps=20)
    again.fit(iq.BehaviorCloning("MLP"), demonstrations(tmp_path, directory="~/data"), ckpt_path="~/saved.ckpt")
    VerifiedCheckpointIO().remove_checkpoint("~/saved.ckpt")
    assert not (tmp_path / "home" / "saved.ckpt").exists()
    assert list((tmp_path / "here").iterdir()) == []
