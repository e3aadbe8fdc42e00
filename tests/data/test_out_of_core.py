"""Demonstrations that stay in their file: the same batches, bit for bit, and the same mistakes found."""

import time
from dataclasses import replace
from typing import Any

import pytest
import torch

from iqlightning import GridWorldConfig, Trajectories, UserError
from iqlightning.data import disk_rows
from iqlightning.data.demonstrations import digest_of, save_demonstrations
from iqlightning.data.disk_rows import DiskRows, ReadAhead
from iqlightning.data.disk_trajectories import DiskTrajectories, open_demonstrations
from iqlightning.data.imitation_data import ImitationData
from iqlightning.data.write_in_pieces import write_in_pieces
from iqlightning.gridworld.expert import shortest_path_demonstrations

ENV = GridWorldConfig(height=6, width=5, num_walls=4)


@pytest.fixture(scope="module")
def played() -> Trajectories:
    return shortest_path_demonstrations(ENV, 60, 0)


@pytest.fixture(scope="module")
def path(tmp_path_factory, played):
    path = tmp_path_factory.mktemp("demonstrations") / "expert.safetensors"
    save_demonstrations(path, played, {"env": ENV.to_dict(), "seed": 0, "source": "expert", "recipe": {}})
    return path


def both(path, **options: Any) -> tuple[ImitationData, ImitationData]:
    modules = tuple(
        ImitationData(path=str(path), batch_size=16, seed=3, out_of_core=each, **options) for each in (False, True)
    )
    for module in modules:
        module.setup("fit")
    return modules  # type: ignore[return-value]


def assert_equal(ours: Any, theirs: Any) -> None:
    assert set(ours) == set(theirs)
    for name in ours:
        for x, y in zip(tuple(ours[name]), tuple(theirs[name]), strict=True):
            assert (x is None) == (y is None)
            if x is not None:
                assert x.dtype == y.dtype
                assert torch.equal(x, y)


@pytest.mark.parametrize("at_once", [1, 5_000, 1 << 24], ids=["a batch", "some", "a block"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"per_episode": 4},
        {"stride": 3},
        {"episodes": 31, "validation_fraction": 0.0},
        {"symmetries": True, "noise_std": 0.1},
    ],
    ids=lambda options: "-".join(options) or "plain",
)
def test_batches_are_those_from_memory(path, options, at_once, monkeypatch):
    monkeypatch.setattr(disk_rows, "_AT_ONCE", at_once)
    memory, disk = both(path, **options)
    assert isinstance(disk.training, DiskTrajectories)
    for update in [*range(5), 127, 128, 300, 4, 129]:
        assert_equal(disk.batch(update), memory.batch(update))


def test_held_out_transitions_are_those_from_memory(path):
    memory, disk = both(path)
    batches = list(disk.val_dataloader()), list(memory.val_dataloader())
    assert len(batches[0]) == len(batches[1]) > 0
    for ours, theirs in zip(*batches, strict=True):
        assert_equal(ours, theirs)


def test_a_run_may_go_on_either_way(path):
    memory, disk = both(path)
    assert memory.state_dict() == disk.state_dict()
    disk.load_state_dict(memory.state_dict())


def test_what_stays_in_the_file_is_all_that_was_demonstrated(path, played):
    found, metadata = open_demonstrations(path)
    assert metadata["seed"] == 0
    assert digest_of(found) == digest_of(played)
    chosen = torch.tensor([0, 1, 2, 7, 8, 30, 59])
    assert digest_of(found.select(chosen)) == digest_of(played.select(chosen))
    some = played.select(chosen)
    for ours, theirs in zip(
        found.select(chosen).transitions(torch.arange(9)), some.transitions(torch.arange(9)), strict=True
    ):
        if ours is None or theirs is None:
            assert ours is theirs
        else:
            assert torch.equal(ours, theirs)


def test_a_slow_disk_is_read_ahead(path, played, monkeypatch):
    monkeypatch.setattr(disk_rows, "_SLOW", 0.0)
    waited = []

    def slowly(self, length, offset, read=DiskRows._read):
        waited.append(offset)
        time.sleep(1e-5)
        return read(self, length, offset)

    monkeypatch.setattr(DiskRows, "_read", slowly)
    rows = open_demonstrations(path)[0].observations
    generator = torch.Generator().manual_seed(0)
    wanted = torch.randint(len(played.observations), (64, 10), generator=generator)
    ahead = ReadAhead(rows, 10, 4, lambda number: wanted[number % 64])
    for number in (*range(12), 40, 41, 0):
        assert torch.equal(ahead.batch(number), played.observations[wanted[number]])
    assert ahead._pending is not None
    for part in ahead._pending[2]:  # the next block is on its way
        part.result()
    waited.clear()
    assert ahead.batch(1) is not None
    assert not waited  # the block is here already


def test_large_files_stay_where_they_are_and_small_ones_do_not(path, monkeypatch):
    module = ImitationData(path=str(path), batch_size=16)
    assert module.out_of_core == "auto"
    assert not module._stays_on_disk(str(path))
    monkeypatch.setattr("iqlightning.data.imitation_data._LARGE", path.stat().st_size)
    assert module._stays_on_disk(str(path))


@pytest.mark.parametrize("place", [0.4, 0.9])
def test_a_flipped_bit_is_noticed(path, tmp_path, place):
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 1
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        open_demonstrations(damaged)


def test_what_is_missing_or_no_demonstrations_is_said(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        open_demonstrations(tmp_path / "none.safetensors")
    (tmp_path / "short.safetensors").write_bytes(b"12345678")
    with pytest.raises(UserError, match="damaged"):
        open_demonstrations(tmp_path / "short.safetensors")


def test_a_file_that_shrinks_while_it_is_read_is_said(path, tmp_path):
    copied = tmp_path / "copied.safetensors"
    copied.write_bytes(path.read_bytes())
    found, _ = open_demonstrations(copied)
    copied.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(UserError, match="shorter"):
        found.transitions(torch.arange(found.num_transitions))


def test_a_file_that_changes_after_it_was_checked_is_said(path, tmp_path):
    copied = tmp_path / "copied.safetensors"
    copied.write_bytes(path.read_bytes())
    found, _ = open_demonstrations(copied)
    found.close()
    copied.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(UserError, match="has changed since it was checked"):
        found.transitions(torch.arange(3))
    copied.unlink()
    with pytest.raises(UserError, match=r"cannot read '.*copied\.safetensors'"):
        found.transitions(torch.arange(3))


def test_a_disk_that_fails_is_said(path, monkeypatch):
    found, _ = open_demonstrations(path)

    def fails(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(disk_rows.os, "pread", fails)
    with pytest.raises(UserError, match=r"cannot read '.*': Input/output error"):
        found.transitions(torch.arange(3))


def test_what_was_served_leaves_nothing_open(path, monkeypatch):
    monkeypatch.setattr(disk_rows, "_SLOW", 0.0)
    monkeypatch.setattr(disk_rows, "_AT_ONCE", 1)
    memory, disk = both(path)
    for module in (memory, disk):
        module.batch(0)
    assert isinstance(disk.training, DiskTrajectories)
    rows, ahead = disk.training.observations, disk.source._ahead
    assert ahead is not None
    assert rows._file is not None
    assert ahead._threads is not None
    disk.teardown("fit")
    assert rows._file is None
    assert ahead._threads is None
    assert_equal(disk.batch(1), memory.batch(1))  # and it can go on
    threads = ahead._threads
    assert threads is not None
    disk.setup("fit")
    assert ahead._threads is None
    assert threads._shutdown
    disk.teardown("fit")


def test_checking_tells_how_far_it_is(path):
    seen: list[int] = []
    open_demonstrations(path, seen.append)
    assert abs(sum(seen) - path.stat().st_size) < 4096


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64, torch.int64])
def test_a_file_written_in_pieces_is_that_of_one_piece(tmp_path, played, dtype):
    played = replace(played, observations=played.observations.to(dtype))
    metadata = {"env": ENV.to_dict(), "seed": 0, "source": "expert", "recipe": {"é": 1}}
    save_demonstrations(tmp_path / "whole", played, metadata)
    parts = (played.select(torch.arange(*span)) for span in ((0, 1), (1, 40), (40, 60)))
    assert write_in_pieces(tmp_path / "pieces", parts, metadata) == played.num_transitions
    assert (tmp_path / "pieces").read_bytes() == (tmp_path / "whole").read_bytes()
    assert {file.name for file in tmp_path.iterdir()} == {"whole", "pieces"}


def test_what_cannot_be_written_leaves_nothing(tmp_path, played):
    other = replace(played, observations=played.observations.float())
    with pytest.raises(UserError, match="one shape and type"):
        write_in_pieces(tmp_path / "file", iter([played, other]), {})
    with pytest.raises(UserError, match="no episode"):
        write_in_pieces(tmp_path / "file", iter([]), {})

    def fails():
        yield played
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_in_pieces(tmp_path / "file", fails(), {})
    assert not list(tmp_path.iterdir())
