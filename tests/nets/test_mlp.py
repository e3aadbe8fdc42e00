import pytest
import torch

from iqlightning.errors import UserError
from iqlightning.nets.encoders import MLP
from iqlightning.nets.q_network import QNetwork
from iqlightning.nets.recipe import build


def test_observations_are_divided_by_the_scale():
    torch.manual_seed(0)
    scaled = MLP((2, 2), hidden=(5,), scale=(2.0, 0.5, 1.0, 4.0))
    torch.manual_seed(0)
    plain = MLP((2, 2), hidden=(5,))
    observations = torch.tensor([[[2.0, 1.0], [-3.0, 8.0]]])
    assert torch.equal(scaled(observations), plain(torch.tensor([[[1.0, 2.0], [-3.0, 2.0]]])))


def test_the_scale_comes_back_with_the_recipe_and_is_no_weight():
    torch.manual_seed(0)
    network = QNetwork((4,), 2, 1.0, lambda shape: MLP(shape, hidden=(5,), scale=(2.0, 0.5, 1.0, 4.0)))
    assert not any("scale" in name for name in network.state_dict())
    again = QNetwork.from_recipe(network.recipe)
    again.load_state_dict(network.state_dict())
    observations = torch.randn(6, 4)
    assert torch.equal(again(observations), network(observations))
    encoder = MLP((4,), scale=(2.0, 0.5, 1.0, 4.0))
    assert torch.equal(build(encoder.recipe, MLP).scale, encoder.scale)


@pytest.mark.parametrize(
    ("scale", "said"),
    [((1.0, 2.0, 3.0), "each of the 4 .* not 3"), ((1.0, 0.0, 1.0, 1.0), "not 0"), ((1.0, -1.0, 1.0, 1.0), "not -1")],
)
def test_a_scale_that_does_not_fit_is_refused(scale: tuple[float, ...], said: str):
    with pytest.raises(UserError, match=said):
        MLP((4,), scale=scale)
