import pytest
import torch
from table_policy import CORRIDOR, TablePolicy, grids

from iqlightning.errors import UserError
from iqlightning.gridworld.evaluation.reward_transfer import (
    SETTINGS,
    other_walls,
    reward_transfer,
    slippery_moves,
    transfer_metrics,
)
from iqlightning.gridworld.evaluation.truth import ground_truth
from iqlightning.gridworld.game.layouts import Layouts
from iqlightning.losses.values import MaxValue, SoftValue


def exact(layouts: Layouts, gamma: float, sign: float = 1.0) -> TablePolicy:
    return TablePolicy(layouts, sign * ground_truth(layouts, gamma, 0.0).q, MaxValue(), gamma)


def test_the_corridor_by_hand():
    found = reward_transfer(exact(CORRIDOR, 0.5), CORRIDOR)
    # V* is 4 and 10; at random V1 = 1.75 + (2 V1 + V0) / 8 and V0 = -1 + (3 V0 + V1) / 8
    v1, v0 = torch.linalg.solve(
        torch.tensor([[0.75, -0.125], [-0.125, 0.625]], dtype=torch.float64), torch.tensor([1.75, -1]).double()
    ).tolist()
    assert found.best.tolist() == pytest.approx([7.0])
    assert found.reached.tolist() == pytest.approx([7.0])
    assert found.uniform.tolist() == pytest.approx([(v0 + v1) / 2])
    assert found.share.tolist() == pytest.approx([1.0])


def test_a_slippery_corridor_by_hand():
    # half of the moves to the right bump into the edge: V1 = 4.5 / 0.75 = 6, V0 = 0.5 / 0.75
    found = reward_transfer(exact(CORRIDOR, 0.5), CORRIDOR, slip=0.5)
    assert found.best.tolist() == pytest.approx([(6 + 2 / 3) / 2])


def test_slips_go_to_the_sides():
    assert slippery_moves(0.2)[0].tolist() == pytest.approx([0.8, 0.1, 0.0, 0.1])
    assert slippery_moves(0.2).sum(1).tolist() == pytest.approx([1.0] * 4)
    with pytest.raises(UserError, match="slipping"):
        slippery_moves(1.0)


def test_a_shaped_reward_is_as_good_on_the_same_grid():
    """Any Q plans to its own greedy policy, since its V differs from the truth's by shaping only."""
    layouts = grids()
    soft = TablePolicy(layouts, ground_truth(layouts, 0.9, 0.0).q + 5.0, SoftValue(1e-6), 0.9)
    assert reward_transfer(soft, layouts).share.tolist() == pytest.approx([1.0] * 6)


def test_the_opposite_reward_is_worse_than_chance():
    layouts = grids()
    assert (reward_transfer(exact(layouts, 0.9, sign=-1.0), layouts).share < 0).all()


def test_changed_walls_are_planned_on_and_cannot_beat_the_best():
    layouts = grids()
    walls = other_walls(layouts, grids(first=100))
    assert not walls.flatten(1).gather(1, layouts.goal[:, None]).any()
    found = reward_transfer(exact(layouts, 0.9), layouts, walls=walls, slip=0.1)
    kept = found.best.isfinite()
    assert kept.any()
    assert (found.reached <= found.best + 1e-9)[kept].all()


@pytest.mark.parametrize("slip", [0.0, 0.3])
def test_the_plan_for_the_true_reward_solves_its_bellman_equation(slip: float):
    layouts = grids()
    # values of the best policy by many sweeps of value iteration, independent of the policy iteration inside
    truth, made = ground_truth(layouts, 0.9, 0.0), slippery_moves(slip)
    v = torch.zeros(truth.v.shape, dtype=torch.float64)
    for _ in range(400):
        ahead = v.gather(1, truth.next_cells.flatten(1)).view(truth.rewards.shape).masked_fill(truth.terminal, 0.0)
        v = ((truth.rewards + 0.9 * ahead) @ made.T).amax(2)
    weights = truth.decided / truth.decided.sum(1, keepdim=True).double()
    best = reward_transfer(exact(layouts, 0.9), layouts, slip=slip).best
    torch.testing.assert_close(best, (weights * v).sum(1), atol=1e-9, rtol=0)


def test_transfer_metrics_are_means_over_the_grids_in_each_setting():
    layouts = grids()
    found = transfer_metrics(exact(layouts, 0.9), layouts, grids(first=100), slip=0.1)
    assert set(found) == set(SETTINGS)
    assert found["same"]["share"] == pytest.approx(1.0)
    alone = reward_transfer(exact(layouts, 0.9), layouts, slip=0.1)
    assert found["slippery"]["reached"] == pytest.approx(float(alone.reached.mean()))
    assert found["slippery"]["best"] <= found["same"]["best"]
    assert found["other_walls"]["best"] != found["same"]["best"]
    assert 0 < found["other_walls"]["grids"] <= 6


def test_both_readings_are_the_same_on_the_same_grid_and_differ_on_others():
    layouts = grids()
    noisy = TablePolicy(layouts, torch.randn_like(ground_truth(layouts, 0.9, 0.0).q), MaxValue(), 0.9)
    walls = other_walls(layouts, grids(first=100))
    same = [reward_transfer(noisy, layouts, per_transition=each).reached for each in (False, True)]
    other = [reward_transfer(noisy, layouts, walls=walls, per_transition=each).reached for each in (False, True)]
    torch.testing.assert_close(same[0], same[1])
    assert (other[0] != other[1]).any()


def test_a_reward_without_shaping_transfers_to_slippery_moves_whole():
    # r(s, a) of the exact solution is the true reward of the intended move: -1, and 10 where it would reach the goal;
    # with slips the game pays by the move made, which differs by the slip into or past the goal alone
    found = reward_transfer(exact(CORRIDOR, 0.5), CORRIDOR, slip=0.1)
    assert found.reached.tolist() == pytest.approx(found.best.tolist())
