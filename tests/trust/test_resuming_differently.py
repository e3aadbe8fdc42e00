"""A resumed run honours other settings or refuses them in a sentence; it never ignores them in silence."""

import csv
import json
from pathlib import Path

import pytest
import torch
from forked_commands import Commands
from small_configurations import UPDATES, differences, last_checkpoint
from small_runs import best_and_last

from iqlightning.checkpoint_files import read_checkpoint
from iqlightning.data.demonstrations import load_demonstrations, save_demonstrations

HALF = 24


def half(commands: Commands, name: str, *settings: object) -> tuple[object, ...]:
    """A run of ``HALF`` updates and how it is continued."""
    commands.run("fit", "--config", f"{name}.yaml", "--trainer.max_steps", HALF, *settings)
    return ("fit", "--config", f"{name}.yaml", "--ckpt_path", "last")


def runs(commands: Commands) -> list[Path]:
    return sorted(commands.folder.glob("logs/*/version_*"))


def test_what_decides_the_result_is_refused_with_both_values(commands):
    resumed = half(commands, "iq")
    for setting, value, sentence in [
        ("--model.optimizer", "torch.optim.SGD", "model.optimizer"),
        ("--model.gamma", 0.5, "model.gamma 0.99 (now 0.5)"),
        ("--data.batch_size", 8, "data.batch_size 16 (now 8)"),
        ("--data.episodes", 39, "data.episodes 40 (now 39)"),
        ("--data.demonstrations_seed", 1, "data.demonstrations_seed 0 (now 1)"),
        ("--data.env.num_walls", 1, "data.env.num_walls 2 (now 1)"),
        ("--data.updates_per_epoch", 6, "data.updates_per_epoch 12 (now 6)"),
        ("--seed_everything", 3, "seed 0 (now 3)"),
        ("--trainer.max_steps", HALF - 1, f"has made {HALF} updates, more than --trainer.max_steps {HALF - 1}"),
    ]:
        assert sentence in commands.refused(*resumed, setting, value)
    assert len(runs(commands)) == 1


@pytest.mark.parametrize(("name", "setting"), [("dqn", "capacity"), ("dqn", "num_envs"), ("bc", "env.height")])
def test_other_sizes_of_data_are_refused(commands, name, setting):
    sentence = commands.refused(*half(commands, name), f"--data.{setting}", 8)
    assert f"data.{setting}" in sentence
    assert "(now 8)" in sentence


def test_another_learning_rate_is_refused_with_both_values(commands):
    adam = "--model.optimizer=torch.optim.Adam"
    resumed = half(commands, "bc", adam, "--model.optimizer.lr=0.001")
    sentence = commands.refused(*resumed, adam, "--model.optimizer.lr=0.002")
    assert "model.optimizer.lr 0.001 (now 0.002)" in sentence


def test_other_demonstrations_under_the_same_name_are_refused(commands):
    path = commands.folder / "mine.safetensors"
    commands.run("fit", "--config", "bc.yaml", "--trainer.max_steps", HALF)
    (made,) = commands.folder.glob("data/*.safetensors")
    path.write_bytes(made.read_bytes())
    resumed = half(commands, "bc", "--data.path", path.name)
    trajectories, metadata = load_demonstrations(path)
    # the file holds one more episode than is used: nothing is different
    save_demonstrations(path, trajectories.select(torch.tensor([*range(40), 0])), metadata)
    commands.run(*resumed, "--data.path", path.name, "--trainer.max_steps", HALF + 12)
    save_demonstrations(path, trajectories.select(torch.arange(39, -1, -1)), metadata)
    sentence = commands.refused(*resumed, "--data.path", path.name)
    assert "the demonstrations in 'mine.safetensors' are not those that the checkpoint was trained on" in sentence
    # to look how it does on others is another matter
    commands.run("validate", "--config", "bc.yaml", "--data.path", path.name, "--ckpt_path", "last")


def test_the_same_demonstrations_elsewhere_go_on_exactly(commands):
    commands.run("fit", "--config", "bc.yaml")
    whole = last_checkpoint(runs(commands)[0])
    (made,) = commands.folder.glob("data/*.safetensors")
    resumed = half(commands, "bc")
    made.rename(commands.folder / "moved.safetensors")
    commands.run(*resumed, "--data.path", "moved.safetensors")
    found = differences(last_checkpoint(runs(commands)[-1]), whole)
    assert found == ["settings.data.init_args.path"]


def test_what_changes_no_number_may_change(commands):
    # a cosine schedule ends where the run ends, and so a run that is to be lengthened goes on otherwise
    commands.run("fit", "--config", "online_iq.yaml")
    whole = last_checkpoint(runs(commands)[0])
    resumed = half(commands, "online_iq")
    commands.run(*resumed, "--data.updates_per_step", 3, "--model.log_every", 2)
    found = differences(last_checkpoint(runs(commands)[-1]), whole)
    assert found == ["settings.model.init_args.log_every", "settings.data.init_args.updates_per_step"]
    with (runs(commands)[-1] / "metrics.csv").open() as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row["train/loss"]]
    assert steps == list(range(HALF + 2, UPDATES + 1, 2))


def test_more_updates_another_precision_and_another_evaluation_are_honoured(commands):
    resumed = half(commands, "bc")
    evaluation = {"class_path": "PolicyEvaluation", "init_args": {"episodes": 7}}
    monitor = ("--checkpoint.monitor", "val/spl", "--checkpoint.mode", "max")
    more = ("--trainer.max_steps", UPDATES + 12, "--trainer.precision", "64-true")
    commands.run(*resumed, *more, *monitor, "--trainer.callbacks", json.dumps([evaluation]))
    saved = last_checkpoint(runs(commands)[-1])
    assert saved["global_step"] == UPDATES + 12
    assert {value.dtype for value in saved["state_dict"].values() if value.is_floating_point()} == {torch.float64}
    keeper = best_and_last(saved)
    assert (keeper["monitor"], keeper["best_model_path"][-9:]) == ("val/spl", "best.ckpt")


def test_a_run_with_nothing_left_to_train_says_so_and_is_complete(commands):
    commands.run("fit", "--config", "dqn.yaml")
    said = commands.run("fit", "--config", "dqn.yaml", "--ckpt_path", "last")
    assert f"has made all {UPDATES} updates: there is nothing left to train" in said
    first, second = runs(commands)
    assert differences(last_checkpoint(second), last_checkpoint(first)) == []
    assert read_checkpoint(second / "checkpoints" / "best.ckpt")["global_step"] <= UPDATES
