import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iqlightning.evaluation.environment import Returns
from iqlightning.evaluation.metrics import EpisodeMetrics, wilson_interval

RETURNS, LENGTHS = torch.tensor([7.0, 5.0, -16.0], dtype=torch.float64), torch.tensor([4, 6, 16])


def test_the_metric_over_uneven_updates_equals_all_episodes_at_once() -> None:
    metric = EpisodeMetrics(Returns)
    for part in (slice(0, 1), slice(1, 3), slice(0, 0)):
        metric.update(Returns(RETURNS[part], LENGTHS[part]))
    expected = Returns(RETURNS, LENGTHS).metrics()
    computed = metric.compute()
    assert set(computed) == set(expected)
    for name, value in computed.items():
        assert value.item() == pytest.approx(expected[name], abs=1e-12)


def test_the_metric_forgets_when_it_is_reset() -> None:
    metric = EpisodeMetrics(Returns)
    metric.update(Returns(RETURNS, LENGTHS))
    metric.reset()
    metric.update(Returns(RETURNS[:1], LENGTHS[:1]))
    assert metric.compute()["mean_return"] == 7.0


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=30))
def test_return_metrics_are_mean_and_sample_deviation(returns: list[float]) -> None:
    metric = EpisodeMetrics(Returns)
    values = torch.tensor(returns, dtype=torch.float64)
    metric.update(Returns(values[:1], torch.tensor([2])))
    metric.update(Returns(values[1:], torch.full((len(returns) - 1,), 2)))
    computed = metric.compute()
    assert computed["mean_return"].item() == pytest.approx(values.mean().item(), abs=1e-9)
    assert computed["std_return"].item() == pytest.approx(values.std().item(), abs=1e-4)
    assert computed["mean_length"] == 2.0


def test_wilson_interval_agrees_with_a_published_example() -> None:
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson_interval(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


@given(st.integers(0, 5000), st.data())
def test_wilson_interval_holds_the_share_and_stays_between_0_and_1(episodes: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, episodes))
    low, high = wilson_interval(successes, episodes)
    assert 0.0 <= low <= high <= 1.0
    if episodes:
        assert low <= successes / episodes <= high
        mirrored = wilson_interval(episodes - successes, episodes)
        assert (1 - high, 1 - low) == pytest.approx(mirrored)


def test_more_successes_than_episodes_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and the 3 episodes"):
        wilson_interval(4, 3)
