import pytest

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
