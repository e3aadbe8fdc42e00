"""The shortest-path expert: always shortest, evenly among the shortest ways, always the same."""

import networkx
import pytest
import torch

from iqlightning.gridworld.config import LEVELS, GridWorldConfig
from iqlightning.gridworld.expert import shortest_path_demonstrations
from iqlightning.gridworld.game.layouts import draw_layouts
from iqlightning.gridworld.game.observation import parse
from iqlightning.gridworld.game.state import GridWorldBatch


def shortest(walls, start: int, goal: int) -> int:
    height, width = walls.shape
    graph = networkx.grid_2d_graph(height, width)
    graph.remove_nodes_from([tuple(cell) for cell in walls.nonzero().tolist()])
    return networkx.shortest_path_length(graph, divmod(start, width), divmod(goal, width))


@pytest.mark.parametrize("level", LEVELS)
def test_every_episode_takes_a_shortest_way_to_the_goal(level):
    env = GridWorldConfig(level, height=6, width=7, wall_density=0.2)
    demonstrations = shortest_path_demonstrations(env, 40, seed=1)
    walls, player, goal = parse(demonstrations.first_observations)
    for e in range(40):
        assert int(demonstrations.lengths[e]) == shortest(walls[e], int(player[e]), int(goal[e]))
    assert demonstrations.terminated.all()
    assert not demonstrations.truncated.any()
    assert torch.equal(demonstrations.returns, 11.0 - demonstrations.lengths)


def test_the_game_plays_out_as_recorded():
    env = GridWorldConfig(height=5, width=6, wall_density=0.2)
    demonstrations = shortest_path_demonstrations(env, 30, seed=2)
    rewards = demonstrations.rewards
    batch = GridWorldBatch.from_layouts(env, draw_layouts(env, torch.full((30,), 2), torch.arange(30), "train"))
    offset = torch.arange(30)
    for move in range(int(demonstrations.lengths.max())):
        going = demonstrations.lengths > move
        index = (demonstrations.starts[:-1] + move).clamp(max=demonstrations.num_transitions - 1)
        recorded = demonstrations.transitions(index)
        played = batch.step(recorded.actions)
        assert torch.equal(recorded.next_obs[going], played.next_obs[going])
        assert torch.equal(rewards[index][going], played.rewards[going])
        assert torch.equal(recorded.terminated[going], played.terminated[going])
        assert torch.equal(demonstrations.observations[(index + offset)[going]], recorded.obs[going])


def test_optimal_moves_are_chosen_evenly():
    env = GridWorldConfig("static", height=3, width=3, num_walls=0, random_start=False)
    demonstrations = shortest_path_demonstrations(env, 8_000, seed=0)
    first = demonstrations.actions[demonstrations.starts[:-1]]
    assert set(first.tolist()) == {1, 2}
    assert abs((first == 1).float().mean().item() - 0.5) < 0.03


def test_fewer_episodes_are_the_first_of_more_however_they_are_batched(monkeypatch):
    env = GridWorldConfig(height=4, width=4)
    few = shortest_path_demonstrations(env, 7, seed=5)
    monkeypatch.setattr("iqlightning.gridworld.expert._CELLS_AT_ONCE", 3 * env.num_cells)
    finished = []
    many = shortest_path_demonstrations(env, 11, seed=5, progress=finished.append)
    assert finished == [3, 3, 3, 2]
    first = many.select(torch.arange(7))
    for name in ("observations", "actions", "rewards", "starts", "terminated", "truncated"):
        assert torch.equal(getattr(few, name), getattr(first, name))
    other = shortest_path_demonstrations(env, 7, seed=6)
    assert not torch.equal(few.first_observations, other.first_observations)


def test_a_move_limit_below_the_shortest_way_truncates():
    env = GridWorldConfig(height=8, width=8, num_walls=3, max_moves=4)
    demonstrations = shortest_path_demonstrations(env, 50, seed=0)
    assert int(demonstrations.lengths.max()) == 4
    assert torch.equal(demonstrations.terminated, ~demonstrations.truncated)
    assert demonstrations.truncated.any()
    assert torch.equal(demonstrations.returns[demonstrations.truncated].unique(), torch.tensor([-4.0]))


def test_training_and_test_grids_differ():
    env = GridWorldConfig(height=6, width=6)
    seen = {
        split: {
            bytes(grid.flatten().tolist()) for grid in shortest_path_demonstrations(env, 300, 0, split).observations
        }
        for split in ("train", "test")
    }
    assert not seen["train"] & seen["test"]
