import pytest

from iqlightning.analysis.intervals import band, estimate, share


def test_students_interval():
    found = estimate([1.0, 2.0, 3.0])
    # s = 1, t = 4.302653 at two degrees of freedom
    assert found.mean == 2.0
    assert found.high == pytest.approx(2 + 4.302653 / 3**0.5)
    assert found.low == pytest.approx(2 - 4.302653 / 3**0.5)
    assert estimate([5.0]) == (5.0, None, None, 1)
    many = estimate([0.0, 1.0] * 50)
    assert many.high is not None
    assert many.high - many.mean == pytest.approx(1.984217 * 0.50252 / 10, rel=1e-3)


def test_a_share_is_never_more_certain_than_its_episodes():
    found = share([1.0, 1.0, 1.0], [1000, 1000, 1000])
    assert found.high == 1.0
    assert found.low == pytest.approx(0.99617, abs=1e-4)
    wide = share([0.2, 0.8], [1000, 1000])
    assert (wide.low, wide.high) == (0.0, 1.0)


def test_a_band_of_one_two_and_three_seeds():
    one = band([[(10, 1.0), (20, 2.0)]])
    assert (one.mean, one.low, one.high) == ([1.0, 2.0], [1.0, 2.0], [1.0, 2.0])
    two = band([[(10, 1.0)], [(10, 3.0)]])
    assert (two.mean, two.low, two.high) == ([2.0], [1.0], [3.0])
    three = band([[(10, 1.0)], [(10, 2.0)], [(10, 3.0)]])
    assert three.high[0] == pytest.approx(2 + 4.302653 / 3**0.5)


def test_points_that_few_seeds_have_are_left_out():
    found = band([[(10, 1.0), (20, 1.0)], [(10, 2.0)], [(10, 3.0), (10, 3.0)]])
    assert found.x == [10]
    assert found.seeds == 3
