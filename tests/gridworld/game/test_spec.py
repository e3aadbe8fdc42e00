import pytest

from iqlightning import GridWorldConfig, GymnasiumConfig, UserError, env_config_from_dict
from iqlightning.gridworld.config import LEVELS


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"level": "statik"}, ["statik", "did you mean 'static'", "random_everything"]),
        ({"height": 1, "width": 1}, ["height", "between 2 and 64", "1"]),
        ({"width": 65}, ["width", "65"]),
        ({"num_walls": 99}, ["99 walls", "10x10", "0 to 98"]),
        ({"num_walls": -1}, ["-1"]),
        ({"level": "static", "num_walls": 82}, ["82 walls", "static", "0 to 81"]),
        ({"level": "random_walls", "random_start": False, "num_walls": 82}, ["0 to 81"]),
        ({"num_walls": 3, "wall_density": 0.1}, ["num_walls", "wall_density", "give one"]),
        ({"wall_density": 1.5}, ["wall_density", "1.5"]),
        ({"wall_density": 0.99}, ["99 walls"]),
        ({"max_moves": 0}, ["max_moves", "0"]),
        ({"layout": "labyrinth"}, ["valid"]),
        ({"layout": "maze", "num_walls": 3}, ["given by the size"]),
        ({"layout": "rooms", "wall_density": 0.1}, ["given by the size"]),
        ({"layout": "maze", "level": "static"}, ["random_everything"]),
        ({"layout": "maze", "height": 2}, ["at least 3"]),
        ({"layout": "rooms", "width": 4}, ["at least 5"]),
        ({"min_size": 11}, ["2 to 10"]),
        ({"min_size": 1}, ["2 to 10"]),
        ({"max_size": 5}, ["give min_size"]),
        ({"min_size": 5, "max_size": 4}, ["from min_size 5 to 10"]),
        ({"min_size": 2, "num_walls": 5}, ["do not fit"]),
        ({"min_size": 4, "layout": "rooms"}, ["at least 5"]),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(options, words):
    with pytest.raises(UserError) as error:
        GridWorldConfig(**options)
    message = str(error.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


def test_defaults_are_the_study():
    config = GridWorldConfig()
    assert (config.wall_count, config.move_limit, config.random_start) == (5, 100, True)
    assert config.observation_shape == (3, 10, 10)
    assert config.name == "gridworld-random_everything-10x10-w5"


def test_walls_by_number_and_by_density():
    assert GridWorldConfig(wall_density=0.3).wall_count == 30
    assert GridWorldConfig(num_walls=0).wall_count == 0
    assert GridWorldConfig(height=2, width=2).wall_count == 2  # five do not fit


def test_names_tell_configurations_apart():
    assert GridWorldConfig(random_start=False, max_moves=50).name == "gridworld-random_everything-10x10-w5-corner-m50"


def test_levels_and_their_settings():
    for level, flags in LEVELS.items():
        assert GridWorldConfig.level_of(*flags) == level
        config = GridWorldConfig(level)
        assert (config.random_walls, config.random_goal) == flags


@pytest.mark.parametrize(
    "config",
    [
        GridWorldConfig("static", 4, 7, wall_density=0.2, max_moves=9),
        GymnasiumConfig("CartPole-v1", {"sutton_barto_reward": True}),
    ],
)
def test_a_configuration_comes_back_from_a_dictionary(config):
    assert env_config_from_dict(config.to_dict()) == config
    assert hash(env_config_from_dict(config.to_dict())) == hash(config)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"kind": "GridWord"}, ["GridWord", "GridWorldConfig"]),
        ({}, ["None", "GridWorldConfig", "GymnasiumConfig"]),
        ({"kind": "GridWorldConfig", "depth": 3}, ["GridWorldConfig", "depth"]),
        ({"kind": "GridWorldConfig", "height": "ten"}, ["GridWorldConfig"]),
        ({"kind": "GymnasiumConfig"}, ["GymnasiumConfig", "id"]),
        (["static"], ["dictionary"]),
    ],
)
def test_a_dictionary_that_describes_no_environment_is_refused(values, words):
    with pytest.raises(UserError) as error:
        env_config_from_dict(values)
    assert all(word in str(error.value) for word in words), str(error.value)
