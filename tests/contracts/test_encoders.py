"""What every encoder promises, run on every one found in the package."""

import importlib
import inspect
import pkgutil

import pytest
import torch

from iqlightning.errors import UserError
from iqlightning.gridworld import encoders as grid_encoders
from iqlightning.nets import encoders
from iqlightning.nets.encoders.encoder import Encoder
from iqlightning.nets.heads import DuelingHead, PlainHead
from iqlightning.nets.q_network import QNetwork

SHAPE = (3, 6, 5)


def found() -> list[type[Encoder]]:
    modules = [
        importlib.import_module(f"{package.__name__}.{m.name}")
        for package in (encoders, grid_encoders)
        for m in pkgutil.iter_modules(package.__path__)
    ]
    classes = {c for m in modules for _, c in inspect.getmembers(m, inspect.isclass) if issubclass(c, Encoder)}
    return sorted((c for c in classes if not inspect.isabstract(c)), key=lambda c: c.__name__)


def observations(batch: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    planes = torch.zeros(batch, 3, 30, dtype=torch.uint8)
    planes[:, 0] = (torch.rand(batch, 30, generator=generator) < 0.2).to(torch.uint8)
    rows = torch.arange(batch)
    planes[rows, 1, torch.randint(30, (batch,), generator=generator)] = 1
    planes[rows, 2, torch.randint(30, (batch,), generator=generator)] = 1
    return planes.view(batch, *SHAPE)


def test_the_search_finds_the_encoders():
    assert {"MLP", "GridCNN", "TorchvisionBackbone", "RenderedBackbone"} <= {c.__name__ for c in found()}


@pytest.mark.parametrize("head", [PlainHead, DuelingHead])
@pytest.mark.parametrize("encoder", found())
def test_q_values_have_one_column_an_action_and_gradients_reach_every_weight(encoder, head):
    torch.manual_seed(0)
    network = QNetwork(SHAPE, 4, 1.0, encoder, head)
    q = network(observations())
    assert q.shape == (12, 4)
    assert q.isfinite().all()
    (q * torch.randn(12, 4, generator=torch.Generator().manual_seed(1))).sum().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # A ReLU network may have single dead units, never a whole tensor without gradient.
    assert not idle


@pytest.mark.parametrize("encoder", found())
def test_a_saved_network_is_rebuilt_from_its_recipe_with_equal_outputs(encoder, tmp_path):
    torch.manual_seed(0)
    network = QNetwork(SHAPE, 4, 1.0, encoder).eval()
    torch.save({"recipe": network.recipe, "weights": network.state_dict()}, tmp_path / "network.pt")
    stored = torch.load(tmp_path / "network.pt", weights_only=True)
    again = QNetwork.from_recipe(stored["recipe"]).eval()
    again.load_state_dict(stored["weights"])
    assert torch.equal(again(observations()), network(observations()))


@pytest.mark.parametrize("encoder", found())
def test_dtype_of_observations_does_not_matter_and_a_batch_equals_its_parts(encoder):
    torch.manual_seed(0)
    network = QNetwork(SHAPE, 4, 1.0, encoder).eval()
    whole = network(observations())
    torch.testing.assert_close(network(observations().double()), whole)
    torch.testing.assert_close(
        torch.cat([network(part) for part in observations().split(5)]), whole, atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("encoder", found())
def test_an_encoder_of_each_action_is_refused_where_there_is_another_number_of_them(encoder):
    if len(encoder(SHAPE).feature_shape) == 1:
        assert QNetwork(SHAPE, 2, 1.0, encoder)(observations()).shape == (12, 2)
        return
    with pytest.raises(UserError, match=f"{encoder.__name__} has features for each of 4 actions, .* has 2; take MLP"):
        QNetwork(SHAPE, 2, 1.0, encoder)
