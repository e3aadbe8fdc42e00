import pytest
import torch

from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.evaluation.expert_policy import ShortestPathPolicy
from iqlightning.gridworld.evaluation.failures import Kind, clearest, count_kinds, explain_failures, q_along
from iqlightning.gridworld.evaluation.play import evaluate_gridworld, play_grids
from iqlightning.gridworld.game.layouts import Layouts
from iqlightning.gridworld.game.observation import parse

UP, RIGHT, DOWN, LEFT = range(4)


class Table:
    """Plays the move written in each cell; Q is 1 there and 0 elsewhere."""

    gamma = 0.9

    def __init__(self, moves):
        self.moves = torch.tensor(moves)

    def act(self, observations, *, sample=False):
        _, player, _ = parse(observations)
        return self.moves[player]

    def q_values(self, observations):
        return torch.nn.functional.one_hot(self.act(observations), 4).float()

    def value(self, q):
        return q.amax(1)


def fail(rows, moves, start, move_limit=50):
    """Plays one grid, ``#`` a wall and ``G`` the goal, and explains what happened."""
    text = "".join(rows)
    walls = torch.tensor([[cell == "#" for cell in row] for row in rows])[None]
    layouts = Layouts(walls, torch.tensor([start]), torch.tensor([text.index("G")]))
    policy = Table(moves)
    results = play_grids(policy, layouts, move_limit, record_paths=True)
    (failure,) = explain_failures(results, policy)
    return failure


def test_a_bump_into_a_wall():
    failure = fail(["..#G", "...."], [RIGHT] * 8, start=0)
    assert failure.kind is Kind.WALL
    assert failure.path.tolist() == [0, 1, 1]
    assert failure.mistake == 1
    assert (failure.shortest, failure.manhattan) == (5, 3)


def test_a_bump_into_the_edge_although_a_wall_is_near():
    assert fail(["#.G", "..."], [UP] * 6, start=1).kind is Kind.EDGE


def test_two_cells():
    failure = fail(["....", "...G"], [RIGHT, RIGHT, LEFT, LEFT, 0, 0, 0, 0], start=0)
    assert failure.kind is Kind.TWO_CELLS
    assert failure.path.tolist() == [0, 1, 2, 1]
    assert failure.mistake == 2


def test_a_circle_where_the_way_was_clear():
    failure = fail(["..G", "..."], [DOWN, LEFT, 0, RIGHT, UP, 0], start=0)
    assert failure.kind is Kind.CIRCLE


def test_a_circle_before_an_obstacle():
    # from 6 the direct way right is walled off, and going back up is wrong
    moves = [DOWN, LEFT, 0, 0, RIGHT, UP, 0, 0, 0, 0, 0, 0]
    failure = fail(["..#.", "..#G", "...."], moves, start=0)
    assert (failure.kind, failure.mistake) == (Kind.WRONG_WAY, 2)
    assert fail(["..#.", "..#G", "...."], moves, start=5).kind is Kind.WRONG_WAY


def test_running_out_of_moves():
    assert fail(["....G"], [RIGHT] * 5, start=0, move_limit=2).kind is Kind.TOO_FAR


def test_the_q_values_are_those_of_the_path():
    rows, moves = ["..#G", "...."], [RIGHT] * 8
    failure = fail(rows, moves, start=0)
    walls = torch.tensor([[cell == "#" for cell in row] for row in rows])[None]
    q = q_along(Table(moves), Layouts(walls, torch.tensor([0]), torch.tensor([3])), failure)
    assert q.shape == (3, 4)
    assert q.argmax(1).tolist() == [RIGHT] * 3


def test_every_failure_is_counted_once_and_an_expert_has_none():
    config = GridWorldConfig(height=6, width=6, num_walls=6)
    policy = Table([RIGHT] * 18 + [UP] * 18)
    results = evaluate_gridworld(policy, config, 200, seed=0, record_paths=True)
    failures = explain_failures(results, policy)
    assert sum(count_kinds(failures).values()) == int((~results.success).sum()) == len(failures) > 50
    chosen = clearest(failures, each=2)
    assert {failure.kind for failure in chosen} == set(count_kinds(failures))
    expert = ShortestPathPolicy()
    assert explain_failures(evaluate_gridworld(expert, config, 50, seed=0, record_paths=True), expert) == []


def test_paths_are_needed():
    policy = Table([UP] * 16)
    results = evaluate_gridworld(policy, GridWorldConfig(height=4, width=4, num_walls=2), 20, seed=0)
    with pytest.raises(AssertionError, match="record_paths"):
        explain_failures(results, policy)
