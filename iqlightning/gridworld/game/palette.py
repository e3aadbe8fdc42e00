"""The colours of everything that shows a grid: pictures, figures, the page, and encoders that see pictures.

Cells are in the study's colours: red player, yellow goal, dark walls on a light floor.
"""

__all__ = [
    "CUT_OFF",
    "DARK_CELLS",
    "EDGE",
    "FAINT",
    "FLOOR",
    "GOAL",
    "GOAL_EDGE",
    "INK",
    "LINE",
    "PLAYER",
    "REWARD_SCALE",
    "VALUE_SCALE",
    "VISIT_SCALE",
    "WALL",
    "rgb",
]

FLOOR, LINE, WALL = "#f2f0eb", "#d6d3cc", "#343a40"
PLAYER, GOAL = "#d62d2d", "#ffcd28"

#: Of the goal, and between cells, where they have to stand out from the floor at 3 to 1 or more.
GOAL_EDGE, EDGE = "#6b5200", "#87827a"

#: Free cells from which the goal cannot be reached.
CUT_OFF = "#c4c4c4"

#: Floor, edges, wall and cells that are cut off, where all around is dark: a wall stands out from that as well.
DARK_CELLS = ("#d3d0c9", "#716d67", "#5e656d", "#a3a3a3")

#: Writing, and writing that matters less.
INK, FAINT = "#22262a", "#6b7076"

#: From low to high: values, rewards of both signs, how often a cell is visited.
VALUE_SCALE = ("#4440a8", "#2a7fb8", "#58c4b0", "#d9f0a3")
REWARD_SCALE = ("#8c510a", "#f6f3ee", "#01665e")
VISIT_SCALE = ("#fff6e5", "#fdae61", "#d63c4e", "#5e1054")


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue
