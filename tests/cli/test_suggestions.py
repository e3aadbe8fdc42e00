import pytest

from iqlightning.cli.suggestions import by_another_name, suggestion
from iqlightning.errors import nearest, nearest_few


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("GridCMM", "GridCNN"),
        ("gridcnn", "GridCNN"),
        ("GRIDCNN", "GridCNN"),
        ("GirdCNN", "GridCNN"),  # exchanged neighbours are one slip
        ("GridCNNN", "GridCNN"),
        ("Chi2Mixtrue", "Chi2Mixture"),
        ("residual", "ResidualCNN"),
        ("Nothing", None),
        ("x", None),
    ],
)
def test_the_nearest_name_is_that_of_the_fewest_slips_whatever_the_capitals(given, meant):
    assert nearest(given, ["ResidualCNN", "CentredCNN", "GridCNN", "Chi2", "Chi2Mixture"]) == meant


def test_fewer_slips_come_before_a_longer_name_with_more_letters_in_common():
    assert nearest_few("Adma", ["Adamax", "Adam"]) == ["Adam", "Adamax"]
    assert nearest("ab", ["ba", "abcde"]) == "ba"


@pytest.mark.parametrize("name", ["lr", "learning-rate", "Learning_Rate", "learningRate", "model.lr"])
def test_a_common_name_is_answered_by_the_key_whatever_its_dashes(name):
    assert "--model.optimizer.lr" in str(by_another_name(name))


def test_the_same_word_elsewhere_is_suggested_before_what_only_looks_alike():
    choices = ["trainer.max_epochs", "trainer.max_steps", "trainer.min_steps"]
    assert "did you mean --trainer.max_steps?" in suggestion("max_steps", choices, "--")
    assert "did you mean --trainer.max_steps?" in suggestion("max-steps", choices, "--")


def test_where_nothing_is_near_few_choices_are_listed_and_many_are_left_to_the_help():
    assert suggestion("zzz", ["a", "b"], listed=True) == "; valid: a, b"
    assert suggestion("model.temprature", ["gamma", "encoder"]) == "; for temperature it is --model.value.temperature"
    assert "--model.agent.exploration_noise" in suggestion("exploration_nois", ["gamma", "encoder"])
    # these are no iterations misspelt
    assert suggestion("expectations", ["gamma", "encoder"]) == "; --help all lists them all"
    assert "--help all" in suggestion("zzz", [f"name{number}" for number in range(99)], listed=True)
