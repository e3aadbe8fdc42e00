"""Runs of several processes as torchrun and SLURM start them; nothing hangs where numbers do not divide evenly."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from counts import slow
from processes_together import start_together, wait_for_all
from small_configurations import UPDATES, differences, last_checkpoint, write_configurations

from iqlightning.cli.config_files import base_config

CONFIGS = base_config().parent

#: Neither episodes, nor held-out transitions, nor updates are a multiple of three.
UNEVEN = {
    "iq": ("--data.batch_size", 18, "--data.episodes", 41, "--data.validation_fraction", 0.13),
    "dqn": ("--data.batch_size", 15, "--data.num_envs", 6, "--data.capacity", 100, "--data.updates_per_epoch", 7),
}


@pytest.mark.parametrize("name", ["iq", *slow("dqn")])
def test_nothing_hangs_where_numbers_do_not_divide_evenly(tmp_path, commands, name):
    arguments = ("fit", "--config", f"{name}.yaml", "--trainer.max_steps", 25, *UNEVEN[name])
    processes = start_together(commands, *arguments, faults=[None] * 3)
    assert wait_for_all(processes, 120) == [0, 0, 0], [each.said for each in processes]
    (run,) = (tmp_path / "logs" / name).iterdir()
    assert last_checkpoint(run)["global_step"] == 25
    for command in ("validate", "test"):
        arguments = (command, "--config", f"{name}.yaml", "--ckpt_path", "last", *UNEVEN[name])
        processes = start_together(commands, *arguments, faults=[None] * 3)
        assert wait_for_all(processes, 120) == [0, 0, 0], [each.said for each in processes]


@pytest.mark.parametrize(
    ("name", "option", "value", "sentence"),
    [
        ("bc", "batch_size", 15, "batch_size 15 is not a multiple of 2"),
        ("dqn", "num_envs", 5, "num_envs 5 is not a multiple of 2.*the nearest valid: 4 or 6"),
        ("online_iq", "online.num_envs", 5, "num_envs 5 is not a multiple of 2.*the nearest valid: 4 or 6"),
    ],
)
def test_what_cannot_be_shared_out_is_refused_by_all(tmp_path, commands, name, option, value, sentence):
    processes = start_together(commands, "fit", "--config", f"{name}.yaml", f"--data.{option}", value)
    assert wait_for_all(processes, 60) == [2, 2]
    assert re.search(sentence, processes[0].said)
    assert "Traceback" not in processes[0].said + processes[1].said
    assert not (tmp_path / "logs" / name).exists()


def environment(folder: Path, **more: str) -> dict[str, str]:
    path = f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "IQLIGHTNING_"))}
    return {**kept, "PATH": path, **more}


@pytest.mark.slow
def test_torchrun_trains_and_continues(tmp_path):
    write_configurations(tmp_path)
    command = ["bash", str(CONFIGS / "torchrun.sh"), "--config", "dqn.yaml"]
    options: dict = {"cwd": tmp_path, "env": environment(tmp_path, PROCESSES="2"), "timeout": 240}
    subprocess.run([*command, "--trainer.max_steps", "24"], check=True, **options)
    subprocess.run([*command, "--ckpt_path", "last"], check=True, **options)
    first, second = sorted((tmp_path / "logs" / "dqn").iterdir())
    assert last_checkpoint(first)["global_step"] == 24
    assert last_checkpoint(second)["global_step"] == UPDATES


# What a cluster does: a number for each task, and SIGTERM to all of them before the time is over.
SRUN = """#!/usr/bin/env bash
while [[ "$1" == --* ]]; do shift; done
for task in $(seq 0 $((SLURM_NTASKS - 1))); do
    SLURM_PROCID=$task SLURM_LOCALID=$task "$@" &
    tasks+=($!)
done
if [ -n "${TIME_IS_OVER_WHEN:-}" ]; then
    until compgen -G "$TIME_IS_OVER_WHEN" >/dev/null; do sleep 0.05; done
    kill -TERM "${tasks[@]}"
fi
worst=0
for task in "${tasks[@]}"; do
    wait "$task"; status=$?
    [ "$status" -gt "$worst" ] && worst=$status
done
exit "$worst"
"""


@pytest.mark.slow
def test_a_slurm_job_is_requeued_when_its_time_is_over_and_ends_as_one_with_more_time(tmp_path):
    write_configurations(tmp_path)
    for name, text in {"srun": SRUN, "scontrol": '#!/bin/sh\necho "$@" >> requeued.txt\n'}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    job = {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_JOB_NUM_NODES": "1", "SLURM_NNODES": "1"}
    job |= {"SLURM_JOB_NAME": "iqlightning", "SLURM_NODELIST": "localhost", "SLURM_NODEID": "0"}

    def submit(number: str, time_is_over_when: str = "") -> int:
        more = {"SLURM_JOB_ID": number, "SLURM_JOBID": number, "TIME_IS_OVER_WHEN": time_is_over_when}
        command = ["bash", str(CONFIGS / "slurm.sbatch"), "--config", "dqn.yaml", "--trainer.max_steps", "360"]
        return subprocess.run(command, cwd=tmp_path, env=environment(tmp_path, **job, **more), timeout=240).returncode

    assert submit("70001") == 0
    assert submit("70002", "logs/job-70002/dqn/version_0/checkpoints/last.ckpt") == 143
    assert (tmp_path / "requeued.txt").read_text() == "requeue 70002\n"
    stopped = last_checkpoint(tmp_path / "logs" / "job-70002" / "dqn" / "version_0")
    assert 0 < stopped["global_step"] < 360
    assert submit("70002") == 0
    assert (tmp_path / "requeued.txt").read_text() == "requeue 70002\n"
    ended = last_checkpoint(tmp_path / "logs" / "job-70002" / "dqn" / "version_1")
    whole = last_checkpoint(tmp_path / "logs" / "job-70001" / "dqn" / "version_0")
    assert differences(ended, whole) == []
