"""What is logged next: means of the updates since the last log, the same to the last bit after a resume."""

from typing import Any

import pytest
import torch

from iqlightning.algorithms.metrics_buffer import MetricsBuffer

NAMES = ["loss", "grad_norm"]


def added(count: int, seed: int = 0) -> tuple[MetricsBuffer, torch.Tensor]:
    numbers = torch.randn(100, 2, generator=torch.Generator().manual_seed(seed))[:count]
    buffer = MetricsBuffer()
    for row in numbers:
        buffer.add(NAMES, tuple(row.unbind()))
    return buffer, numbers


@pytest.mark.parametrize("count", [1, 5, 256, 257, 600])
@pytest.mark.parametrize("looked_at", [(), (1,), (3, 300)])
def test_rows_do_not_depend_on_when_they_are_looked_at(count, looked_at):
    numbers = torch.randn(count, 2)
    buffer = MetricsBuffer()
    for update, row in enumerate(numbers):
        buffer.add(NAMES, tuple(row.unbind()))
        if update in looked_at:
            assert buffer.first_not_finite() is None
    rows: Any = buffer.rows()
    assert torch.equal(rows, numbers)
    buffer.clear()
    assert buffer.rows() is None
    assert buffer.first_not_finite() is None


@pytest.mark.parametrize("cut", [0, 1, 7, 20])
def test_a_restored_mean_is_the_same_to_the_last_bit(cut):
    whole, numbers = added(20)
    begun, _ = added(cut)
    resumed = MetricsBuffer()
    resumed.load_state_dict(begun.state_dict(), 0, 1)
    for row in numbers[cut:]:
        resumed.add(NAMES, tuple(row.unbind()))
    ours, theirs = resumed.rows(), whole.rows()
    assert ours is not None
    assert theirs is not None
    assert torch.equal(ours.mean(0), theirs.mean(0))
    assert resumed.names == NAMES


def test_each_process_gets_its_own_rows_back_and_another_number_of_them_the_mean():
    parts = [added(4, seed=seed)[1] for seed in (0, 1)]
    first, _ = added(4, seed=0)
    state = first.state_dict(all_gather=lambda rows: torch.stack([rows, parts[1]]))
    assert state["rows"].shape == (2, 4, 2)
    for world_size, expected in ((2, parts), (1, [(parts[0] + parts[1]) / 2]), (4, [(parts[0] + parts[1]) / 2] * 4)):
        for rank in range(world_size):
            restored = MetricsBuffer()
            restored.load_state_dict(state, rank, world_size)
            rows: Any = restored.rows()
            torch.testing.assert_close(rows, expected[rank], rtol=0, atol=1e-7)


def test_another_precision_goes_on_and_other_terms_begin_anew():
    buffer, numbers = added(3)
    resumed = MetricsBuffer()
    resumed.load_state_dict(buffer.state_dict(), 0, 1)
    resumed.add(NAMES, tuple(torch.ones(2, dtype=torch.float64)))
    rows: Any = resumed.rows()
    assert rows.dtype == torch.float64
    assert torch.equal(rows[:3], numbers.double())
    resumed = MetricsBuffer()
    resumed.load_state_dict(buffer.state_dict(), 0, 1)
    resumed.add(["loss", "penalty", "grad_norm"], tuple(torch.ones(3)))
    rows: Any = resumed.rows()
    assert rows.tolist() == [[1.0, 1.0, 1.0]]


def test_the_first_update_that_was_not_finite_is_named():
    buffer, _ = added(3)
    buffer.add(NAMES, (torch.tensor(1.0), torch.tensor(float("inf"))))
    buffer.add(NAMES, (torch.tensor(float("nan")), torch.tensor(2.0)))
    assert buffer.first_not_finite() == (1, {"grad_norm": float("inf")})
