from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
import torch

from iqlightning import GridWorldConfig
from iqlightning.gridworld.game.layouts import Layouts, draw_layouts, splits_are_disjoint
from iqlightning.gridworld.game.planning import UNREACHABLE, shortest_moves
from iqlightning.registration import env_config_from_dict

FAMILIES = ["maze", "rooms"]


def draw(config: GridWorldConfig, count: int, split: str = "any") -> Layouts:
    return draw_layouts(config, torch.zeros(count, dtype=torch.int64), torch.arange(count), split)


def graph_of(walls: np.ndarray) -> nx.Graph:
    graph = nx.grid_2d_graph(*walls.shape)
    graph.remove_nodes_from(map(tuple, np.argwhere(walls)))
    return graph


@pytest.mark.parametrize("layout", FAMILIES)
@pytest.mark.parametrize(("height", "width"), [(5, 5), (10, 10), (15, 15), (7, 18), (31, 31), (64, 40)])
@pytest.mark.parametrize("random_start", [True, False])
def test_every_free_cell_can_reach_every_other_and_the_number_of_walls_is_the_promised_one(
    layout, height, width, random_start
):
    config = GridWorldConfig(height=height, width=width, layout=layout, random_start=random_start)
    layouts = draw(config, 40)
    flat = layouts.walls.flatten(1)
    assert (flat.sum(1) == config.wall_count).all()
    assert all(nx.is_connected(graph_of(walls)) for walls in layouts.walls[:10].numpy())
    assert not flat.gather(1, torch.stack([layouts.start, layouts.goal], 1)).any()
    assert (layouts.start != layouts.goal).all()
    assert random_start or (layouts.start == 0).all()
    assert len({walls.numpy().tobytes() for walls in layouts.walls}) > (30 if height > 5 else 2)


def test_the_free_cells_of_a_maze_form_a_tree():
    for walls in draw(GridWorldConfig(height=15, width=21, layout="maze"), 50).walls.numpy():
        assert nx.is_tree(graph_of(walls))


def test_starts_and_goals_of_a_maze_are_uniform_over_its_free_cells():
    layouts = draw(GridWorldConfig(height=3, width=3, layout="maze"), 7000)
    for cells in (layouts.start, layouts.goal):
        counts = torch.bincount(cells, minlength=9)
        assert counts[4] == 0  # the centre of the lattice is always wall
        assert (counts[[0, 2, 6, 8]] - 1000).abs().max() < 150
        assert (counts[[1, 3, 5, 7]] - 750).abs().max() < 150


@pytest.mark.parametrize("layout", ["random", *FAMILIES])
@pytest.mark.parametrize("min_size", [None, 7])
def test_a_grid_is_the_same_alone_and_in_any_batch_and_belongs_to_one_split(layout, min_size):
    config = GridWorldConfig(height=11, width=13, layout=layout, min_size=min_size)
    assert splits_are_disjoint(config)
    seen: dict[bytes, str] = {}
    for split in ("train", "validation", "test"):
        together = draw(config, 200, split)
        alone = draw_layouts(config, torch.zeros(1, dtype=torch.int64), torch.tensor([17]), split)
        assert all(torch.equal(one[17], other[0]) for one, other in zip(together, alone, strict=True))
        for walls, goal in zip(together.walls, together.goal, strict=True):
            key = walls.numpy().tobytes() + bytes([int(goal)])
            assert seen.setdefault(key, split) == split


def test_grids_of_several_sizes_are_those_of_each_size_alone_with_walls_around():
    config = GridWorldConfig(height=10, width=16, wall_density=0.3, min_size=6)
    assert config.sizes[0] == (6, 6)
    assert config.sizes[-1] == (10, 16)
    layouts = draw(config, 400, "train")
    assert (shortest_moves(*layouts) != UNREACHABLE).all()
    left = set(range(400))
    for height, width in config.sizes:
        alone = draw(config.of_size(height, width), 400, "train")
        for i in sorted(left):
            if torch.equal(layouts.walls[i, :height, :width], alone.walls[i]):
                assert int((~layouts.walls[i]).sum()) == int((~alone.walls[i]).sum())
                row, column = divmod(int(layouts.goal[i]), 16)
                assert (row, column) == divmod(int(alone.goal[i]), width)
                left.remove(i)
    assert not left


def test_all_sizes_come_equally_often():
    layouts = draw(GridWorldConfig(height=12, width=12, num_walls=0, min_size=8), 2000)
    counts = torch.bincount((~layouts.walls).any(2).sum(1), minlength=13)
    assert counts[:8].sum() == 0
    assert (counts[8:] - 400).abs().max() < 90


def test_max_size_leaves_the_larger_ones_out():
    config = GridWorldConfig(height=12, width=12, num_walls=0, min_size=5, max_size=7)
    assert config.sizes == ((5, 5), (6, 6), (7, 7))
    layouts = draw(config, 50)
    assert layouts.walls.shape[1:] == (12, 12)
    assert layouts.walls[:, 7:].all()


def test_old_descriptions_without_a_layout_still_load():
    old = GridWorldConfig(height=8).to_dict()
    del old["layout"], old["min_size"], old["max_size"]
    assert env_config_from_dict(old) == GridWorldConfig(height=8)


def test_names_of_files_tell_families_and_sizes_apart():
    configs = [GridWorldConfig(), GridWorldConfig(layout="maze"), GridWorldConfig(layout="rooms")]
    configs += [replace(config, min_size=6) for config in configs]
    assert len({config.name for config in configs}) == 6
