import pytest
import torch

from iqlightning.analysis.speed.measure import Result, Timing, ratios, take_turns
from iqlightning.analysis.speed.plain_loops import PlainData, eager_loop, perceptron
from iqlightning.analysis.speed.table import as_table


def test_contenders_take_turns_after_a_warm_up():
    order = []

    def contender(name):
        def run():
            order.append(name)
            return Timing(10, 1.0, 2.0)

        return run

    timings = take_turns({"a": contender("a"), "b": contender("b")}, 2, lambda count: None)
    assert order == ["a", "b", "a", "b", "b", "a"]
    assert {name: len(each) for name, each in timings.items()} == {"a": 2, "b": 2}


def test_ratios_are_of_rates_repeat_by_repeat():
    timings = {
        "a": [Timing(10, 1.0, 2.0), Timing(10, 2.0, 2.0)],
        "b": [Timing(10, 2.0, 2.0), Timing(10, 2.0, 4.0)],
    }
    assert ratios(timings, "a", "b", "cpu")[0] == (2.0, 1.0)
    assert ratios(timings, "a", "b", "wall") == ((1.0, 2.0), {"a": 5.0, "b": 3.75})


def test_a_result_is_a_line_with_median_and_spread():
    result = Result("r", "w", "x", (0.8, 1.0, 0.95))
    assert (result.median, result.spread) == (0.95, (0.8, 1.0))
    table = as_table([result])
    assert [next(iter(column.cells)) for column in table.columns][1:] == ["0.95 x", "0.8-1"]
    assert result.to_dict()["median"] == 0.95


def test_plain_loops_count_their_work():
    starts = torch.arange(0, 101, 10)
    data = PlainData(
        torch.randn(100, 4),
        torch.randint(2, (100,)),
        torch.randn(100, 4),
        torch.zeros(100, dtype=torch.bool),
        starts,
        together=4,
    )
    assert ((data.draw(32) // 10).view(8, 4).diff(dim=1) == 0).all()
    assert eager_loop(lambda: perceptron(4, 2, (8,)), data, 16, 3).units == 3


@pytest.mark.parametrize("rate", [0.0, 1e-12])
def test_nothing_is_divided_by_zero(rate):
    assert Timing(1, rate, rate).rate("cpu") > 0
