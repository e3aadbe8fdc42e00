"""Demonstrations that stay in their file: the same batches, bit for bit, and the same mistakes found."""

import gc
import mmap
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from explorer import equal
from gymnasium import spaces

from iqlightning import GridWorldConfig, Trajectories, UserError
from iqlightning.data import expert_source, validation
from iqlightning.data.demonstrations import digest_of, load_demonstrations, save_demonstrations
from iqlightning.data.imitation_data import ImitationData
from iqlightning.data.write_in_pieces import write_in_pieces
from iqlightning.gridworld.expert import shortest_path_demonstrations
from iqlightning.spaces import Spaces

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


@pytest.mark.parametrize("at_once", [1, 1 << 24], ids=["a batch", "a block"])
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
    monkeypatch.setattr(expert_source, "_GATHERED", at_once)
    memory, disk = both(path, **options)
    assert memory.training.shared_rows is None
    assert disk.training.shared_rows is not None
    for update in [*range(5), 127, 128, 300, 4, 129]:
        assert equal(disk.batch(update), memory.batch(update))


def test_held_out_transitions_are_those_from_memory(path):
    memory, disk = both(path)
    batches = list(disk.val_dataloader()), list(memory.val_dataloader())
    assert len(batches[0]) == len(batches[1]) > 0
    for ours, theirs in zip(*batches, strict=True):
        assert equal(ours, theirs)


def test_a_run_may_go_on_either_way(path):
    memory, disk = both(path)
    assert memory.state_dict() == disk.state_dict()
    disk.load_state_dict(memory.state_dict())


@pytest.mark.parametrize("piece", [1, 5_000, 1 << 24])
def test_what_stays_in_the_file_is_all_that_was_demonstrated(path, played, piece, monkeypatch):
    monkeypatch.setattr(validation, "_PIECE", piece)
    mapped, metadata = load_demonstrations(path, in_memory=False)
    assert metadata["seed"] == 0
    assert digest_of(mapped) == digest_of(played)
    for chosen in (torch.tensor([0, 1, 2, 7, 8, 30, 59]), torch.tensor([40, 3, 3])):
        ours, theirs = mapped.select(chosen), played.select(chosen)
        assert ours.observations is mapped.observations
        assert digest_of(ours) == digest_of(theirs)
        assert torch.equal(ours.first_observations, theirs.first_observations)
        assert torch.equal(Trajectories.concatenate([ours, ours]).observations, theirs.observations.repeat(2, 1, 1, 1))
        for indices in (None, torch.arange(min(9, theirs.num_transitions)).flip(0)):
            moves = zip(ours.transitions(indices), theirs.transitions(indices), strict=True)
            assert all(x is y is None or torch.equal(x, y) for x, y in moves)  # type: ignore[arg-type]


def test_what_stays_in_the_file_can_be_saved_again(path, played, tmp_path):
    mapped, metadata = load_demonstrations(path, in_memory=False)
    chosen = torch.tensor([2, 30, 31])
    save_demonstrations(tmp_path / "ours", mapped.select(chosen), metadata)
    save_demonstrations(tmp_path / "theirs", played.select(chosen), metadata)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_large_files_stay_where_they_are_and_small_ones_do_not(path, monkeypatch):
    module = ImitationData(path=str(path), batch_size=16)
    assert module.out_of_core == "auto"
    assert not module._stays_on_disk(str(path))
    monkeypatch.setattr("iqlightning.data.imitation_data._LARGE", path.stat().st_size)
    assert module._stays_on_disk(str(path))


def copied(path, tmp_path) -> tuple[Path, ImitationData]:
    copy = tmp_path / "copied.safetensors"
    copy.write_bytes(path.read_bytes())
    data = ImitationData(path=str(copy), batch_size=16, out_of_core=True)
    data.setup("fit")
    return copy, data


@pytest.mark.parametrize("written", [lambda content: content[:3000], lambda content: content + b" "])
def test_a_file_that_is_written_to_while_it_is_read_is_said(path, tmp_path, written):
    copy, data = copied(path, tmp_path)
    data.batch(0)
    copy.write_bytes(written(path.read_bytes()))
    with pytest.raises(UserError, match=r"copied\.safetensors' has changed since it was checked; start again"):
        data.batch(1)


def test_a_file_that_is_replaced_or_deleted_is_served_as_it_was(path, tmp_path):
    copy, data = copied(path, tmp_path)
    memory = ImitationData(path=str(path), batch_size=16, out_of_core=False)
    memory.setup("fit")
    (tmp_path / "other").write_bytes(b"other")
    (tmp_path / "other").rename(copy)
    assert equal(data.batch(1), memory.batch(1))
    copy.unlink()
    assert equal(data.batch(200), memory.batch(200))


def test_a_disk_that_cannot_be_mapped_is_said(path, monkeypatch):
    def fails(*_: Any, **__: Any) -> None:
        raise OSError(19, "No such device")

    monkeypatch.setattr(mmap, "mmap", fails)
    with pytest.raises(UserError, match=r"cannot read the demonstrations file '.*': .*No such device"):
        load_demonstrations(path, in_memory=False)


@pytest.mark.skipif(sys.platform != "linux", reason="looks where Linux says what is mapped")
def test_what_nobody_looks_at_any_more_is_not_mapped(path, tmp_path):
    copy, data = copied(path, tmp_path)
    data.batch(0)
    assert str(copy) in Path("/proc/self/maps").read_text()
    del data
    gc.collect()
    assert str(copy) not in Path("/proc/self/maps").read_text()


def anonymous_memory() -> int:
    """Bytes of this process that only it has, not those of files that are mapped."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["RssAnon"].split()[0]) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="looks where Linux says what memory is used for")
def test_observations_that_stay_in_the_file_take_no_memory(tmp_path, monkeypatch):
    """Mapped pages that were looked at are the system's cache of the file, and are given back when memory is short."""
    monkeypatch.setattr(validation, "_PIECE", 1 << 20)
    frames, episodes, length = 32_000, 32, 999
    path, size = tmp_path / "large.safetensors", frames * 3 * 40 * 8
    part = Trajectories(
        observations=torch.ones((length + 1) * episodes // 8, 3, 40, dtype=torch.float64),
        actions=torch.zeros(length * episodes // 8, dtype=torch.int64),
        rewards=torch.zeros(length * episodes // 8),
        starts=torch.arange(episodes // 8 + 1) * length,
        terminated=torch.ones(episodes // 8, dtype=torch.bool),
        truncated=torch.zeros(episodes // 8, dtype=torch.bool),
    )
    of = Spaces(spaces.Box(0, 1, (3, 40), np.float64), spaces.Discrete(2))
    write_in_pieces(path, (part for _ in range(8)), {"env": None}, of)
    del part
    before = anonymous_memory()
    mapped, _ = load_demonstrations(path, in_memory=False)
    training = mapped.select(torch.arange(1, episodes))
    digest_of(training)
    highest = anonymous_memory()
    for first in range(0, training.num_transitions, 512):
        training.transitions(torch.arange(first, min(first + 512, training.num_transitions)))
        highest = max(highest, anonymous_memory())
    assert highest - before < size / 2


def test_checking_tells_how_far_it_is(path):
    seen: list[int] = []
    load_demonstrations(path, in_memory=False, progress=seen.append)
    assert abs(sum(seen) - path.stat().st_size) < 4096


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64, torch.int64])
def test_a_file_written_in_pieces_is_that_of_one_piece(tmp_path, played, dtype):
    played = replace(played, observations=played.observations.to(dtype))
    metadata = {"seed": 0, "source": "expert", "recipe": {"é": 1}}
    bytes_of = np.uint8 if dtype == torch.uint8 else np.float32
    of = ENV.spaces._replace(observation=spaces.Box(0, 1, ENV.observation_shape, bytes_of))
    save_demonstrations(tmp_path / "whole", played, metadata, of)
    parts = (played.select(torch.arange(*span)) for span in ((0, 1), (1, 40), (40, 60)))
    assert write_in_pieces(tmp_path / "pieces", parts, metadata, of) == played.num_transitions
    assert (tmp_path / "pieces").read_bytes() == (tmp_path / "whole").read_bytes()
    assert {file.name for file in tmp_path.iterdir()} == {"whole", "pieces"}


def test_numbers_as_actions_are_written_in_pieces_too(tmp_path, played):
    played = replace(played, actions=torch.rand(played.num_transitions, 2, generator=torch.Generator().manual_seed(0)))
    of = ENV.spaces._replace(action=spaces.Box(0, 1, (2,)))
    save_demonstrations(tmp_path / "whole", played, {}, of)
    parts = (played.select(torch.arange(*span)) for span in ((0, 20), (20, 60)))
    write_in_pieces(tmp_path / "pieces", parts, {}, of)
    assert (tmp_path / "pieces").read_bytes() == (tmp_path / "whole").read_bytes()


def test_what_cannot_be_written_leaves_nothing(tmp_path, played):
    of = ENV.spaces._replace(observation=spaces.Box(0, 1, ENV.observation_shape))
    parts = [replace(played, observations=played.observations.to(dtype)) for dtype in (torch.float32, torch.float64)]
    with pytest.raises(UserError, match="one shape and type"):
        write_in_pieces(tmp_path / "file", iter(parts), {}, of)
    with pytest.raises(UserError, match="do not fit the header"):
        write_in_pieces(tmp_path / "file", iter([played]), {}, of)
    with pytest.raises(UserError, match="no episode"):
        write_in_pieces(tmp_path / "file", iter([]), {}, of)

    def fails():
        yield played
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_in_pieces(tmp_path / "file", fails(), {}, ENV.spaces)
    assert not list(tmp_path.iterdir())
