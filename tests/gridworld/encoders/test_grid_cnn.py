import pytest
import torch
from random_grids import random_observations
from torch.nn import functional as F

from iqlightning.gridworld.encoders import GridCNN


def test_one_line_of_cells_computes_the_documented_equation():
    torch.manual_seed(0)
    encoder = GridCNN((3, 5, 7), channels=6, iterations=4, hidden=8)
    observations = random_observations(9, 5, 7)
    x = torch.cat([observations[:, ::2], torch.ones(9, 1, 5, 7)], dim=1)
    z = torch.einsum("ck,bkhw->bchw", encoder.stem.weight, x) + encoder.stem.bias[:, None, None]
    is_open = 1 - x[:, :1]
    h = F.relu(z) * is_open
    a, b = encoder.weight.split(6, dim=1)
    for _ in range(4):
        p = F.pad(h, (1, 1, 1, 1))
        neighbours = torch.stack([p[..., :-2, 1:-1], p[..., 2:, 1:-1], p[..., 1:-1, :-2], p[..., 1:-1, 2:]]).amax(0)
        h = is_open * F.relu(z + torch.einsum("cd,bdhw->bchw", a, neighbours) + torch.einsum("cd,bdhw->bchw", b, h))
    field = F.pad(torch.cat([h, x], dim=1), (1, 1, 1, 1))
    features = encoder(observations)
    for i in range(9):
        row, column = divmod(int(observations[i, 1].flatten().argmax()), 7)
        own = field[i, :, row + 1, column + 1]
        for action, (dr, dc) in enumerate([(-1, 0), (0, 1), (1, 0), (0, -1)]):
            there = field[i, :, row + 1 + dr, column + 1 + dc]
            expected = F.relu(encoder.readout(torch.cat([own, there])))
            torch.testing.assert_close(features[i, action], expected, atol=1e-5, rtol=1e-5)


def test_more_grids_than_fit_in_one_part_change_nothing():
    torch.manual_seed(0)
    encoder = GridCNN((3, 10, 10), channels=4, iterations=3, hidden=4)
    observations = random_observations(400, 10, 10)  # parts are of 135 grids
    whole = encoder(observations)
    torch.testing.assert_close(whole, torch.cat([encoder(part) for part in observations.split(50)]))


def test_noise_on_the_observation_does_not_open_walls():
    torch.manual_seed(0)
    encoder = GridCNN((3, 6, 6))
    observations = random_observations(20, 6, 6)
    noisy = observations + 0.01 * torch.randn(observations.shape)
    torch.testing.assert_close(encoder(noisy), encoder(observations), atol=0.2, rtol=0.2)


def test_a_grid_is_computed_once_until_the_weights_change(monkeypatch):
    torch.manual_seed(0)
    network = GridCNN((3, 4, 4)).eval()
    computed = []
    monkeypatch.setattr(
        network,
        "_propagate",
        lambda grids, count: computed.append(len(grids)) or GridCNN._propagate(network, grids, count),
    )
    observations = random_observations(5, 4, 4).repeat_interleave(3, dim=0)
    one_by_one = torch.cat([network(observation[None]) for observation in observations])
    with torch.no_grad():
        assert torch.equal(network(observations), one_by_one)
        network(observations[7:])
        assert computed == [1] * 15 + [5]
        network.weight.mul_(2)
        assert not torch.equal(network(observations), one_by_one)
        assert computed[-1] == 5


def test_a_gradient_penalty_on_observations_has_a_gradient():
    torch.manual_seed(0)
    network = GridCNN((3, 6, 6), iterations=4).double()
    observations = random_observations(8, 6, 6).double()

    def penalty() -> torch.Tensor:
        points = observations.clone().requires_grad_()
        (slope,) = torch.autograd.grad(network(points).square().sum(), points, create_graph=True)
        return slope.square().sum()

    network.zero_grad()
    penalty().backward()
    weight = network.weight
    assert weight.grad is not None
    step = 1e-6 * torch.randn_like(weight)
    with torch.no_grad():
        weight.add_(step)
    higher = penalty().item()
    with torch.no_grad():
        weight.sub_(2 * step)
    assert higher - penalty().item() == pytest.approx(2 * (weight.grad * step).sum().item(), rel=1e-4)


@pytest.mark.parametrize("iterations", [1, 7, 20])
def test_iterations_in_one_are_the_iterations_one_by_one(iterations):
    torch.manual_seed(0)
    network = GridCNN((3, 10, 10), iterations=iterations).double()
    observations = random_observations(30, 10, 10).double()
    found = []
    for asked in (False, True):  # only where observations ask for a gradient are iterations made one by one
        network.zero_grad()
        features = network(observations.clone().requires_grad_(asked))
        features.mul(torch.linspace(-1, 1, features.numel(), dtype=features.dtype).view_as(features)).sum().backward()
        found.append((features.detach(), [each.grad.clone() for each in network.parameters()]))
    (features, gradients), (same_features, same_gradients) = found
    # not equal to the last bit: some processors' products depend on where a matrix lies in memory
    torch.testing.assert_close(features, same_features, rtol=1e-12, atol=1e-14)
    for gradient, same in zip(gradients, same_gradients, strict=True):
        torch.testing.assert_close(gradient, same, rtol=1e-10, atol=1e-12)


def test_without_gradients_the_same_features_come_out():
    network = GridCNN((3, 8, 8)).double()
    observations = random_observations(30, 8, 8).double()
    with torch.no_grad():
        features = network(observations)
    assert torch.equal(features, network(observations).detach())
