"""No checkpoint is torn by a kill, and one that is damaged is named and stepped over."""

import random
import shutil
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from counts import slow, slow_count
from faults import STAGES, signal_in_save
from forked_commands import Commands
from small_configurations import UPDATES, last_checkpoint, write_configurations

from iqlightning.checkpoint_files import read_checkpoint, verify_checkpoint
from iqlightning.errors import UserError

KILLED = 128 + signal.SIGKILL
FIT = ("fit", "--config", "bc.yaml", "--trainer.max_steps", UPDATES, "--data.updates_per_epoch", 2)
#: Large enough that a save takes a while: 12 MB with the moments of Adam.
LARGE = ("--model.encoder.hidden=[1000,1000]", "--trainer.check_val_every_n_epoch", 1000)


@pytest.fixture(scope="module")
def other_file_system(tmp_path_factory) -> Iterator[Path]:
    """A temporary folder from which a file cannot be moved to the run's in one step."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path_factory.getbasetemp().stat().st_dev:
        pytest.skip("there is no second file system for temporary files here (/dev/shm)")
    folder = memory / f"iqlightning-{time.monotonic_ns()}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def whole(folder: Path) -> int:
    """How many checkpoints there are; each has to load."""
    paths = list(folder.glob("logs/**/*.ckpt"))
    for path in paths:
        assert read_checkpoint(path)["global_step"] <= UPDATES
    return len(paths)


@pytest.mark.parametrize("kills", [len(STAGES), *slow(slow_count(50, 14))])
def test_a_kill_at_any_stage_of_a_save_leaves_whole_checkpoints(tmp_path, commands, other_file_system, kills):
    numbers = random.Random(0)
    for kill in range(kills):
        count, stage = numbers.randint(1, 20), STAGES[kill % len(STAGES)]
        fault = partial(signal_in_save, count, stage)
        command = commands.start(*FIT, fault=fault, environment={"TMPDIR": other_file_system})
        assert command.wait() == KILLED, command.said
        # every save but the first file's leaves something to go on from
        assert whole(tmp_path) >= (count + (stage == "renamed") > 1)
        shutil.rmtree(tmp_path / "logs")


@pytest.mark.slow
def test_a_kill_by_the_clock_while_large_files_are_saved_leaves_whole_checkpoints(
    tmp_path, commands, other_file_system
):
    numbers, found = random.Random(1), 0
    kills = slow_count(50, 14)
    for _ in range(kills):
        command = commands.start(*FIT, *LARGE, environment={"TMPDIR": other_file_system})
        folder = tmp_path / "logs"
        end = time.monotonic() + 60
        while not list(folder.glob("**/.*.ckpt.*")) and time.monotonic() < end:
            time.sleep(0.002)
        time.sleep(numbers.uniform(0, 0.3))
        command.send(signal.SIGKILL)
        assert command.wait() == KILLED, command.said
        found += whole(tmp_path)
        shutil.rmtree(folder)
    assert found > kills // 2


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with a run in it."""
    folder = tmp_path_factory.mktemp("trained")
    write_configurations(folder)
    Commands(folder).run("fit", "--config", "dqn.yaml")
    return folder


@pytest.fixture
def run(trained, tmp_path) -> Path:
    """A run to damage."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path / "logs" / "dqn" / "version_0"


def test_200_flipped_bits_of_a_run_s_checkpoint_are_noticed_and_named(run):
    path, numbers = run / "checkpoints" / "last.ckpt", random.Random(0)
    content = path.read_bytes()
    for _ in range(200):
        damaged = bytearray(content)
        damaged[numbers.randrange(len(content))] ^= 1 << numbers.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(UserError) as raised:
            verify_checkpoint(path)
        assert str(path) in str(raised.value)


def test_50_truncations_of_a_run_s_checkpoint_are_noticed_and_named(run):
    path, numbers = run / "checkpoints" / "last.ckpt", random.Random(0)
    content = path.read_bytes()
    for length in [0, 1, 4, len(content) - 1, *(numbers.randrange(len(content)) for _ in range(46))]:
        path.write_bytes(content[:length])
        with pytest.raises(UserError) as raised:
            read_checkpoint(path)
        assert str(path) in str(raised.value)


def test_last_steps_over_damaged_files_to_the_newest_whole_one_of_the_run(run, tmp_path):
    commands, more = Commands(tmp_path), ("--trainer.max_steps", UPDATES + 12)
    commands.run("fit", "--config", "dqn.yaml", "--ckpt_path", "last", *more)
    newest = run.with_name("version_1")
    flip(newest / "checkpoints" / "last.ckpt")
    said = commands.run("fit", "--config", "dqn.yaml", "--ckpt_path", "last", *more)
    assert "version_1/checkpoints/last.ckpt' is damaged" in said
    assert "going on from 'logs/dqn/version_1/checkpoints/best.ckpt' instead" in said
    assert last_checkpoint(run.with_name("version_2"))["global_step"] == UPDATES + 12


def test_last_goes_back_to_an_earlier_run_if_nothing_of_the_newest_is_whole(run, tmp_path):
    commands, more = Commands(tmp_path), ("--trainer.max_steps", UPDATES + 12)
    commands.run("fit", "--config", "dqn.yaml", "--ckpt_path", "last", *more)
    for path in run.with_name("version_1").glob("checkpoints/*.ckpt"):
        flip(path)
    said = commands.run("fit", "--config", "dqn.yaml", "--ckpt_path", "last", *more)
    assert "is damaged" in said
    assert "going on from 'logs/dqn/version_0/checkpoints/last.ckpt' instead" in said
    for path in [*tmp_path.glob("logs/dqn/version_[02]/checkpoints/*.ckpt")]:
        flip(path)
    sentence = commands.refused("fit", "--config", "dqn.yaml", "--ckpt_path", "last", *more)
    assert "no whole checkpoint" in sentence


@pytest.mark.parametrize("command", ["fit", "validate", "evaluate", "export", "play"])
def test_every_command_that_reads_a_checkpoint_names_a_damaged_one(run, tmp_path, command):
    path = run / "checkpoints" / "best.ckpt"
    flip(path)
    named = ("--config", "dqn.yaml", "--ckpt_path", path) if command in ("fit", "validate") else (path,)
    sentence = Commands(tmp_path).refused(command, *named)
    assert (
        "best.ckpt' is damaged: its checksum does not match; use another one (in the same folder: last.ckpt)"
        in sentence
    )
    assert [each.name for each in run.parent.iterdir()] == ["version_0"]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
