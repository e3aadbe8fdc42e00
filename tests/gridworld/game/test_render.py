import numpy as np
import pytest
import torch

from iqlightning.gridworld.game import palette
from iqlightning.gridworld.game.palette import rgb
from iqlightning.gridworld.game.render import render_ansi, render_rgb

FLOOR, WALL, PLAYER_COLOUR, GOAL_COLOUR = map(rgb, (palette.FLOOR, palette.WALL, palette.PLAYER, palette.GOAL))
WALLS = np.array([[0, 1, 0], [0, 0, 0]])


@pytest.mark.parametrize("pixels", [1, 3, 8, 32])
def test_every_cell_has_its_colour_in_the_middle(pixels):
    picture = render_rgb(WALLS, player=0, goal=5, cell_pixels=pixels)
    assert picture.shape == (2 * pixels, 3 * pixels, 3)
    assert picture.dtype == np.uint8
    middle = picture[pixels // 2 :: pixels, pixels // 2 :: pixels]
    expected = [[PLAYER_COLOUR, WALL, FLOOR], [FLOOR, FLOOR, GOAL_COLOUR]]
    assert (middle == np.array(expected)).all()


def test_player_and_goal_can_both_be_seen_where_they_meet():
    cell = render_rgb(WALLS, player=5, goal=5)[32:, 64:].reshape(-1, 3).tolist()
    assert list(PLAYER_COLOUR) in cell
    assert list(GOAL_COLOUR) in cell


def test_tensors_are_drawn_as_arrays_are():
    assert (render_rgb(torch.tensor(WALLS, dtype=torch.bool), 0, 5) == render_rgb(WALLS, 0, 5)).all()


def test_as_text():
    assert render_ansi(WALLS, player=0, goal=5) == "P#.\n..G\n"
    assert render_ansi(WALLS, player=5, goal=5) == ".#.\n..*\n"
