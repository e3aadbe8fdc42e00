import csv
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from datetime import datetime

import pytest
import torch
import yaml
from small_runs import MLP_8, ONLINE, best_and_last

from iqlightning.checkpoint_files import read_checkpoint
from iqlightning.checkpoints import load_policy
from iqlightning.cli import config_files
from iqlightning.errors import UserError


def weights(folder, name="last"):
    return read_checkpoint(folder / "checkpoints" / f"{name}.ckpt")["state_dict"]


def same(one, other):
    assert one
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def settings(folder):
    return yaml.safe_load((folder / "config.yaml").read_text())


@pytest.fixture
def signalling(workplace, monkeypatch):
    """A package of the user's own with a callback that sends the process a signal at an update."""
    workplace.write(
        "signalling.py",
        """
        import os
        from lightning.pytorch import Callback

        class SignalAt(Callback):
            def __init__(self, update: int, signum: int, times: int = 1):
                self.update, self.signum, self.times = update, signum, times

            def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
                if trainer.global_step >= self.update:
                    for _ in range(self.times):
                        os.kill(os.getpid(), self.signum)
        """,
    )
    monkeypatch.syspath_prepend(workplace.folder)
    yield ["--trust", "signalling", "--trainer.callbacks+=signalling.SignalAt"]
    sys.modules.pop("signalling", None)


def test_a_run_leaves_settings_checkpoints_events_and_figures_in_its_folder(workplace):
    folder = workplace.fit()
    assert folder == workplace.folder / "logs" / "tiny" / "version_0"
    assert {file.name for file in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert (folder / "config.yaml").is_file()
    record = json.loads((folder / "run.json").read_text())
    assert record["seeds"] == {"seed_everything": 0, "model": 0, "data": 0}
    assert record["updates"] == 30
    assert datetime.fromisoformat(record["begun"]) <= datetime.fromisoformat(record["ended"])
    assert record["machine"]["threads"] == torch.get_num_threads()
    made = read_checkpoint(folder / "checkpoints" / "last.ckpt")["iqlightning_made"]
    assert made.items() <= record.items()
    assert "begun" not in made
    assert load_policy(folder / "checkpoints" / "last.ckpt").info["made"] == made
    assert list(folder.glob("events.out.tfevents.*"))
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    assert any(row["val/success_rate"] for row in rows)
    assert read_checkpoint(folder / "checkpoints" / "last.ckpt")["global_step"] == 30
    assert workplace.fit().name == "version_1"
    shown = workplace.shown()
    for noise in ("Tip", "LeafSpec", "workers", "Seed set", "TPU"):
        assert noise not in shown


def test_every_setting_can_be_overridden(workplace):
    folder = workplace.fit(
        *("--data.env.height", "6", "--data.episodes", "50", "--seed_everything", "3", "--trainer.max_steps", "10"),
        *("--model.encoder", "GridCNN", "--model.gamma", "0.7", "--data.env.level", "random_walls"),
    )
    stored = read_checkpoint(folder / "checkpoints" / "last.ckpt")
    assert stored["global_step"] == 10
    assert stored["iqlightning"]["env"]["height"] == 6
    assert stored["iqlightning"]["env"]["level"] == "random_walls"
    assert stored["iqlightning"]["gamma"] == 0.7
    assert stored["iqlightning"]["seed"] == 3
    assert stored["settings"]["data"]["init_args"]["seed"] == 3
    assert stored["settings"]["data"]["init_args"]["episodes"] == 50
    assert "GridCNN" in stored["settings"]["model"]["init_args"]["encoder"]["class_path"]


def test_gamma_of_the_data_follows_the_models(workplace):
    workplace.write("dqn.yaml", ONLINE % ("DQN", MLP_8, "CartPole-v1"))
    folder = workplace.fit("--model.gamma", "0.5", config="dqn.yaml")
    stored = read_checkpoint(folder / "checkpoints" / "last.ckpt")
    assert stored["settings"]["data"]["init_args"]["gamma"] == 0.5
    assert "gamma" not in settings(folder)["data"]["init_args"]


def test_the_recorded_settings_repeat_the_run_under_its_name(workplace):
    first = workplace.fit("--model.gamma", "0.8", "--seed_everything", "5")
    again = workplace.fit(config=str(first / "config.yaml"))
    assert again == first.parent / "version_1"
    assert same(weights(first), weights(again))
    assert (first / "config.yaml").read_text() == (again / "config.yaml").read_text()


def test_a_later_file_wins_and_names_the_run(workplace):
    workplace.write("second.yaml", "trainer: {max_steps: 10}\nmodel: {init_args: {gamma: 0.6}}")
    folder = workplace.fit("--config", "second.yaml")
    assert folder.parent.name == "second"
    assert settings(folder)["model"]["init_args"]["gamma"] == 0.6
    assert settings(folder)["trainer"]["max_steps"] == 10


def test_values_can_refer_to_each_other_after_all_overrides(workplace):
    workplace.write("refers.yaml", "data: {init_args: {updates_per_epoch: '${trainer.max_steps}'}}")
    folder = workplace.fit("--config", "refers.yaml", "--trainer.max_steps", "14")
    assert settings(folder)["data"]["init_args"]["updates_per_epoch"] == 14


def test_callbacks_are_replaced_or_added(workplace):
    workplace.write("added.yaml", "trainer: {callbacks+: [{class_path: EarlyStopping, init_args: {monitor: val/spl}}]}")
    folder = workplace.fit("--config", "added.yaml", "--trainer.max_steps", "10")
    named = [each["class_path"].rpartition(".")[2] for each in settings(folder)["trainer"]["callbacks"]]
    assert named == ["PolicyEvaluation", "EarlyStopping"]


def test_the_monitored_figure_can_be_chosen_and_a_wrong_one_is_refused(workplace):
    folder = workplace.fit("--checkpoint.monitor", "val/spl", "--checkpoint.mode", "max")
    assert best_and_last(read_checkpoint(folder / "checkpoints/last.ckpt"))["monitor"] == "val/spl"
    sentence = workplace.refused("fit", "--config", "tiny.yaml", "--checkpoint.monitor", "val/sucess_rate")
    assert "did you mean 'val/success_rate'?" in sentence


def test_a_resumed_run_ends_with_the_weights_of_the_one_left_alone(workplace):
    whole = workplace.fit()
    half = workplace.fit("--trainer.max_steps", "10")
    resumed = workplace.fit("--ckpt_path", str(half / "checkpoints" / "last.ckpt"))
    assert same(weights(resumed), weights(whole))
    newest = workplace.fit("--ckpt_path", "last", "--trainer.max_steps", "40")
    assert read_checkpoint(newest / "checkpoints" / "last.ckpt")["global_step"] == 40


def test_a_resumed_run_keeps_the_best_of_the_whole_run(workplace):
    first = workplace.fit("--trainer.max_steps", "20")
    best = read_checkpoint(first / "checkpoints" / "best.ckpt")
    # nothing is better than a score of minus infinity
    resumed = workplace.fit("--ckpt_path", "last", "--model.log_every", "5")
    keeper = best_and_last(read_checkpoint(resumed / "checkpoints/last.ckpt"))
    assert keeper["best_model_score"] <= best_and_last(best)["best_model_score"]
    assert keeper["best_model_path"] == str(resumed / "checkpoints" / "best.ckpt")
    assert (resumed / "checkpoints" / "best.ckpt").is_file()
    assert same(weights(first, "best"), best["state_dict"])


def test_validate_test_and_predict_play_a_checkpoint(workplace):
    workplace.fit("--trainer.max_steps", "10")
    for command, name in (("validate", "val/success_rate"), ("test", "test/success_rate")):
        assert workplace.run(command, "--config", "tiny.yaml", "--ckpt_path", "best") == 0
        shown = workplace.shown()
        assert f"{command}: logs/tiny/version_0/checkpoints/best.ckpt" in shown
        assert re.search(rf"success rate +{name} +\d+\.\d+%", shown)
        assert "metric" not in shown  # of Lightning's own table
    arguments = ("--config", "tiny.yaml", "--ckpt_path", "last", "--output", "out/actions.safetensors")
    assert workplace.run("predict", *arguments) == 0
    assert "wrote q, v, actions" in workplace.shown()
    file = workplace.folder / "out" / "actions.safetensors"
    content = file.read_bytes()
    assert workplace.run("predict", *arguments) == 0  # its own file
    file.write_text("somebody's")
    assert "replace it with --force" in workplace.refused("predict", *arguments)
    assert file.read_text() == "somebody's"
    assert workplace.run("predict", *arguments, "--force") == 0
    assert file.read_bytes() == content
    assert len(list(workplace.folder.glob("logs/*/*"))) == 1


@pytest.mark.slow
def test_two_processes_share_a_folder_and_stop_together(workplace):
    command = [sys.executable, "-m", "iqlightning", "fit", "--config", "tiny.yaml", "--trainer.max_steps", "100000"]
    command += ["--trainer.devices", "2", "--trainer.strategy", "ddp"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        last = workplace.folder / "logs" / "tiny" / "version_0" / "checkpoints" / "last.ckpt"
        deadline = time.monotonic() + 120
        while not last.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert err.count("stopped after update") == 1
    step = read_checkpoint(last)["global_step"]
    assert f"stopped after update {step}" in err
    assert [folder.name for folder in (workplace.folder / "logs" / "tiny").iterdir()] == ["version_0"]


def test_a_second_ctrl_c_stops_at_once_and_keeps_the_last_epoch(workplace, signalling):
    stop = [*signalling, "--trainer.callbacks.update=13", "--trainer.callbacks.signum=2", "--trainer.callbacks.times=2"]
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    assert workplace.run("fit", "--config", "tiny.yaml", *stop) == 130
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
    assert read_checkpoint(workplace.folder / "logs/tiny/version_0/checkpoints/last.ckpt")["global_step"] == 10


def test_weights_that_are_not_finite_never_replace_good_ones(workplace, monkeypatch):
    workplace.write(
        "breaking.py",
        """
        from lightning.pytorch import Callback

        class BreakAt(Callback):
            def on_validation_start(self, trainer, pl_module):
                if trainer.global_step == 20:
                    next(pl_module.agent.network.parameters()).data.view(-1)[0] = float("nan")
        """,
    )
    monkeypatch.syspath_prepend(workplace.folder)
    sentence = workplace.refused(
        *("fit", "--config", "tiny.yaml", "--trust", "breaking", "--trainer.callbacks+=breaking.BreakAt")
    )
    assert "no longer finite at update 20" in sentence
    saved = read_checkpoint(workplace.folder / "logs/tiny/version_0/checkpoints/last.ckpt")
    assert saved["global_step"] == 10


def test_a_class_of_ones_own_needs_trust(workplace, signalling, monkeypatch):
    arguments = ("fit", "--config", "tiny.yaml", *signalling[2:])
    assert "--trust signalling" in workplace.refused(*arguments)
    monkeypatch.setenv("IQLIGHTNING_TRUST", "signalling")
    settings = ("--trainer.callbacks.update=99", "--trainer.callbacks.signum=2", "--trainer.max_steps=10")
    assert workplace.run(*arguments, *settings) == 0


def test_a_folder_of_runs_that_is_a_file_is_refused_before_training(workplace):
    (workplace.folder / "logs").write_text("")
    assert "cannot write to the folder of runs" in workplace.refused("fit", "--config", "tiny.yaml")
    assert not (workplace.folder / "data").exists()


def test_the_folder_of_runs_can_be_moved(workplace):
    assert workplace.run("fit", "--config", "tiny.yaml", "--trainer.default_root_dir", "elsewhere") == 0
    assert (workplace.folder / "elsewhere" / "tiny" / "version_0" / "metrics.csv").is_file()


def test_one_thread_by_default(workplace, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        workplace.fit("--trainer.max_steps", "1")
        assert torch.get_num_threads() == 1
        workplace.fit("--trainer.max_steps", "1", "--threads", "2")
        assert torch.get_num_threads() == 2
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        workplace.fit("--trainer.max_steps", "1")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_missing_base_configuration_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(config_files.iqlightning, "__file__", str(tmp_path / "iqlightning" / "__init__.py"))
    with pytest.raises(UserError, match=r"neither .*base\.yaml.* nor .*base\.yaml"):
        config_files.base_config()
    installed = tmp_path / "iqlightning" / "configs" / "base.yaml"
    installed.parent.mkdir(parents=True)
    installed.write_text(textwrap.dedent("trainer: {}"))
    assert config_files.base_config() == installed


def test_the_run_folder_variable_does_not_outlive_a_run(workplace):
    workplace.fit("--trainer.max_steps", "1")
    assert "IQLIGHTNING_RUN_FOLDER" not in os.environ


def test_the_configurations_of_the_package_are_found_from_any_folder(workplace):
    assert not (workplace.folder / "configs").exists()
    for given in (("--config", "configs/mlp_bc.yaml"), ("--config=configs/mlp_bc.yaml",)):
        assert workplace.run("fit", *given, "--trainer.max_steps", "1", "--data.episodes", "30", "--print_config") == 0
        assert "BehaviorCloning" in workplace.shown()
    assert "did you mean" in workplace.refused("fit", "--config", "configs/mlp_bcc.yaml")


def test_a_configuration_can_be_based_on_another_beside_it_or_of_the_package(workplace):
    workplace.write("mine.yaml", "base: gridworld.yaml\ntrainer: {callbacks: [{class_path: LearningRateMonitor}]}")
    workplace.write("tiny2.yaml", "base: mine.yaml\ncheckpoint: {mode: max}\ntrainer: {max_steps: 7}")
    assert workplace.run("fit", "--config", "tiny.yaml", "--config", "tiny2.yaml", "--print_config") == 0
    resolved = yaml.safe_load(workplace.capfd.readouterr().out)
    assert [each["class_path"].rpartition(".")[2] for each in resolved["trainer"]["callbacks"]] == [
        "LearningRateMonitor"
    ]
    assert resolved["checkpoint"] == {
        "monitor": "val/distance_ratio",
        "mode": "max",
        "dirpath": None,
        "snapshots": 20,
    }
    assert resolved["trainer"]["max_steps"] == 7
    order = config_files.with_bases(["tiny2.yaml"])
    assert [os.path.basename(path) for path in order] == ["base.yaml", "gridworld.yaml", "mine.yaml", "tiny2.yaml"]


def test_a_run_is_repeated_from_its_settings_without_what_it_was_based_on(workplace):
    workplace.write("mine.yaml", "checkpoint: {monitor: val/spl, mode: max}")
    workplace.write("run.yaml", "base: mine.yaml\ntrainer: {max_steps: 1}")
    folder = workplace.fit("--config", "run.yaml")
    assert settings(folder)["checkpoint"]["monitor"] == "val/spl"
    assert "base" not in settings(folder)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("base: gridword.yaml", ["is based on 'gridword.yaml'", "its own folder", "gridworld.yaml"]),
        ("base: [a.yaml]", ["base names one configuration file", "wrong.yaml"]),
        ("base: wrong.yaml", ["'wrong.yaml' is based on itself"]),
    ],
)
def test_what_a_configuration_cannot_be_based_on_is_one_sentence(workplace, text, parts):
    workplace.write("wrong.yaml", text)
    sentence = workplace.refused("fit", "--config", "wrong.yaml")
    for part in parts:
        assert part in sentence
    assert "--config" in workplace.refused("fit", "--base", "gridworld.yaml")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ((), [10, 20, 30]),  # of tiny.yaml
        (("--trainer.log_every_n_steps", "7"), [7, 14, 21, 28]),
        (("--model.log_every", "12"), [12, 24]),
        (("--model.log_every", "null"), [20]),  # of base.yaml
    ],
)
def test_the_interval_of_training_figures_has_two_names_and_the_last_one_given_holds(workplace, settings, expected):
    run = workplace.fit(*settings)
    with (run / "metrics.csv").open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file) if row["train/loss"]] == expected
    # what is recorded can be run again
    again = workplace.fit(config=str(run / "config.yaml"))
    assert (again / "metrics.csv").read_text() == (run / "metrics.csv").read_text()


def test_a_callback_whose_default_is_no_plain_text_can_be_configured(workplace):
    run = workplace.fit("--trainer.callbacks+", "Timer", "--trainer.callbacks.duration", "00:00:05:00")
    assert "interval: step" in (run / "config.yaml").read_text()


def test_the_best_weights_are_chosen_at_every_validation_within_an_epoch_too(workplace):
    options = ("--trainer.check_val_every_n_epoch", "null", "--trainer.val_check_interval", "7")
    run = workplace.fit(*options, "--data.updates_per_epoch", "100", "--trainer.max_steps", "28")
    assert read_checkpoint(run / "checkpoints" / "best.ckpt")["global_step"] in (7, 14, 21, 28)
    assert read_checkpoint(run / "checkpoints" / "last.ckpt")["global_step"] == 28


def test_a_figure_to_stop_by_that_is_not_logged_is_a_sentence_with_those_that_are(workplace):
    stop = ("--trainer.callbacks+", "EarlyStopping", "--trainer.callbacks.monitor")
    sentence = workplace.refused("fit", "--config", "tiny.yaml", *stop, "val/distance_rato")
    assert "EarlyStopping.monitor" in sentence
    assert "did you mean 'val/distance_ratio'?" in sentence
    assert "train/loss" in sentence
    workplace.fit(*stop, "train/loss", "--trainer.callbacks.mode", "min")
