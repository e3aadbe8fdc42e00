import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete

from iqlightning.evaluation.metrics import wilson_interval
from iqlightning.evaluation.reference_policies import RandomPolicy
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.evaluation.play import evaluate_gridworld
from iqlightning.gridworld.evaluation.success_figures import success_panel
from iqlightning.gridworld.evaluation.success_profile import binned, success_profiles, walls_between, walls_within
from iqlightning.gridworld.game.layouts import Layouts


def test_ranges_hold_equal_shares_and_the_last_one_what_is_left():
    values = torch.tensor([0] * 90 + [4, 7] + [1] * 8)
    profile = binned(values, values > 1, bins=10)
    assert profile.lowest.tolist() == [0, 1]
    assert profile.highest.tolist() == [0, 7]
    assert profile.episodes.tolist() == [90, 10]
    assert profile.successes.tolist() == [0, 2]
    assert profile.mean.tolist() == [0.0, 1.9]
    assert profile.rate.tolist() == [0.0, 0.2]
    assert profile.interval[1].tolist() == pytest.approx(wilson_interval(2, 10))


def test_every_episode_is_counted_once():
    values = torch.randint(30, (1000,), generator=torch.Generator().manual_seed(0))
    success = values % 3 == 0
    profile = binned(values, success)
    assert int(profile.episodes.sum()) == 1000
    assert int(profile.successes.sum()) == int(success.sum())
    assert (profile.lowest[1:] > profile.highest[:-1]).all()
    assert len(binned(values[:0], success[:0]).rate) == 0


def test_walls_are_counted_between_start_and_goal_and_within_the_grid():
    walls = torch.zeros(1, 5, 6, dtype=torch.bool)
    walls[0, 4], walls[0, :, 5] = True, True  # a 4x5 grid in the corner of a 5x6 one
    for row, column in ((0, 0), (1, 2), (2, 3), (3, 1)):
        walls[0, row, column] = True
    assert walls_within(Layouts(walls, torch.tensor([6]), torch.tensor([7]))).tolist() == [4]
    for start, goal, between in (((0, 1), (2, 4), 2), ((2, 4), (0, 1), 2), ((0, 4), (3, 4), 0), ((3, 2), (0, 1), 2)):
        ends = [torch.tensor([row * 6 + column]) for row, column in (start, goal)]
        assert walls_between(Layouts(walls, *ends)).tolist() == [between]


def test_profiles_of_played_episodes_become_a_picture():
    few, many = (
        success_profiles(evaluate_gridworld(RandomPolicy(Discrete(4)), config, 200, seed=0))
        for config in (
            GridWorldConfig(height=6, width=6),
            GridWorldConfig(height=8, width=8, wall_density=0.3, min_size=4),
        )
    )
    assert set(few) == {"shortest", "detour", "walls_between"}  # five walls everywhere
    assert set(many) == {"shortest", "detour", "walls_between", "walls"}
    assert many["walls"].highest.max() == 19
    assert few["shortest"].rate[0] > few["shortest"].rate[-1] + 0.2  # a random policy seldom gets far
    picture = success_panel(many, "200 grids")
    assert picture.dtype == np.uint8
    assert picture.shape[1] > picture.shape[0] > 200
