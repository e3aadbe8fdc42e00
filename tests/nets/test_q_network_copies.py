import pytest
import torch

from iqlightning.errors import UserError
from iqlightning.nets.encoders.mlp import MLP
from iqlightning.nets.q_network import QNetwork


def network(copies: int) -> QNetwork:
    torch.manual_seed(0)
    return QNetwork((3,), 2, 1.0, lambda shape: MLP(shape, hidden=[8]), copies=copies)


def test_the_smallest_of_the_copies_counts():
    twins, x = network(2), torch.randn(50, 3)
    each = twins.each(x)
    assert each.shape == (2, 50, 2)
    assert torch.equal(twins(x), each.amin(0))
    assert not torch.equal(each[0], each[1])


def test_one_copy_is_the_plain_network_with_the_same_first_weights():
    x = torch.randn(5, 3)
    assert torch.equal(network(1)(x), network(3).each(x)[0])
    assert torch.equal(network(1).each(x)[0], network(1)(x))


def test_the_recipe_builds_as_many_copies():
    twins, x = network(2), torch.randn(5, 3)
    again = QNetwork.from_recipe(twins.recipe)
    again.load_state_dict(twins.state_dict())
    assert torch.equal(again(x), twins(x))
    assert "copies" not in network(1).recipe


def test_no_copy_is_a_mistake():
    with pytest.raises(UserError, match="at least one copy"):
        network(0)
