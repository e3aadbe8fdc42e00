import torch

from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.evaluation.value_maps import value_maps
from iqlightning.gridworld.evaluation.visitation import visitation
from iqlightning.gridworld.game.layouts import Layouts, draw_layouts
from iqlightning.gridworld.game.observation import parse
from iqlightning.gridworld.game.planning import optimal_values
from iqlightning.losses.values import SoftValue


class Exact:
    """Q* of the game itself, or its negative."""

    gamma = 0.9

    def __init__(self, sign=1.0, temperature=0.01):
        self.sign = sign
        self.value = SoftValue(temperature)

    def q_values(self, observations):
        walls, player, goal = parse(observations)
        q, _ = optimal_values(walls, goal, self.gamma, 0.0)
        return self.sign * q[torch.arange(len(player)), player].nan_to_num().float()


def test_a_corridor_by_hand():
    # three cells and the goal: with gamma 0.5 the cell before the goal is seen 1 + 1/2 + 1/4 times as often as started
    layouts = Layouts(torch.zeros(1, 1, 4, dtype=torch.bool), torch.tensor([0]), torch.tensor([3]))
    policy = Exact()
    policy.gamma = 0.5
    found = visitation(value_maps(policy, layouts))
    expected = torch.tensor([1.0, 1.5, 1.75], dtype=torch.float64)
    torch.testing.assert_close(found.expert[0, 0, :3], expected / expected.sum())
    assert found.expert[0, 0, 3].isnan()
    torch.testing.assert_close(found.greedy, found.expert, equal_nan=True)
    assert float(found.greedy_distance) < 1e-12


def test_the_soft_optimum_goes_where_the_expert_goes_and_its_opposite_does_not():
    config = GridWorldConfig(height=5, width=6, num_walls=4)
    layouts = draw_layouts(config, torch.zeros(4, dtype=torch.int64), torch.arange(4))
    near = visitation(value_maps(Exact(), layouts))
    far = visitation(value_maps(Exact(sign=-1.0), layouts))
    assert float(near.drawn_distance.max()) < 1e-3
    assert float(far.drawn_distance.min()) > 0.3
    assert bool((near.greedy_distance <= far.greedy_distance).all())
    for maps in (near, far):
        for values in (maps.expert, maps.greedy, maps.drawn):
            torch.testing.assert_close(values.nansum((1, 2)), torch.ones(4, dtype=torch.float64))
            assert bool((values.isnan() | (values >= 0)).all())
            assert bool(values.isnan()[layouts.walls].all())
