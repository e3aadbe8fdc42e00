import math

import pytest
import torch
from table_policy import CORRIDOR, TablePolicy, grids

from iqlightning.evaluation.reward_distances import (
    epic_canonical,
    epic_distance,
    pearson,
    shaping_free_distance,
    spearman,
)
from iqlightning.gridworld.evaluation.truth import (
    ground_truth,
    occupancy_divergence,
    policy_agreement,
    regret,
    truth_metrics,
)
from iqlightning.gridworld.evaluation.value_maps import value_maps
from iqlightning.losses.values import MaxValue, SoftValue, ValueFunction

UP, RIGHT, DOWN, LEFT = range(4)


def deterministic(*moves: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor([moves]), 4).double()


def test_the_corridor_solved_by_hand():
    truth = ground_truth(CORRIDOR, gamma=0.5, temperature=0.0)
    assert truth.v[0, :2].tolist() == [4.0, 10.0]
    assert truth.q[0, 0].tolist() == [1.0, 4.0, 1.0, 1.0]
    assert truth.q[0, 1].tolist() == [4.0, 10.0, 4.0, 1.0]
    assert truth.decided.tolist() == [[True, True, False]]
    assert truth.policy[0, :2].argmax(1).tolist() == [RIGHT, RIGHT]


def test_soft_values_of_the_corridor_satisfy_their_equation():
    truth = ground_truth(CORRIDOR, gamma=0.5, temperature=2.0)
    assert truth.q[0, 1, RIGHT].item() == 10.0
    assert truth.q[0, 0, RIGHT].item() == pytest.approx(-1 + 0.5 * truth.v[0, 1].item())
    assert truth.v[0, 1].item() == pytest.approx(2 * math.log(sum(math.exp(x / 2) for x in truth.q[0, 1].tolist())))
    assert truth.policy[0].sum(1).tolist() == pytest.approx([1.0] * 3)


def test_regret_by_hand():
    truth = ground_truth(CORRIDOR, 0.5, 0.0)
    # to the left for ever is worth -2 everywhere: (4 + 2 + 10 + 2) / 2
    assert regret(truth, deterministic(LEFT, LEFT, LEFT)).tolist() == pytest.approx([9.0])
    assert regret(truth, deterministic(RIGHT, RIGHT, LEFT)).tolist() == pytest.approx([0.0])


def test_agreement_by_hand():
    truth = ground_truth(CORRIDOR, 0.5, 0.0)
    assert policy_agreement(truth, deterministic(RIGHT, UP, UP)).tolist() == [0.5]


def test_occupancy_divergence_by_hand():
    truth = ground_truth(CORRIDOR, 0.5, 0.0)
    best = deterministic(RIGHT, RIGHT, UP)
    # rho: (0, right) .25, (1, right) .375, ended .375; against (0, left) .5, (1, right) .25, ended .25
    assert occupancy_divergence(truth, deterministic(LEFT, RIGHT, UP)).tolist() == pytest.approx([0.5])
    assert occupancy_divergence(truth, deterministic(LEFT, LEFT, UP)).tolist() == pytest.approx([1.0])
    assert occupancy_divergence(truth, best).tolist() == pytest.approx([0.0])


def table(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).view(1, 1, -1)


def test_correlations_by_hand():
    counted = torch.ones(1, 1, 4, dtype=torch.bool)
    assert pearson(table(1, 2, 3, 4), table(2, 1, 4, 3), counted).item() == pytest.approx(0.6)
    # ranks 1, 2.5, 2.5, 4
    assert spearman(table(0, 5, 5, 9), table(1, 2, 3, 4), counted).item() == pytest.approx(4.5 / math.sqrt(22.5))
    # what is not counted does not matter
    assert pearson(table(1, 2, 99), table(5, 7, -9), table(1, 1, 0) > 0).item() == pytest.approx(1.0)
    assert spearman(table(1, 2, 99), table(5, 7, -9), table(1, 1, 0) > 0).item() == pytest.approx(1.0)
    assert pearson(table(1, 1, 1), table(1, 2, 3), counted[..., :3]).isnan().item()


def test_the_canonical_reward_of_the_corridor_by_hand():
    truth = ground_truth(CORRIDOR, 0.5, 0.0)
    canonical = epic_canonical(truth.rewards, truth.next_cells, truth.terminal, 0.5, truth.decided.double())
    # means of R: -1 in cell 0, 1.75 in cell 1, 0.375 overall
    assert canonical[0, 0, RIGHT].item() == pytest.approx(-1 + 0.5 * 1.75 + 1 - 0.5 * 0.375)
    assert canonical[0, 0, UP].item() == pytest.approx(-1 - 0.5 + 1 - 0.5 * 0.375)
    assert canonical[0, 1, RIGHT].item() == pytest.approx(10 + 0 - 1.75 - 0.5 * 0.375)


@pytest.mark.parametrize("distance", [epic_distance, shaping_free_distance])
def test_a_scale_makes_no_distance_and_the_opposite_reward_is_as_far_as_can_be(distance):
    truth = ground_truth(grids(), 0.9, 0.0)
    counted = truth.decided.unsqueeze(2).expand_as(truth.rewards)
    dynamics = (truth.next_cells, truth.terminal, truth.gamma, counted)
    same, opposite = torch.zeros(6, dtype=torch.float64), torch.ones(6, dtype=torch.float64)
    torch.testing.assert_close(distance(3 * truth.rewards, truth.rewards, *dynamics), same, atol=1e-7, rtol=0)
    torch.testing.assert_close(distance(-truth.rewards, truth.rewards, *dynamics), opposite)
    noise = truth.rewards + torch.randn_like(truth.rewards)
    found = distance(noise, truth.rewards, *dynamics)
    assert ((found > 0.01) & (found < 0.7)).all()


def test_shaping_makes_no_shaping_free_distance():
    truth = ground_truth(grids(), 0.9, 0.0)
    counted = truth.decided.unsqueeze(2).expand_as(truth.rewards)
    potential = torch.randn(truth.v.shape, dtype=torch.float64)
    ahead = potential.gather(1, truth.next_cells.flatten(1)).view(truth.rewards.shape).masked_fill(truth.terminal, 0.0)
    shaped = truth.rewards + 0.9 * ahead - potential.unsqueeze(2)
    dynamics = (truth.next_cells, truth.terminal, truth.gamma, counted)
    assert shaping_free_distance(shaped, truth.rewards, *dynamics).max() < 1e-7
    assert epic_distance(shaped, truth.rewards, *dynamics).min() > 0.01


@pytest.mark.parametrize(("value", "temperature"), [(MaxValue(), 0.0), (SoftValue(0.1), 0.1)])
def test_the_exact_solution_is_found_faultless(value: ValueFunction, temperature: float):
    layouts = grids()
    truth = ground_truth(layouts, 0.9, temperature)
    found = truth_metrics(value_maps(TablePolicy(layouts, truth.q, value, 0.9), layouts))
    for name in ("reward_pearson", "reward_spearman", "reward_pearson_visited", "policy_agreement"):
        assert found[name] == pytest.approx(1.0, abs=1e-6), name
    for name in ("reward_epic", "reward_shaping_free", "q_error", "v_error", "regret", "occupancy_divergence"):
        assert found[name] == pytest.approx(0.0, abs=1e-5), name


def test_the_experts_moves_are_those_that_shortest_paths_from_the_start_make():
    layouts = grids(1)
    truth = ground_truth(layouts, 0.9, 0.0)
    maps = value_maps(TablePolicy(layouts, torch.randn_like(truth.q), MaxValue(), 0.9), layouts)
    reached, more = set(), {int(layouts.start[0])}
    while more:
        reached |= more
        more = {int(truth.next_cells[0, s, a]) for s in more for a in range(4) if truth.optimal[0, s, a]} - reached
    visited = truth.optimal.clone()
    visited[0, [cell for cell in range(visited.shape[1]) if cell not in reached]] = False
    found = truth_metrics(maps)["reward_pearson_visited"]
    rewards = maps.rewards.reshape(truth.rewards.shape)
    by_hand = torch.corrcoef(torch.stack([rewards[visited], truth.rewards[visited]]))[0, 1]
    assert found == pytest.approx(float(by_hand))


def test_an_opposite_solution_is_found_at_fault():
    layouts = grids()
    truth = ground_truth(layouts, 0.9, 0.0)
    found = truth_metrics(value_maps(TablePolicy(layouts, -truth.q, MaxValue(), 0.9), layouts))
    assert found["policy_agreement"] < 0.2
    assert found["regret"] > 3
    assert found["occupancy_divergence"] > 0.5
    assert found["reward_shaping_free"] > 0.5
