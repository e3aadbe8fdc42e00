"""The rules and the palette as a module of JavaScript, so that the page has none of its own."""

import json

from iqlightning.gridworld.game import palette
from iqlightning.gridworld.game.rules import ACTIONS, GOAL_REWARD, MOVE_REWARD, STEPS

__all__ = ["definitions"]


def definitions() -> str:
    """What ``/definitions.js`` says.

    ``ACTIONS``, their names by number; ``STEPS``, what each adds to (x, y), y downwards; ``GOAL_REWARD`` and
    ``MOVE_REWARD``; ``CELLS`` and ``DARK_CELLS``,
    colours by what a cell is; ``VALUE_SCALE`` and ``REWARD_SCALE``; ``INK``.
    """
    cells = {"floor": palette.FLOOR, "line": palette.EDGE, "wall": palette.WALL, "cut": palette.CUT_OFF}
    marks = {"player": palette.PLAYER, "goal": palette.GOAL, "edge": palette.GOAL_EDGE}
    constants = {
        "ACTIONS": ACTIONS,
        "STEPS": [(right, down) for down, right in STEPS],
        "GOAL_REWARD": GOAL_REWARD,
        "MOVE_REWARD": MOVE_REWARD,
        "CELLS": cells | marks,
        "DARK_CELLS": dict(zip(cells, palette.DARK_CELLS, strict=True)) | marks,
        "VALUE_SCALE": palette.VALUE_SCALE,
        "REWARD_SCALE": palette.REWARD_SCALE,
        "INK": palette.INK,
    }
    return "".join(f"export const {name} = {json.dumps(value)};\n" for name, value in constants.items())
