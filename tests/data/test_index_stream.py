"""The index stream: keyed by update and global position, uniform, the same for one process and several."""

import pytest
import torch

from iqlightning.data.index_stream import IndexStream, check_batch_size
from iqlightning.errors import UserError
from iqlightning.keyed import Stream

STARTS = torch.tensor([0, 3, 4, 10, 20])


def stream(**options) -> IndexStream:
    return IndexStream(20, 24, seed=7, episode_starts=STARTS, **options)


@pytest.mark.parametrize("per_group", [1, 4])
@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_share_out_the_batch_of_one(per_group, world_size):
    whole = stream(per_group=per_group)
    parts = [stream(per_group=per_group, rank=rank, world_size=world_size) for rank in range(world_size)]
    for update in (0, 1, 1000):
        together = torch.empty(24, dtype=torch.int64)
        for part in parts:
            together[part.positions] = part.indices(update)
        assert torch.equal(together, whole.indices(update))
    for shared in (False, True):
        keys = torch.empty(5, 24, dtype=torch.int64)
        for part in parts:
            keys[:, part.positions] = part.keys_of(Stream.SYMMETRY, 3, 5, shared_by_group=shared)
        assert torch.equal(keys, whole.keys_of(Stream.SYMMETRY, 3, 5, shared_by_group=shared))
    assert torch.equal(parts[1].groups.unique(), torch.arange(24 // per_group)[1::world_size])


@pytest.mark.parametrize("per_group", [1, 3])
def test_updates_drawn_together_equal_those_drawn_alone(per_group):
    many = stream(per_group=per_group).indices_of(90, 20)
    for row, update in zip(many, range(90, 110), strict=True):
        assert torch.equal(row, stream(per_group=per_group).indices(update))


@pytest.mark.parametrize("per_group", [1, 4])
def test_every_sample_is_equally_likely_in_every_place(per_group):
    indices = stream(per_group=per_group).indices_of(0, 20_000)
    for place in (0, 1, 3, 23):
        counts = torch.bincount(indices[:, place], minlength=20).double()
        assert ((counts - 1000).square() / 1000).sum() < 45  # chi-squared, 19 degrees of freedom: p = 0.0007


def test_a_group_comes_from_one_episode():
    groups = stream(per_group=4).indices_of(0, 100).view(-1, 4)
    episodes = torch.searchsorted(STARTS, groups, right=True)
    assert (episodes == episodes[:, :1]).all()
    assert (groups != groups[:, :1]).any()


def test_seeds_and_streams_differ():
    first = IndexStream(1000, 8, seed=0).indices(0)
    assert not torch.equal(first, IndexStream(1000, 8, seed=1).indices(0))
    assert not torch.equal(first, IndexStream(1000, 8, seed=0, stream=Stream.INITIAL).indices(0))
    assert not torch.equal(first, IndexStream(1000, 8, seed=0).indices(1))


def test_keys_are_shared_by_a_group_only_on_request():
    keys = stream(per_group=4).keys_of(Stream.SYMMETRY, 0, 1, shared_by_group=True).view(-1, 4)
    assert (keys == keys[:, :1]).all()
    assert len(keys.unique()) == 6
    assert len(stream(per_group=4).keys_of(Stream.NOISE, 0, 1).unique()) == 24


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((0, 1, 1), "at least 1"),
        ((8, 1, 0), "at least 1"),
        ((32, 3, 1), "not a multiple of 3 .* the nearest valid: 30 or 33"),
        ((32, 2, 3), "not a multiple of 6 .* the nearest valid: 30 or 36"),
        ((2, 1, 3), "the nearest valid: 3$"),
    ],
)
def test_a_batch_that_cannot_be_shared_out_is_refused(sizes, message):
    with pytest.raises(UserError, match=message):
        check_batch_size(*sizes)


def test_groups_need_episodes():
    with pytest.raises(ValueError, match="episode_starts"):
        IndexStream(20, 24, seed=0, per_group=2)
