"""What every encoder promises, run on every one found in the package."""

import pytest
import torch
from families import members
from random_grids import random_observations

from iqlightning.errors import UserError
from iqlightning.gridworld import encoders as grid_encoders
from iqlightning.nets import encoders
from iqlightning.nets.encoders.encoder import Encoder
from iqlightning.nets.heads import DuelingHead, PlainHead
from iqlightning.nets.q_network import QNetwork

SHAPE = (3, 6, 5)
FOUND = members(Encoder, encoders, grid_encoders)


def shape_of(encoder: type[Encoder]) -> tuple[int, int, int]:
    """An observation that it reads: most take a grid of any size."""
    return (3, 40, 37) if encoder is encoders.NatureCNN else SHAPE


def observations(encoder: type[Encoder]) -> torch.Tensor:
    shape = shape_of(encoder)
    if shape == SHAPE:
        return random_observations(12, *SHAPE[1:]).to(torch.uint8)
    return torch.randint(0, 2, (12, *shape), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def test_the_search_finds_the_encoders():
    assert {"MLP", "GridCNN", "TorchvisionBackbone", "RenderedBackbone"} <= {c.__name__ for c in FOUND}


@pytest.mark.parametrize("head", [PlainHead, DuelingHead])
@pytest.mark.parametrize("encoder", FOUND)
def test_q_values_have_one_column_an_action_and_gradients_reach_every_weight(encoder, head):
    torch.manual_seed(0)
    network = QNetwork(shape_of(encoder), 4, 1.0, encoder, head)
    q = network(observations(encoder))
    assert q.shape == (12, 4)
    assert q.isfinite().all()
    (q * torch.randn(12, 4, generator=torch.Generator().manual_seed(1))).sum().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # A ReLU network may have single dead units, never a whole tensor without gradient.
    assert not idle


@pytest.mark.parametrize("encoder", FOUND)
def test_a_saved_network_is_rebuilt_from_its_recipe_with_equal_outputs(encoder, tmp_path):
    torch.manual_seed(0)
    network = QNetwork(shape_of(encoder), 4, 1.0, encoder).eval()
    torch.save({"recipe": network.recipe, "weights": network.state_dict()}, tmp_path / "network.pt")
    stored = torch.load(tmp_path / "network.pt", weights_only=True)
    again = QNetwork.from_recipe(stored["recipe"]).eval()
    again.load_state_dict(stored["weights"])
    assert torch.equal(again(observations(encoder)), network(observations(encoder)))


@pytest.mark.parametrize("encoder", FOUND)
def test_dtype_of_observations_does_not_matter_and_a_batch_equals_its_parts(encoder):
    torch.manual_seed(0)
    network = QNetwork(shape_of(encoder), 4, 1.0, encoder).eval()
    whole = network(observations(encoder))
    torch.testing.assert_close(network(observations(encoder).double()), whole)
    torch.testing.assert_close(
        torch.cat([network(part) for part in observations(encoder).split(5)]), whole, atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("encoder", FOUND)
def test_an_encoder_of_each_action_is_refused_where_there_is_another_number_of_them(encoder):
    if len(encoder(shape_of(encoder)).feature_shape) == 1:
        assert QNetwork(shape_of(encoder), 2, 1.0, encoder)(observations(encoder)).shape == (12, 2)
        return
    with pytest.raises(
        UserError, match=f"{encoder.__name__} has features for each of 4 actions, .* has 2; take MLP, SmallCNN"
    ):
        QNetwork(shape_of(encoder), 2, 1.0, encoder)
