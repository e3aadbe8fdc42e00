import pytest
import torch

from iqlightning.analysis.speed.measure import Bench, Result, Timing
from iqlightning.analysis.speed.plain_actor_critic import plain_actor_critic
from iqlightning.analysis.speed.plain_loop import PlainData, perceptron, plain_loop
from iqlightning.cli.bench_speed import _table


def bench(repeats: int) -> Bench:
    return Bench(lambda: Timing(1, 1.0), repeats, 1.0, lambda count: None)


def test_contenders_take_turns_after_a_warm_up():
    order = []

    def contender(name):
        def run():
            order.append(name)
            return Timing(10, 1.0)

        return run

    timings = bench(2).race({"a": contender("a"), "b": contender("b")})
    assert order == ["b", "a", "a", "b", "b", "a"]
    assert {name: len(each) for name, each in timings.items()} == {"a": 2, "b": 2}


def test_ratios_are_of_rates_repeat_by_repeat():
    seconds = {"a": iter([1.0, 1.0, 2.0]), "b": iter([1.0, 2.0, 2.0])}
    (result,) = bench(2).against(
        "r", "w", {name: lambda each=each: Timing(10, next(each)) for name, each in seconds.items()}
    )
    assert result.values == (2.0, 1.0)
    assert result.rates == {"a": 7.5, "b": 5.0}


def test_a_result_is_a_line_with_median_and_spread():
    result = Result("r", "w", "x", (0.8, 1.0, 0.95))
    table = _table([result])
    assert [next(iter(column.cells)) for column in table.columns][1:] == ["0.95 x", "0.8-1"]
    assert {"median": 0.95, "low": 0.8, "high": 1.0}.items() <= result.to_dict().items()


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
    assert plain_loop(lambda: perceptron(4, 2, (8,)), data, 16, 3).units == 3
    moves = (torch.randn(100, 4), torch.rand(100, 2), torch.randn(100, 4))
    assert plain_actor_critic(moves, moves, (8,), 16, 3).units == 3


@pytest.mark.parametrize("seconds", [0.0, 1e-12])
def test_nothing_is_divided_by_zero(seconds):
    assert Timing(1, seconds).rate > 0
