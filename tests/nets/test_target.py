"""Target networks against the equation, by hand."""

import pytest
import torch
from torch import nn

from iqlightning.errors import UserError
from iqlightning.nets.target import TargetUpdate


def pair(update: TargetUpdate) -> tuple[nn.BatchNorm1d, nn.BatchNorm1d]:
    """A network of one weight, 4, and its target at 0."""
    network = nn.BatchNorm1d(1)
    target = update.copy(network)
    assert isinstance(target, nn.BatchNorm1d)
    with torch.no_grad():
        network.weight.fill_(4.0)
        target.weight.fill_(0.0)
    return network, target


def test_the_target_moves_a_share_of_the_way():
    update = TargetUpdate(rate=0.25)
    network, target = pair(update)
    update(target, network, 1)
    assert target.weight.item() == 1.0
    update(target, network, 2)
    assert target.weight.item() == 1.75
    assert network.weight.item() == 4.0


def test_a_hard_update_copies_every_so_often():
    update = TargetUpdate(every=3, rate=1.0)
    network, target = pair(update)
    seen = []
    for number in range(1, 7):
        with torch.no_grad():
            network.weight.fill_(float(number))
        update(target, network, number)
        seen.append(target.weight.item())
    assert seen == [0, 0, 3, 3, 3, 6]


def test_buffers_are_copied_whole():
    update = TargetUpdate(rate=0.5)
    network, target = pair(update)
    network(torch.tensor([[2.0], [4.0]]))
    update(target, network, 1)
    assert target.running_mean is not None
    assert network.running_mean is not None
    assert torch.equal(target.running_mean, network.running_mean)
    assert target.num_batches_tracked == 1


def test_a_target_is_not_trained():
    update = TargetUpdate()
    network, target = pair(update)
    assert all(not each.requires_grad for each in target.parameters())
    assert all(each.requires_grad for each in network.parameters())


@pytest.mark.parametrize("options", [{"every": 0}, {"rate": 0.0}, {"rate": 1.5}])
def test_impossible_updates_are_refused(options):
    with pytest.raises(UserError, match="every >= 1 and 0 < rate <= 1"):
        TargetUpdate(**options)
