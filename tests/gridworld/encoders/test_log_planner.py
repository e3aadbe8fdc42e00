import copy
import pickle

import pytest
import torch

from iqlightning import GridWorldConfig
from iqlightning.gridworld.encoders.log_planner import LogPlanner, path_costs
from iqlightning.gridworld.encoders.plan_memory import PlanMemory, grid_keys
from iqlightning.gridworld.game.layouts import draw_layouts
from iqlightning.gridworld.game.observation import observe
from iqlightning.gridworld.game.planning import UNREACHABLE, shortest_paths
from iqlightning.nets.q_network import QNetwork


def observations(config: GridWorldConfig, count: int = 16) -> torch.Tensor:
    layouts = draw_layouts(config, torch.zeros(count, dtype=torch.int64), torch.arange(count))
    return observe(layouts.walls, layouts.start, layouts.goal)


@pytest.mark.parametrize(
    "config",
    [
        GridWorldConfig(height=9, width=14, wall_density=0.35),
        GridWorldConfig(height=31, width=31, layout="maze"),
        GridWorldConfig(height=2, width=2, num_walls=1),
    ],
)
def test_with_a_price_of_one_path_costs_are_shortest_paths(config):
    layouts = draw_layouts(config, torch.zeros(20, dtype=torch.int64), torch.arange(20))
    cost = torch.ones(20, 1, config.height, config.width).masked_fill(layouts.walls[:, None], 1e4)
    source = torch.zeros(20, config.num_cells, dtype=torch.bool).scatter_(1, layouts.goal[:, None], True)
    found = path_costs(cost, source.view(-1, config.height, config.width))[:, 0]
    expected = shortest_paths(layouts.walls, layouts.goal)
    reached = expected != UNREACHABLE
    assert torch.equal(found[reached], expected[reached].float())
    assert (found[~reached] == 1e4).all()


def test_no_way_longer_than_asked_for_is_found():
    cost, source = torch.ones(1, 1, 1, 9), torch.arange(9).view(1, 1, 9) == 0
    assert path_costs(cost, source, longest=3).flatten().tolist() == [0, 1, 2, 3, 1e4, 1e4, 1e4, 1e4, 1e4]


def test_gradient_of_path_costs():
    generator = torch.Generator().manual_seed(0)
    cost = 0.1 + torch.rand(2, 3, 5, 4, dtype=torch.float64, generator=generator)
    cost[:, :, 2, :3] = 1e4
    source = torch.zeros(2, 5, 4, dtype=torch.bool)
    source[0, 0, 0] = source[1, 4, 2] = True
    assert torch.autograd.gradcheck(lambda c: path_costs(c, source), cost.requires_grad_())


def test_equally_good_ways_share_the_gradient():
    cost = torch.ones(1, 1, 2, 2, requires_grad=True)
    source = torch.tensor([[[True, False], [False, False]]])
    path_costs(cost, source)[0, 0, 1, 1].backward()
    assert cost.grad is not None
    assert cost.grad[0, 0].tolist() == [[0.0, 0.5], [0.5, 1.0]]


def test_what_tells_moves_apart_is_the_same_at_every_distance():
    torch.manual_seed(0)
    network = QNetwork((3, 1, 64), 4, 1.0, LogPlanner)
    layout = torch.zeros(62, 3, 1, 64, dtype=torch.uint8)
    layout[:, 2, 0, 0] = 1
    layout[torch.arange(62), 1, 0, torch.arange(1, 63)] = 1
    encoder = network.encoder
    assert isinstance(encoder, LogPlanner)
    with torch.no_grad():
        encoder.readout.weight[:, :8] = 0  # leave out the values
        features = encoder(layout.float())
    torch.testing.assert_close(features[3:], features[3:4].expand(59, -1, -1), atol=2e-5, rtol=1e-4)


def test_a_smaller_grid_with_walls_around_has_the_same_q_values():
    torch.manual_seed(0)
    network = QNetwork((3, 9, 9), 4, 1.0, LogPlanner)
    with torch.no_grad():
        encoder = network.encoder
        assert isinstance(encoder, LogPlanner)
        encoder.readout.weight[:, -3:] = 0  # the kind of the cell ahead: outside is none, around is wall
    small = observations(GridWorldConfig(height=6, width=7))
    large = torch.zeros(16, 3, 9, 9, dtype=torch.uint8)
    large[:, 0] = 1
    large[:, :, :6, :7] = small
    torch.testing.assert_close(network(small), network(large))


def test_kept_plans_change_nothing_and_are_forgotten_with_the_weights():
    torch.manual_seed(0)
    network = QNetwork((3, 8, 8), 4, 1.0, LogPlanner).eval()
    seen = observations(GridWorldConfig(height=8, width=8))
    with torch.no_grad():
        first = network(seen)
        assert torch.equal(network(seen[3:7]), first[3:7])
        other = observations(GridWorldConfig(height=8, width=8, num_walls=9))
        torch.testing.assert_close(network(torch.cat([seen[:2], other]))[:2], first[:2])
        for parameter in network.parameters():
            parameter.add_(0.1)
        changed = network(seen)
    network.train()
    torch.testing.assert_close(network(seen), changed)
    assert not torch.allclose(changed, first)


def test_plans_are_made_once_for_grids_that_are_played_on():
    calls = []

    def plan(planes: torch.Tensor) -> torch.Tensor:
        calls.append(len(planes))
        return planes.flatten(1)

    memory, weight = PlanMemory(), torch.ones(1)
    planes = torch.arange(6.0).view(3, 1, 1, 2)[[0, 1, 1, 2]]
    with torch.no_grad():
        for part in (planes, planes[1:], planes[3:], planes.flip(0)):
            plans, which = memory.plans(part, [weight], plan, keep=True)
            assert torch.equal(plans[which], part.flatten(1))
        assert calls == [3]
        weight.add_(1)
        memory.plans(planes, [weight], plan, keep=True)
        memory.plans(planes, [weight], plan, keep=False)
    memory.plans(planes, [weight], plan, keep=True)
    assert calls == [3, 3, 3, 3]
    assert copy.deepcopy(memory).__dict__ == pickle.loads(pickle.dumps(memory)).__dict__ == PlanMemory().__dict__


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_keys_tell_grids_apart_and_do_not_depend_on_the_batch(dtype):
    generator = torch.Generator().manual_seed(0)
    planes = (torch.rand(20_000, 2, 3, 4, generator=generator) < 0.5).to(dtype)
    keys = grid_keys(planes)
    assert len(keys.unique()) == len(planes.unique(dim=0))
    assert len((keys & 0xFFFFFFFF).unique()) > 0.999 * len(planes.unique(dim=0))
    assert torch.equal(torch.cat([grid_keys(part) for part in planes[:100].split(7)]), keys[:100])
