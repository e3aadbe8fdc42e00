"""The same seed gives the same run, bit for bit; another one does not."""

import csv
import json

import pytest
from counts import slow
from forked_commands import Commands
from small_configurations import differences, last_checkpoint

from iqlightning.cli.config_files import base_config

SMALL = ("--data.env.height", 6, "--data.env.width", 6, "--data.env.num_walls", 4, "--data.updates_per_epoch", 10)
IMITATION = (*SMALL, "--data.episodes", 60, "--data.batch_size", 32)
REPLAY = (*SMALL, "--data.num_envs", 8, "--data.capacity", 500, "--data.batch_size", 32, "--data.warmup_steps", 64)

#: The project's own configurations, on grids and budgets of a second.
CONFIGURATIONS = {
    "cnn_iq": IMITATION,
    "planner": IMITATION,
    "cnn_bc": IMITATION,
    "study_iq": IMITATION,
    "cnn_dqn": REPLAY,
    "study_dqn": REPLAY,
}
QUICK = ("cnn_iq", "study_dqn")
FURTHER = [name for name in CONFIGURATIONS if name not in QUICK]
EVALUATION = [{"class_path": "PolicyEvaluation", "init_args": {"episodes": 20, "test_episodes": 20}}]


@pytest.mark.parametrize("name", [*QUICK, *slow(*FURTHER)])
def test_the_same_seed_gives_the_same_run(tmp_path, name):
    commands = Commands(tmp_path)
    common = ("--trainer.accelerator", "cpu", "--trainer.max_steps", 20, "--model.log_every", 5)
    common += ("--trainer.callbacks", json.dumps(EVALUATION))
    for seed in (3, 3, 4):
        configuration = base_config().parent / f"{name}.yaml"
        commands.run("fit", "--config", configuration, *CONFIGURATIONS[name], *common, "--seed_everything", seed)
    first, again, other = (tmp_path / "logs" / name / f"version_{number}" for number in range(3))
    one, same, third = (last_checkpoint(each) for each in (first, again, other))
    assert differences(same, one) == []
    metrics = (first / "metrics.csv").read_text()
    assert (again / "metrics.csv").read_text() == metrics
    rows = list(csv.DictReader(metrics.splitlines()))
    assert [row["step"] for row in rows if row["train/loss"]] == ["5", "10", "15", "20"]
    assert sum(bool(row["val/success_rate"]) for row in rows) == 2
    assert any(where.startswith("state_dict") for where in differences(third, one))
