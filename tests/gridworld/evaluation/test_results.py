import math

import pytest
import torch

from iqlightning.evaluation.metrics import EpisodeMetrics
from iqlightning.gridworld.evaluation.results import GridWorldResults
from iqlightning.gridworld.game.layouts import Layouts

# three episodes: perfect, two moves too many, failed after a limit of 16 moves
SUCCESS = torch.tensor([True, True, False])
MOVES = torch.tensor([4, 6, 16])
SHORTEST = torch.tensor([4, 4, 8])
MANHATTAN = torch.tensor([4, 2, 4])
RETURNS = torch.tensor([7.0, 5.0, -16.0])
LAYOUTS = Layouts(torch.zeros(3, 4, 4, dtype=torch.bool), torch.tensor([0, 0, 0]), torch.tensor([5, 2, 5]))


def results(part: slice = slice(None)) -> GridWorldResults:
    columns = (torch.arange(3), SUCCESS, MOVES, SHORTEST, MANHATTAN, RETURNS)
    return GridWorldResults(*(column[part] for column in columns), layouts=LAYOUTS.select(part))  # type: ignore[misc]


def test_figures_agree_with_numbers_worked_out_by_hand() -> None:
    figures = results().metrics()
    assert figures["success_rate"] == pytest.approx(2 / 3)
    assert figures["distance_ratio"] == pytest.approx((1 + 1.5 + 2) / 3)
    assert figures["manhattan_ratio"] == pytest.approx((1 + 3 + 4) / 3)
    assert figures["spl"] == pytest.approx((1 + 4 / 6 + 0) / 3)
    assert figures["mean_return"] == pytest.approx(-4 / 3)
    assert figures["episodes"] == 3


def test_no_episodes_give_nan_rather_than_a_figure() -> None:
    figures = results(slice(0, 0)).metrics()
    assert math.isnan(figures["success_rate"])
    assert figures["episodes"] == 0


def test_the_metric_over_uneven_updates_equals_all_episodes_at_once() -> None:
    metric = EpisodeMetrics(GridWorldResults)
    metric.update(results(slice(0, 1)))
    metric.update(results(slice(1, 3)))
    metric.update(results(slice(0, 0)))
    expected = results().metrics()
    computed = metric.compute()
    assert set(computed) == set(expected) - {"solved_distance_ratio"}  # which is of one process alone
    for name, value in computed.items():
        assert value.item() == pytest.approx(expected[name], abs=1e-12)
