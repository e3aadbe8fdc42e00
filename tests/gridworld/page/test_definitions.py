import json

from iqlightning.gridworld.game import palette
from iqlightning.gridworld.page.definitions import definitions


def test_the_page_has_the_rules_and_colours_of_the_package():
    constants = {}
    for line in definitions().splitlines():
        name, value = line.removeprefix("export const ").removesuffix(";").split(" = ")
        constants[name] = json.loads(value)
    assert constants["ACTIONS"] == ["up", "right", "down", "left"]
    assert constants["STEPS"] == [[0, -1], [1, 0], [0, 1], [-1, 0]]  # (x, y), y downwards
    assert constants["CELLS"]["goal"] == constants["DARK_CELLS"]["goal"] == palette.GOAL
    assert (
        constants["CELLS"].keys()
        == constants["DARK_CELLS"].keys()
        == {"floor", "line", "wall", "cut", "player", "goal", "edge"}
    )
