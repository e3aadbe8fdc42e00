import pytest
import torch

from iqlightning.errors import UserError
from iqlightning.nets.encoders import MLP
from iqlightning.nets.encoders.encoder import Encoder
from iqlightning.nets.recipe import Recipe, build


def test_a_recipe_holds_plain_data_and_builds_the_same_architecture():
    encoder = MLP((3, 4), hidden=(7, 5))
    expected = {"observation_shape": [3, 4], "hidden": [7, 5], "activation": "ReLU", "scale": None}
    assert encoder.recipe["init_args"] == expected
    again = build(encoder.recipe, Encoder)
    assert [p.shape for p in again.parameters()] == [p.shape for p in encoder.parameters()]


@pytest.mark.parametrize("path", ["os.system", "subprocess.Popen", "iqlightning.nets.nothing.X", "json.JSONDecoder"])
def test_a_recipe_cannot_name_foreign_code(path: str):
    with pytest.raises(UserError):
        build(Recipe(class_path=path, init_args={}), Encoder)


def test_arguments_that_do_not_fit_are_named():
    recipe = Recipe(class_path="iqlightning.nets.encoders.mlp.MLP", init_args={"observation_shape": [4], "depth": 3})
    with pytest.raises(UserError, match="depth"):
        build(recipe, Encoder)


def former_recipe(**arguments) -> Recipe:
    path = "iqlightning.nets.encoders.torchvision_backbone.TorchvisionBackbone"
    settings = {"name": "shufflenet_v2_x0_5", "cell_pixels": 3, "weights": None, **arguments}
    return Recipe(class_path=path, init_args={"observation_shape": [3, 4, 5], **settings})


def test_a_backbone_that_was_stored_when_it_drew_grids_itself_draws_them_as_it_did():
    encoder = build(former_recipe(rendered=True), Encoder)
    assert type(encoder).__name__ == "RenderedBackbone"
    planes = torch.zeros(1, 3, 4, 5)
    planes[0, 0, 0, 0] = planes[0, 1, 3, 4] = planes[0, 2, 3, 4] = planes[0, 2, 1, 1] = 1
    picture = encoder.render(planes)[0]
    assert picture.shape == (3, 12, 15)
    for (row, column), colour in {
        (0, 0): (0.22, 0.24, 0.28),
        (0, 3): (0.95, 0.95, 0.93),
        (11, 14): (0.85, 0.20, 0.20),
        (4, 4): (0.96, 0.80, 0.20),
    }.items():
        torch.testing.assert_close(picture[:, row, column], torch.tensor(colour))
    assert {name.partition(".")[0] for name in encoder.state_dict()} == {"backbone"}
    again = build(encoder.recipe, Encoder)
    assert torch.equal(again.colours, encoder.colours)


def test_a_backbone_that_was_stored_for_pictures_is_one_still():
    encoder = build(former_recipe(rendered=False), Encoder)
    assert encoder.recipe["init_args"].keys() == {"observation_shape", "name", "weights", "channels"}
    assert {name.partition(".")[0] for name in encoder.state_dict()} == {"backbone"}
