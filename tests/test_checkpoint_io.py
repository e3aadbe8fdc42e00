import errno
import io
import os
import random
import signal
import time
import zipfile
from typing import Any

import pytest
import torch
from lightning.pytorch.demos.boring_classes import BoringModel
from sealed_files import sealed
from small_runs import quiet_trainer

from iqlightning import checkpoint_files
from iqlightning.checkpoint_files import read_checkpoint, verify_checkpoint, write_checkpoint
from iqlightning.checkpoint_io import VerifiedCheckpointIO
from iqlightning.errors import UserError

CONTENT = {"weights": torch.arange(64.0), "steps": [1, 2.5, None, "x", (True,)], "nested": {"a": {"b": b"c"}}}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "best.ckpt"
    write_checkpoint(CONTENT, path)
    return path


def same(loaded):
    return torch.equal(loaded["weights"], CONTENT["weights"]) and all(
        loaded[name] == CONTENT[name] for name in ("steps", "nested")
    )


def test_what_is_written_is_read_again(path):
    assert same(read_checkpoint(path))


def test_the_file_is_an_ordinary_archive_of_torch(path):
    assert same(torch.load(path, weights_only=True))
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.comment.startswith(b"iqlightning checkpoint")


def test_every_flipped_bit_is_noticed(path):
    content = path.read_bytes()
    numbers = random.Random(0)
    for position in [*numbers.sample(range(len(content)), 200), *range(len(content) - 120, len(content))]:
        damaged = bytearray(content)
        damaged[position] ^= 1 << numbers.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=str(path)):
            verify_checkpoint(path)


def test_a_truncated_file_is_called_damaged_and_its_neighbours_are_named(path):
    write_checkpoint(CONTENT, path.with_name("last.ckpt"))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"is damaged: its end is missing.*last\.ckpt"):
        read_checkpoint(path)


def test_files_of_others_are_told_apart_from_damaged_ones(tmp_path):
    text = tmp_path / "notes.ckpt"
    text.write_text("no checkpoint")
    with pytest.raises(UserError, match="is not a checkpoint of iqlightning"):
        read_checkpoint(text)
    foreign = tmp_path / "foreign.ckpt"
    torch.save({"state_dict": {}}, foreign)
    with pytest.raises(UserError, match="of another program"):
        read_checkpoint(foreign)


def test_a_missing_file_or_a_folder_is_said_so(tmp_path, path):
    with pytest.raises(UserError, match=r"there is no checkpoint .*best\.ckpt"):
        read_checkpoint(tmp_path / "bset.ckpt")
    with pytest.raises(UserError, match=r"is a folder.*best\.ckpt"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("value", [torch.nn.Linear(1, 1), os, {1: [{"x": random.Random()}]}])
def test_what_could_not_be_read_again_is_not_written(path, value):
    with pytest.raises(TypeError, match="checkpoint"):
        write_checkpoint({"deep": value}, path)
    assert same(read_checkpoint(path))


@pytest.mark.parametrize("function", ["fsync", "replace"])
@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(path, monkeypatch, function, failure):
    def fail(*arguments):
        raise failure

    monkeypatch.setattr(os, function, fail)
    with pytest.raises((UserError, KeyboardInterrupt)) as raised:
        write_checkpoint({"new": 1}, path)
    monkeypatch.undo()
    assert same(read_checkpoint(path))
    assert [file.name for file in path.parent.iterdir()] == ["best.ckpt"]
    if isinstance(failure, OSError):
        assert "No space left" in str(raised.value)
        assert str(path) in str(raised.value)


def test_a_process_killed_while_saving_leaves_a_whole_file(path):
    waits = random.Random(0)
    for _ in range(10):
        child = os.fork()
        if child == 0:
            while True:
                write_checkpoint({"weights": torch.zeros(100_000)}, path)
        time.sleep(waits.uniform(0.005, 0.03))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        read_checkpoint(path)


def test_lightning_saves_and_loads_through_the_plugin(tmp_path):
    model, path = BoringModel(), tmp_path / "x" / "model.ckpt"
    first = quiet_trainer(max_steps=2)
    first.fit(model)
    first.save_checkpoint(path)
    stored = read_checkpoint(path)["state_dict"]
    assert all(torch.equal(stored[name], value) for name, value in model.state_dict().items())
    second = quiet_trainer(max_steps=3)
    second.fit(BoringModel(), ckpt_path=path)
    assert second.global_step == 3
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="damaged"):
        quiet_trainer(max_steps=4).fit(BoringModel(), ckpt_path=path)


def test_the_plugin_takes_no_storage_options_and_removes_files(path):
    plugin = VerifiedCheckpointIO()
    with pytest.raises(TypeError, match="storage_options"):
        plugin.save_checkpoint({}, path, storage_options={})
    plugin.remove_checkpoint(path)
    plugin.remove_checkpoint(path)
    assert not path.exists()


def test_a_checkpoint_that_is_no_dict_is_refused(tmp_path):
    buffer = io.BytesIO()
    torch.save([1, 2], buffer)
    path = tmp_path / "list.ckpt"
    path.write_bytes(sealed(buffer.getvalue()))
    with pytest.raises(UserError, match="holds a list"):
        read_checkpoint(path)


def test_an_archive_is_passed_on_in_pieces_and_is_the_one_that_torch_writes(tmp_path, monkeypatch):
    checkpoint = {"weights": torch.arange(1000.0), "more": [torch.ones(3, dtype=torch.bool), "x", None]}
    buffer, sizes = io.BytesIO(), []
    torch.save(checkpoint, buffer)
    passed = checkpoint_files._Sealed._pass_on
    monkeypatch.setattr(
        checkpoint_files._Sealed, "_pass_on", lambda self, piece: (sizes.append(len(piece)), passed(self, piece))
    )
    write_checkpoint(checkpoint, tmp_path / "it.ckpt")
    assert max(sizes) <= 4000
    assert (tmp_path / "it.ckpt").read_bytes() == sealed(buffer.getvalue())


def test_a_disk_that_fills_up_within_an_archive_is_said_once_torch_is_done(tmp_path, monkeypatch):
    def full(self: Any, piece: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_files._Sealed, "_pass_on", full)
    with pytest.raises(UserError, match=r"cannot write the checkpoint .*: No space left on device"):
        write_checkpoint({"weights": torch.ones(5)}, tmp_path / "it.ckpt")
    assert not list(tmp_path.iterdir())
