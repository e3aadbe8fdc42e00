import pytest
import torch
from random_grids import random_observations

from iqlightning.errors import UserError
from iqlightning.gridworld.encoders import (
    CellAttention,
    CentredCNN,
    GridCNN,
    HierarchicalPlanner,
    LogPlanner,
    PlanningEncoder,
    RecurrentPlanner,
    ResidualCNN,
    ValueIterationNetwork,
)
from iqlightning.gridworld.encoders.four_directions import directed_kernel, scalar_kernel
from iqlightning.nets.q_network import QNetwork

ANY_SIZE = [
    CellAttention,
    GridCNN,
    HierarchicalPlanner,
    LogPlanner,
    RecurrentPlanner,
    ResidualCNN,
    ValueIterationNetwork,
]
#: Sizes of which a turn is known, and how close it comes.
TURNING = [
    (CellAttention, [(6, 6), (4, 10)], 1e-4),
    (GridCNN, [(2, 2), (6, 6), (4, 9)], 1.3e-6),
    (HierarchicalPlanner, [(6, 6), (4, 10)], 1e-4),
    (LogPlanner, [(3, 3), (6, 6), (4, 9)], 1.3e-6),
    (RecurrentPlanner, [(6, 6), (4, 10)], 1e-4),
    (ValueIterationNetwork, [(6, 6), (4, 10)], 1e-4),
]


@pytest.mark.parametrize("encoder", ANY_SIZE)
def test_one_set_of_weights_plays_any_size(encoder):
    torch.manual_seed(0)
    network = QNetwork((3, 6, 6), 4, 1.0, encoder).eval()
    for height, width in ((2, 2), (6, 6), (5, 9), (16, 3)):
        q = network(random_observations(5, height, width))
        assert q.shape == (5, 4)
        assert q.isfinite().all()


@pytest.mark.parametrize(("encoder", "sizes", "rtol"), TURNING)
def test_rotating_or_mirroring_the_grid_does_the_same_to_the_q_values(encoder, sizes, rtol):
    for height, width in sizes:
        torch.manual_seed(0)
        network = QNetwork((3, height, width), 4, 1.0, encoder)
        seen = random_observations(16, height, width)
        q, turned, mirrored = (network(each) for each in (seen, torch.rot90(seen, 1, (2, 3)), seen.flip(3)))
        torch.testing.assert_close(turned[:, [3, 0, 1, 2]], q, atol=1e-5, rtol=rtol)  # counter-clockwise: up is left
        torch.testing.assert_close(mirrored[:, [0, 3, 2, 1]], q, atol=1e-5, rtol=rtol)


def test_an_action_is_read_from_the_cells_it_leads_from_and_to():
    class Numbered(PlanningEncoder):
        def __init__(self) -> None:
            super().__init__((3, 3, 4), channels=1, hidden=8)

        def plan(self, x: torch.Tensor) -> torch.Tensor:
            return 1 + torch.arange(12.0).view(1, 1, 3, 4).expand(len(x), -1, -1, -1)

    encoder = Numbered()
    with torch.no_grad():
        encoder.readout.weight.copy_(torch.eye(8))
        encoder.readout.bias.zero_()
    seen = random_observations(1, 3, 4)
    seen[:, 1] = 0
    seen[0, 1, 2, 3] = 1  # the bottom right corner, cell 11
    features = encoder(seen)[0]
    assert features[:, 0].tolist() == [12.0] * 4  # h of the player's cell
    assert features[:, 4].tolist() == [8.0, 0.0, 0.0, 11.0]  # h above, outside, outside, left
    assert features[:, 7].tolist() == [1.0, 0.0, 0.0, 1.0]  # inside


@pytest.mark.parametrize("symmetric", [False, True])
def test_value_iteration_carries_values_one_cell_an_iteration(symmetric):
    torch.manual_seed(0)
    network = ValueIterationNetwork((3, 1, 12), iterations=3, symmetric=symmetric)
    x = torch.zeros(2, 3, 1, 12)
    x[:, 2] = 1
    x[1, 1, 0, 0] = 1  # a goal at one end of the second grid
    with torch.no_grad():
        change = (network.plan(x)[1] - network.plan(x)[0]).abs().amax((0, 1))
    assert change[:6].max() > 0
    assert change[6:].max() == 0  # 3x3 for the features, 3x3 for the reward, one more cell for each iteration


def test_a_recurrent_planner_runs_longer_on_larger_grids():
    torch.manual_seed(0)
    network = RecurrentPlanner((3, 1, 12))
    few = RecurrentPlanner((3, 1, 12), iterations=4)
    few.load_state_dict(network.state_dict())
    x = torch.zeros(2, 3, 1, 12)
    x[:, 2] = 1
    x[1, 1, 0, 0] = 1  # a goal at one end of the second grid
    with torch.no_grad():
        near, far = ((each.plan(x)[1] - each.plan(x)[0]).abs().amax((0, 1)) for each in (few, network))
    assert near[:6].min() > 0
    assert near[6:].max() == 0  # 3x3 for what the grid says, one more cell for each iteration
    assert far.min() > 0


def test_kernels_of_the_four_directions_are_turned_versions_of_one():
    kernel = torch.zeros(1, 1, 3, 3)
    kernel[0, 0, 0, 1] = 1  # ahead
    up, right, down, left = directed_kernel(kernel)[:, 0]
    assert [each.nonzero().tolist() for each in (up, right, down, left)] == [[[0, 1]], [[1, 2]], [[2, 1]], [[1, 0]]]
    scalar = scalar_kernel(torch.arange(9.0).view(1, 1, 3, 3))[0, 0]
    assert torch.equal(scalar, torch.full((3, 3), 4.0))


def test_the_player_is_always_in_the_middle_of_the_window():
    encoder = CentredCNN((3, 4, 5))
    seen = random_observations(20, 4, 5)
    window = encoder.window(seen)
    assert window.shape == (20, 3, 7, 9)
    for i in range(20):
        row, column = divmod(int(seen[i, 1].flatten().argmax()), 5)
        assert torch.equal(window[i, 0, 3 - row : 7 - row, 4 - column : 9 - column], seen[i, 0])
        assert window[i, 2].sum() == 20
        assert window[i, 2, 3, 4] == 1


def test_a_centred_network_plays_smaller_grids_and_refuses_larger_ones_in_a_sentence():
    network = QNetwork((3, 6, 6), 4, 1.0, CentredCNN).eval()
    assert network(random_observations(3, 4, 6)).shape == (3, 4)
    with pytest.raises(UserError, match="up to 6x6"):
        network(random_observations(3, 7, 6))


@pytest.mark.parametrize("encoder", [*ANY_SIZE, CentredCNN])
def test_other_observations_are_refused_in_a_sentence(encoder):
    with pytest.raises(UserError, match="walls, player and goal"):
        encoder((4,))
