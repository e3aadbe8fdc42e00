"""A process that dies takes its whole run down: none hangs, none is left over, and the run can be continued."""

import os
import random
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from counts import slow, slow_count
from faults import raise_at_update, signal_at_update
from forked_commands import until
from processes_together import left_over, start_together, wait_for_all
from small_configurations import UPDATES, UPDATES_PER_EPOCH, differences, last_checkpoint, write_configurations

from iqlightning.checkpoint_files import read_checkpoint

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")

SECONDS = 60


MANY = [[(way, rank) for way in ("kill", "bug", "kill", "mistake") for _ in range(slow_count(5, 1))] for rank in (0, 1)]


@pytest.mark.parametrize("cases", [[("kill", 0), ("mistake", 1)], *slow(*MANY)])
def test_a_process_that_is_lost_ends_the_other_and_the_run_goes_on_exactly(tmp_path, commands, cases):
    """Each case is a way to die and the rank that does; the other one ends by itself, in time and with a reason."""
    numbers = random.Random(0)
    arguments = ("fit", "--config", "dqn.yaml")
    assert wait_for_all(start_together(commands, *arguments), SECONDS) == [0, 0]
    whole = last_checkpoint(tmp_path / "logs" / "dqn" / "version_0")
    for number, (way, rank) in enumerate(cases, 1):
        update = numbers.randint(UPDATES_PER_EPOCH + 1, UPDATES - 1)
        fault = partial(signal_at_update, update) if way == "kill" else partial(raise_at_update, update, way)
        processes = start_together(commands, *arguments, faults=[fault if rank == each else None for each in (0, 1)])
        statuses = wait_for_all(processes, SECONDS)
        lost, other = processes[rank], processes[1 - rank]
        assert statuses[rank] == {"kill": 137, "bug": 1, "mistake": 2}[way], lost.said
        assert statuses[1 - rank] == 1, other.said
        assert left_over(processes) == []
        if way == "mistake":
            assert re.search(r"^iqlightning( \(process 1\))?: planted mistake$", lost.said, re.MULTILINE), lost.said
        assert re.search(
            r"^iqlightning( \(process 1\))?: another process of this run has ended", other.said, re.MULTILINE
        )
        assert "Traceback" not in other.said
        run = tmp_path / "logs" / "dqn" / f"version_{number}"
        # an epoch that was finished is there
        assert last_checkpoint(run)["global_step"] == (update - 1) // UPDATES_PER_EPOCH * UPDATES_PER_EPOCH
    processes = start_together(commands, *arguments, "--ckpt_path", "last")
    assert wait_for_all(processes, SECONDS) == [0, 0], [each.said for each in processes]
    assert differences(last_checkpoint(tmp_path / "logs" / "dqn" / f"version_{len(cases) + 1}"), whole) == []


LAUNCHES = [("lightning", 1), ("torchrun", 0), ("lightning", 0), ("torchrun", 1)]


@pytest.mark.slow
@pytest.mark.parametrize(("launcher", "rank"), LAUNCHES[: slow_count(4, 2)])
def test_a_launched_run_that_loses_a_process_is_over_within_a_minute(tmp_path, launcher, rank):
    write_configurations(tmp_path)
    begin = [sys.executable, "-m"]
    if launcher == "torchrun":
        begin += ["torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"]
    arguments = ["iqlightning", "fit", "--config", "dqn.yaml", "--trainer.max_steps", "1000000"]
    arguments += ["--trainer.devices", "2", "--trainer.strategy", "ddp"]
    last = tmp_path / "logs" / "dqn" / "version_0" / "checkpoints" / "last.ckpt"
    with (tmp_path / "said.txt").open("w") as said:
        process = subprocess.Popen(
            [*begin, *arguments], cwd=tmp_path, stdout=said, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        until(last.exists, 120)
        ranks = {_variable(pid, "LOCAL_RANK"): pid for pid in _members(tmp_path)}
        if launcher == "lightning":
            ranks["0"] = process.pid  # has no number in the variables it was started with
        os.kill(ranks[str(rank)], signal.SIGKILL)
        assert process.wait(SECONDS) != 0
        until(lambda: not _members(tmp_path), SECONDS)
    finally:
        for pid in _members(tmp_path):
            os.kill(pid, signal.SIGKILL)
    assert read_checkpoint(last)["global_step"] % UPDATES_PER_EPOCH == 0


def _members(folder: Path) -> list[int]:
    """Processes that work in the folder; torchrun gives each of its own a session, so that does not tell them."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            alive = (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
            if alive and (process / "cwd").resolve() == folder.resolve():
                found.append(int(process.name))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def _variable(pid: int, name: str) -> str | None:
    for each in Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0"):
        if each.startswith(f"{name}="):
            return each.removeprefix(f"{name}=")
    return None
