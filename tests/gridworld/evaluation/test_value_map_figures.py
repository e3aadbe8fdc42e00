import numpy as np
import pytest
import torch
from torch import Tensor

from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.evaluation.figures import value_map_card, value_map_panel
from iqlightning.gridworld.evaluation.value_maps import ValueMaps, value_maps
from iqlightning.gridworld.game.layouts import draw_layouts
from iqlightning.gridworld.game.palette import FLOOR, GOAL, PLAYER, WALL, rgb
from iqlightning.losses.values import SoftValue


class Noise:
    gamma = 0.9
    value = SoftValue(0.1)

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def q_values(self, observations: Tensor) -> Tensor:
        return self.scale * torch.randn(len(observations), 4, generator=torch.Generator().manual_seed(0))


def _maps(height: int, width: int, grids: int, scale: float = 1.0) -> ValueMaps:
    config = GridWorldConfig(height=height, width=width)
    layouts = draw_layouts(config, torch.zeros(grids, dtype=torch.int64), torch.arange(grids))
    return value_maps(Noise(scale), layouts)


@pytest.mark.parametrize(("height", "width", "grids"), [(2, 2, 1), (10, 10, 3), (3, 20, 2), (30, 8, 1)])
def test_every_size_gives_an_rgb_picture_in_the_colours_of_the_study(height: int, width: int, grids: int) -> None:
    panel = value_map_panel(_maps(height, width, grids), "a title", dpi=50)
    assert panel.dtype == np.uint8
    assert panel.shape[2] == 3
    assert panel.flags.c_contiguous
    assert panel.shape[1] > 600
    colours = {tuple(colour) for colour in panel.reshape(-1, 3).tolist()}
    assert {rgb(FLOOR), rgb(WALL), rgb(PLAYER), rgb(GOAL)} <= colours


def test_a_row_is_added_for_every_grid() -> None:
    one, three = (value_map_panel(_maps(6, 6, grids), dpi=40) for grids in (1, 3))
    assert three.shape[1] == one.shape[1]
    assert three.shape[0] > 2 * one.shape[0]


def test_a_constant_q_function_can_be_drawn() -> None:
    flat = value_map_panel(_maps(5, 5, 1, scale=0.0), dpi=40)
    assert not np.array_equal(flat, value_map_panel(_maps(5, 5, 1), dpi=40))


def test_equal_maps_give_equal_pictures() -> None:
    assert np.array_equal(value_map_panel(_maps(7, 7, 2), dpi=40), value_map_panel(_maps(7, 7, 2), dpi=40))


@pytest.mark.parametrize(("height", "width"), [(2, 2), (10, 10), (3, 20), (30, 8)])
def test_the_small_card_has_one_width_and_shows_the_first_grid(height: int, width: int) -> None:
    maps = _maps(height, width, 2)
    card = value_map_card(maps, "a title")
    assert card.shape[1] == 650
    assert np.array_equal(card, value_map_card(_maps(height, width, 2), "a title"))
    colours = {tuple(colour) for colour in card.reshape(-1, 3).tolist()}
    assert {rgb(WALL), rgb(GOAL)} <= colours
    assert not np.array_equal(card, value_map_card(_maps(height, width, 2, scale=0.1), "a title"))
