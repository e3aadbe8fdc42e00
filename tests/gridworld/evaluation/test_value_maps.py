import pytest
import torch
from table_policy import TablePolicy

from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.evaluation.value_maps import value_maps
from iqlightning.gridworld.game.layouts import Layouts, draw_layouts
from iqlightning.gridworld.game.planning import optimal_values
from iqlightning.losses.values import MaxValue, SoftValue, ValueFunction


def exact(layouts: Layouts, gamma: float, value: ValueFunction) -> TablePolicy:
    """Q* of the true reward; what cannot reach the goal has no optimal value, but a network always has an opinion."""
    temperature = 0.0 if isinstance(value, MaxValue) else value.temperature
    q, _ = optimal_values(layouts.walls, layouts.goal, gamma, temperature)
    return TablePolicy(layouts, q.float().nan_to_num(-50.0), value, gamma)


def _grids(height: int, width: int, count: int = 4) -> Layouts:
    config = GridWorldConfig(height=height, width=width, wall_density=0.25)
    return draw_layouts(config, torch.zeros(count, dtype=torch.int64), torch.arange(count))


@pytest.mark.parametrize("value", [MaxValue(), SoftValue(0.1), SoftValue(0.5)])
def test_the_exact_q_recovers_the_true_reward_and_the_optimal_value(value: ValueFunction) -> None:
    layouts = _grids(6, 5)
    maps = value_maps(exact(layouts, 0.9, value), layouts)
    assert (maps.gamma, maps.temperature) == (0.9, 0.0 if isinstance(value, MaxValue) else value.temperature)
    free = maps.reachable
    torch.testing.assert_close(maps.v[free], maps.optimal_v[free], atol=1e-4, rtol=0)
    at_goal = torch.isclose(maps.rewards, torch.tensor(10.0, dtype=torch.float64), atol=1e-4)
    elsewhere = torch.isclose(maps.rewards, torch.tensor(-1.0, dtype=torch.float64), atol=1e-4)
    assert (at_goal | elsewhere)[free].all()
    assert (at_goal.sum((1, 2, 3)) >= 1).all()
    if isinstance(value, MaxValue):
        assert torch.equal(maps.on_shortest_path, maps.reachable)


def test_walls_and_the_goal_hold_nothing() -> None:
    layouts = _grids(5, 7)
    maps = value_maps(exact(layouts, 0.9, MaxValue()), layouts)
    empty = layouts.walls.clone()
    empty.flatten(1)[torch.arange(4), layouts.goal] = True
    for values in (maps.v, maps.greedy_rewards):
        assert torch.equal(values.isnan(), empty)
    assert torch.equal(maps.optimal_v.isfinite(), maps.reachable)
    assert torch.equal(maps.greedy == -1, empty)
    assert torch.equal(maps.q.isnan().all(-1), empty)
    assert not (maps.reachable & empty).any()


def test_a_map_agrees_with_numbers_worked_out_by_hand() -> None:
    # start | free | goal on one row, a wall below the middle
    walls = torch.tensor([[[False, False, False], [False, True, False]]])
    layouts = Layouts(walls, torch.tensor([0]), torch.tensor([2]))
    maps = value_maps(exact(layouts, 0.5, MaxValue()), layouts)
    assert maps.v[0, 0, :2].tolist() == [4.0, 10.0]
    assert maps.v[0, 1, [0, 2]].tolist() == [1.0, 10.0]
    assert maps.greedy[0].tolist() == [[1, 1, -1], [0, -1, 0]]
    assert maps.greedy_rewards[0, 0, :2].tolist() == [-1.0, 10.0]
    # up, at the upper edge: Q = -1 + 0.5 * 4, so r = 1 - 0.5 * 4
    assert maps.q[0, 0, 0, 0] == 1.0
    assert maps.rewards[0, 0, 0, 0] == -1.0


def test_cells_cut_off_from_the_goal_are_not_reachable() -> None:
    walls = torch.zeros(1, 3, 4, dtype=torch.bool)
    walls[0, 0, 2] = walls[0, 1, 3] = True
    layouts = Layouts(walls, torch.tensor([0]), torch.tensor([8]))
    maps = value_maps(exact(layouts, 0.9, MaxValue()), layouts)
    assert maps.v[0, 0, 3].isfinite()
    assert not maps.reachable[0, 0, 3]
    assert not maps.on_shortest_path[0, 0, 3]
    assert maps.reachable.sum() == 12 - 2 - 1 - 1


def test_the_policy_is_asked_in_bounded_chunks() -> None:
    layouts = _grids(40, 40, count=3)
    policy, asked = exact(layouts, 0.5, MaxValue()), []
    q_values = policy.q_values
    policy.q_values = lambda observations: asked.append(len(observations)) or q_values(observations)
    value_maps(policy, layouts)
    assert max(asked) <= 4096
    assert sum(asked) == 3 * 1600
