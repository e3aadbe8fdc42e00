import math

import networkx as nx
import pytest
import torch

from iqlightning import GridWorldConfig
from iqlightning.gridworld.game.layouts import draw_layouts
from iqlightning.gridworld.game.planning import (
    UNREACHABLE,
    evaluate_policy,
    occupancy,
    optimal_actions,
    optimal_values,
    shortest_moves,
    shortest_paths,
    soft_value_iteration,
)
from iqlightning.gridworld.game.rules import next_cells, transition_rewards


def by_networkx(walls: torch.Tensor, goal: int) -> torch.Tensor:
    height, width = walls.shape
    graph = nx.grid_2d_graph(height, width)
    graph.remove_nodes_from([tuple(cell) for cell in walls.nonzero().tolist()])
    distances = torch.full((height, width), UNREACHABLE, dtype=torch.int32)
    for (row, column), distance in nx.single_source_shortest_path_length(graph, divmod(goal, width)).items():
        distances[row, column] = distance
    return distances


@pytest.mark.parametrize(
    ("height", "width", "density", "count"),
    [(10, 10, 0.05, 500), (10, 10, 0.4, 500), (7, 31, 0.35, 100), (16, 16, 0.3, 50)],
)
def test_shortest_paths_are_those_of_networkx(height, width, density, count):
    config = GridWorldConfig(height=height, width=width, wall_density=density)
    layouts = draw_layouts(config, torch.zeros(count, dtype=torch.int64), torch.arange(count))
    distances = shortest_paths(layouts.walls, layouts.goal)
    for i in range(count):
        assert torch.equal(distances[i], by_networkx(layouts.walls[i], int(layouts.goal[i])))
    from_start = distances.flatten(1).gather(1, layouts.start.unsqueeze(1)).squeeze(1)
    assert torch.equal(shortest_moves(*layouts), from_start.to(torch.int64))


def snake(height: int, width: int) -> torch.Tensor:
    """Corridors of full width joined at alternate ends: the longest way there is on a grid."""
    walls = torch.zeros((height, width), dtype=torch.bool)
    walls[1::2] = True
    walls[1::4, -1] = False
    walls[3::4, 0] = False
    return walls


@pytest.mark.parametrize(("height", "width"), [(31, 31), (63, 64), (5, 16), (5, 17), (5, 32), (5, 33)])
def test_the_longest_ways_and_the_outermost_bits(height, width):
    walls = snake(height, width)
    goal = torch.tensor([int((~walls[-1]).nonzero()[-1]) + (height - 1) * width])
    distances = shortest_paths(walls.unsqueeze(0), goal)
    assert torch.equal(distances[0], by_networkx(walls, int(goal)))
    assert shortest_moves(walls.unsqueeze(0), torch.tensor([0]), goal) == distances[0, 0, 0]


def test_what_is_cut_off_is_unreachable():
    walls = torch.tensor([[[0, 1, 0], [0, 1, 0]]], dtype=torch.bool)
    goal = torch.tensor([0])
    assert shortest_paths(walls, goal).tolist() == [[[0, -1, -1], [1, -1, -1]]]
    assert shortest_moves(walls, torch.tensor([2]), goal).tolist() == [UNREACHABLE]
    assert not optimal_actions(shortest_paths(walls, goal), walls)[0, [0, 1, 2, 4, 5]].any()


def test_moves_by_hand():
    walls = torch.tensor([[[0, 1], [0, 0]]], dtype=torch.bool)
    assert next_cells(walls)[0].tolist() == [[0, 0, 2, 0], [1, 1, 1, 1], [0, 3, 2, 2], [3, 3, 3, 2]]
    optimal = optimal_actions(shortest_paths(walls, torch.tensor([3])), walls)[0]
    assert optimal.tolist() == [[False, False, True, False], [False] * 4, [False, True, False, False], [False] * 4]


def test_optimal_moves_are_exactly_those_that_come_nearer():
    layouts = draw_layouts(GridWorldConfig(wall_density=0.3), torch.zeros(50, dtype=torch.int64), torch.arange(50))
    distances = shortest_paths(layouts.walls, layouts.goal)
    optimal = optimal_actions(distances, layouts.walls)
    flat = distances.flatten(1)
    ahead = torch.stack([flat.gather(1, moves) for moves in next_cells(layouts.walls).unbind(2)], 2)
    assert torch.equal(optimal.any(2), flat > 0)
    assert (ahead[optimal] == flat.unsqueeze(2).expand_as(ahead)[optimal] - 1).all()


def game(count: int = 3, size: int = 5):
    layouts = draw_layouts(GridWorldConfig(height=size, width=size), torch.arange(count), torch.arange(count))
    moves = next_cells(layouts.walls)
    return layouts, moves, *transition_rewards(moves, layouts.goal)


def test_true_rewards_by_hand():
    moves = next_cells(torch.zeros((1, 1, 3), dtype=torch.bool))
    rewards, terminal = transition_rewards(moves, torch.tensor([2]))
    assert rewards[0].tolist() == [[-1, -1, -1, -1], [-1, 10, -1, -1], [0, 0, 0, 0]]
    assert terminal[0].tolist() == [[False] * 4, [False, True, False, False], [True] * 4]


@pytest.mark.parametrize("temperature", [0.01, 1.0])
@pytest.mark.parametrize("gamma", [0.0, 0.9, 0.99])
def test_soft_value_iteration_agrees_with_a_linear_solve(gamma, temperature):
    """V* is the value, entropy included, of the policy softmax(Q* / temperature): one linear system."""
    _, moves, rewards, terminal = game()
    q, v = soft_value_iteration(rewards, moves, terminal, gamma, temperature)
    policy = torch.softmax(q / temperature, 2)
    solved = evaluate_policy(policy, rewards, moves, terminal, gamma, temperature)
    torch.testing.assert_close(v, solved, rtol=0, atol=1e-8)
    torch.testing.assert_close(v, temperature * torch.logsumexp(q / temperature, 2), rtol=0, atol=1e-12)


def test_soft_value_iteration_takes_any_rewards():
    layouts, moves, _, terminal = game()
    rewards = torch.randn(moves.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    q, v = soft_value_iteration(rewards, moves, terminal, 0.95, 0.3)
    solved = evaluate_policy(torch.softmax(q / 0.3, 2), rewards, moves, terminal, 0.95, 0.3)
    torch.testing.assert_close(v, solved, rtol=0, atol=1e-8)
    # No other policy does better.
    other = torch.softmax(torch.randn(moves.shape, generator=torch.Generator().manual_seed(1)), 2)
    assert (evaluate_policy(other, rewards, moves, terminal, 0.95, 0.3) <= v + 1e-9).all()
    assert len(layouts.goal) == 3


@pytest.mark.parametrize("gamma", [0.9, 1.0])
def test_hard_values_are_those_of_the_shortest_path(gamma):
    layouts, *_ = game(size=10)
    _, v = optimal_values(layouts.walls, layouts.goal, gamma, 0.0)
    distances = shortest_paths(layouts.walls, layouts.goal).flatten(1)
    for i, j in (distances > 0).nonzero().tolist():
        d = int(distances[i, j])
        expected = sum(-(gamma**t) for t in range(d - 1)) + 10 * gamma ** (d - 1)
        assert math.isclose(float(v[i, j]), expected, abs_tol=1e-9)
    assert (v.gather(1, layouts.goal.unsqueeze(1)) == 0).all()
    assert torch.equal(v.isnan(), distances == UNREACHABLE)


def test_the_greedy_moves_of_the_optimal_q_are_the_optimal_ones():
    layouts, *_ = game(size=10)
    q, _ = optimal_values(layouts.walls, layouts.goal, 0.9, 0.0)
    optimal = optimal_actions(shortest_paths(layouts.walls, layouts.goal), layouts.walls)
    best = q >= q.amax(2, keepdim=True) - 1e-9
    assert torch.equal(best[optimal.any(2)], optimal[optimal.any(2)])


def test_values_that_grow_without_end_are_an_error():
    _, moves, rewards, terminal = game()
    with pytest.raises(ArithmeticError, match="without end"):
        soft_value_iteration(rewards + 2.0, moves, terminal, 1.0, 0.0)
    with pytest.raises(ValueError, match="gamma"):
        soft_value_iteration(rewards, moves, terminal, 1.1, 0.0)


def test_occupancy_is_how_often_a_policy_comes_by():
    layouts, moves, rewards, terminal = game()
    gamma, policy = 0.9, torch.full(moves.shape, 0.25, dtype=torch.float64)
    start = torch.nn.functional.one_hot(layouts.start, 25).to(torch.float64)
    rho = occupancy(policy, start, moves, terminal, gamma)
    # E over rho of the rewards is (1 - gamma) times the value of the start.
    value = evaluate_policy(policy, rewards, moves, terminal, gamma).gather(1, layouts.start.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close((rho * rewards).sum((1, 2)), (1 - gamma) * value)
    # And by the definition, step by step.
    here, total = start, torch.zeros_like(start)
    for step in range(400):
        total += (1 - gamma) * gamma**step * here
        flow = here.unsqueeze(2) * policy * ~terminal
        here = torch.zeros_like(here).scatter_add_(1, moves.flatten(1), flow.flatten(1))
    torch.testing.assert_close(rho.sum(2), total, rtol=0, atol=1e-12)
