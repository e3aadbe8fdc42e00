"""A disk that is full, read-only or gone is one sentence, and what was saved before is whole."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from counts import slow_count
from faults import call_at_update, fail_at_write, remount
from forked_commands import Commands
from small_configurations import UPDATES, UPDATES_PER_EPOCH, differences, last_checkpoint, write_configurations

from iqlightning.checkpoint_files import read_checkpoint
from iqlightning.data.demonstrations import load_demonstrations

FIT = ("fit", "--config", "dqn.yaml")


def slow(*values: object) -> list[Any]:
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


@pytest.fixture
def commands(tmp_path) -> Commands:
    write_configurations(tmp_path)
    return Commands(tmp_path)


@pytest.fixture
def disk(commands) -> Iterator[Path]:
    """``logs`` as a disk of its own, of which the size can be changed; only the superuser can make one."""
    folder = commands.folder / "logs"
    folder.mkdir()
    made = shutil.which("mount") and os.geteuid() == 0
    if not made or subprocess.run(["mount", "-t", "tmpfs", "none", folder], capture_output=True).returncode:
        pytest.skip("a disk can be made by the superuser only; the same is tested with planted errors")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def whole(folder: Path) -> None:
    for path in folder.glob("logs/**/*.ckpt"):
        read_checkpoint(path)
    for path in folder.glob("data/*"):
        load_demonstrations(path)
    assert not list(folder.glob("**/.*.tmp"))


def test_a_full_disk_is_one_sentence_and_the_run_goes_on_when_there_is_room(commands, disk):
    fill(commands, disk, [60])


@pytest.mark.slow
def test_further_full_disks_are_one_sentence_each(commands, disk):
    # from too little for the record of the run to too little for its last checkpoint
    fill(commands, disk, [4, 8, 12, 16, 24, 36, 48, 60, 72, 84][:: slow_count(1, 2)])


def fill(commands: Commands, disk: Path, sizes: list[int]) -> None:
    commands.run(*FIT, "--trainer.default_root_dir", "elsewhere")
    complete = last_checkpoint(commands.folder / "elsewhere" / "dqn" / "version_0")
    for kilobytes in sizes:
        remount(disk, f"size={kilobytes}k")
        sentence = commands.refused(*FIT)
        assert "cannot write" in sentence
        assert "No space left on device" in sentence
        whole(commands.folder)
        remount(disk, "size=100m")
        saved = list(disk.glob("dqn/*/checkpoints/last.ckpt"))
        commands.run(*FIT, *(("--ckpt_path", saved[-1]) if saved else ()))
        newest = max(disk.glob("dqn/version_*"), key=lambda path: int(path.name.split("_")[1]))
        assert differences(last_checkpoint(newest), complete) == []
        shutil.rmtree(disk / "dqn")


@pytest.mark.slow
def test_a_disk_that_becomes_read_only_is_one_sentence(commands, disk):
    remount(disk, "ro")
    assert "cannot write to the folder of runs 'logs': Read-only file system" in commands.refused(*FIT)
    for update in range(5, UPDATES, slow_count(6, 12)):
        remount(disk, "rw")
        sentence = commands.refused(*FIT, fault=partial(call_at_update, update, remount, disk, "ro"))
        assert "Read-only file system" in sentence
        whole(commands.folder)
        saved = list(disk.glob("dqn/*/checkpoints/last.ckpt"))
        assert len(saved) == (update > UPDATES_PER_EPOCH)
        assert not saved or "last.ckpt" in sentence
        remount(disk, "rw")
        shutil.rmtree(disk / "dqn")


def test_a_folder_that_vanishes_is_one_sentence(commands):
    vanish(commands, 17)


@pytest.mark.slow
def test_a_folder_that_vanishes_at_further_moments_is_one_sentence(commands):
    for update in range(6, UPDATES + 1, slow_count(6, 12)):
        vanish(commands, update)


def vanish(commands: Commands, update: int) -> None:
    sentence = commands.refused(*FIT, fault=partial(call_at_update, update, os.rename, "logs", "gone"))
    assert "cannot write the file 'logs/dqn/version_0/" in sentence
    assert "No such file or directory" in sentence
    whole(commands.folder / "gone")
    shutil.rmtree(commands.folder / "gone")
    shutil.rmtree(commands.folder / "logs", ignore_errors=True)


@pytest.mark.parametrize("error", ["ENOSPC", *slow("EROFS", "EDQUOT", "EIO")])
@pytest.mark.parametrize("write", [1, 5, *slow(2)])
def test_a_write_that_fails_is_one_sentence_and_leaves_nothing_half_done(commands, write, error):
    """The first is that of the demonstrations, then the record of the run and checkpoints."""
    arguments = ("fit", "--config", "bc.yaml")
    sentence = commands.refused(*arguments, fault=partial(fail_at_write, write, error))
    assert (
        f"cannot write the {['demonstrations file', 'record of the run', 'checkpoint'][min(write, 3) - 1]}" in sentence
    )
    whole(commands.folder)
    assert len(list(commands.folder.glob("data/*"))) == (write > 1)
    # a run that did not begin leaves no folder behind
    assert len(list(commands.folder.glob("logs/bc/*"))) == (write > 2)
    commands.run(*arguments, *(("--ckpt_path", "last") if write > 4 else ()))
    whole(commands.folder)
