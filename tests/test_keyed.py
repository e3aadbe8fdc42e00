"""Keyed numbers drawn ahead are those drawn one by one."""

import pytest
import torch

from iqlightning.keyed import NormalsAhead, Stream, normal

ROWS = torch.tensor([0, 3, 7 << 32])


def one_by_one(seed: int, step: int, samples: int, size: int, rows: torch.Tensor = ROWS) -> torch.Tensor:
    sample, number = torch.arange(samples)[:, None, None], torch.arange(size)
    return normal(Stream.ACTOR, seed, step, rows[:, None], sample, number)


@pytest.mark.parametrize("steps", [(0, 1, 2, 3), (5, 9, 13, 11, 15), (0, 64, 128, 6400, 6464)])
def test_numbers_drawn_ahead_are_those_of_their_keys(steps):
    ahead = NormalsAhead(samples=2, size=3)
    for step in steps:
        assert torch.equal(ahead(Stream.ACTOR, 4, step=step, rows=ROWS), one_by_one(4, step, 2, 3))


def test_other_rows_or_keys_are_not_taken_for_those_drawn_ahead():
    ahead = NormalsAhead(samples=1, size=2)
    for step in range(3):
        ahead(Stream.ACTOR, 4, step=step, rows=ROWS)
    assert torch.equal(ahead(Stream.ACTOR, 5, step=3, rows=ROWS), one_by_one(5, 3, 1, 2))
    assert torch.equal(ahead(Stream.ACTOR, 5, step=3, rows=ROWS[:2]), one_by_one(5, 3, 1, 2, ROWS[:2]))
