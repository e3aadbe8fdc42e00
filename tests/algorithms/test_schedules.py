import pytest

from iqlightning.algorithms.schedules import Constant, Cosine, Steps
from iqlightning.errors import UserError


def test_warm_up_rises_linearly_to_one():
    schedule = Constant(warmup=4)
    assert [schedule.factor(update, 100) for update in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_cosine_falls_from_one_to_final():
    schedule = Cosine(final=0.1)
    assert schedule.factor(0, 100) == 1.0
    assert schedule.factor(50, 100) == pytest.approx(0.55)
    assert schedule.factor(100, 100) == pytest.approx(0.1)
    assert schedule.factor(10, -1) == 1.0


def test_steps_multiply_at_each_milestone():
    schedule = Steps(milestones=[10, 5], rate=0.5)
    assert [schedule.factor(update, 0) for update in (4, 5, 9, 10)] == [1.0, 0.5, 0.5, 0.25]


def test_negative_warm_up_is_refused():
    with pytest.raises(UserError, match="warmup"):
        Constant(warmup=-1)
