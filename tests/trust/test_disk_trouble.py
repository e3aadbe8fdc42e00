"""A disk that is full, read-only or gone is one sentence, and what was saved before is whole."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from counts import slow, slow_count
from faults import call_at_update, fail_at_write, remount
from small_configurations import UPDATES, UPDATES_PER_EPOCH, differences, last_checkpoint

from iqlightning.checkpoint_files import read_checkpoint
from iqlightning.data.demonstrations import load_demonstrations

FIT = ("fit", "--config", "dqn.yaml")


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


# from too little for the record of the run to too little for its last checkpoint
@pytest.mark.parametrize("sizes", [[60], *slow([4, 8, 12, 16, 24, 36, 48, 60, 72, 84][:: slow_count(1, 2)])])
def test_a_full_disk_is_one_sentence_and_the_run_goes_on_when_there_is_room(commands, disk, sizes):
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


@pytest.mark.parametrize("update", [17, *slow(*range(6, UPDATES + 1, slow_count(6, 12)))])
def test_a_folder_that_vanishes_is_one_sentence(commands, update):
    sentence = commands.refused(*FIT, fault=partial(call_at_update, update, os.rename, "logs", "gone"))
    assert "cannot write the file 'logs/dqn/version_0/" in sentence
    assert "No such file or directory" in sentence
    whole(commands.folder / "gone")


@pytest.mark.parametrize("error", ["ENOSPC", *slow("EROFS", "EDQUOT", "EIO")])
@pytest.mark.parametrize("write", [1, 6, *slow(2, 3)])
def test_a_write_that_fails_is_one_sentence_and_leaves_nothing_half_done(commands, write, error):
    """The first is that of the demonstrations, then the two of the record of the run, then checkpoints."""
    arguments = ("fit", "--config", "bc.yaml")
    sentence = commands.refused(*arguments, fault=partial(fail_at_write, write, error))
    what = ["demonstrations file", "record of the run", "record of the run", "checkpoint"][min(write, 4) - 1]
    assert f"cannot write the {what}" in sentence
    whole(commands.folder)
    assert len(list(commands.folder.glob("data/*"))) == (write > 1)
    # a run that did not begin leaves no folder behind
    assert len(list(commands.folder.glob("logs/bc/*"))) == (write > 3)
    commands.run(*arguments, *(("--ckpt_path", "last") if write > 5 else ()))
    whole(commands.folder)
