"""Pictures of grids as small SVGs: cells coloured by value, arrows, paths with Q-values, and players that walk."""

import base64
import struct
import zlib
from collections.abc import Sequence
from html import escape

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = [
    "DIVERGING",
    "SEQUENTIAL",
    "VISITS",
    "Stops",
    "arrows",
    "cells",
    "colour_bar",
    "path_line",
    "q_marks",
    "tile",
    "walker",
]

Stops = tuple[tuple[int, int, int], ...]

#: The colours of the value map panel; visits go from the floor's colour to dark.
SEQUENTIAL: Stops = ((68, 64, 168), (42, 127, 184), (88, 196, 176), (217, 240, 163))
DIVERGING: Stops = ((140, 81, 10), (246, 243, 238), (1, 102, 94))
VISITS: Stops = ((255, 246, 229), (253, 174, 97), (214, 60, 78), (94, 16, 84))

# up, right, down, left as (x, y) with y downwards
_STEPS = ((0, -1), (1, 0), (0, 1), (-1, 0))


def tile(
    walls: Bool[Tensor, "height width"], goal: int, *layers: str, start: int | None = None, label: str = ""
) -> str:
    """One grid: floor, layers, walls, goal and, if given, the start.

    Args:
        walls: (H, W).
        goal: flat cell.
        layers: SVG in cell units, drawn above the floor and below the goal.
        start: flat cell of a disc in the player's colour.
        label: for screen readers.
    """
    height, width = walls.shape
    blocked = "".join(f"M{c} {r}h1v1h-1z" for r, c in walls.nonzero().tolist())
    rules = "".join(f"M{c} 0V{height}" for c in range(1, width)) + "".join(f"M0 {r}H{width}" for r in range(1, height))
    row, column = divmod(goal, width)
    player = "" if start is None else _disc(start, width)
    return (
        f'<svg class="grid" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">'
        f'<rect class="floor" width="{width}" height="{height}"/>{"".join(layers[:1])}'
        f'<path class="mesh" d="{rules}"/><path class="wall" d="{blocked}"/>'
        f'<rect class="goal" x="{column + 0.12}" y="{row + 0.12}" width="0.76" height="0.76" rx="0.12"/>'
        f"{''.join(layers[1:])}{player}</svg>"
    )


def cells(values: Float[Tensor, "height width"], low: float, high: float, stops: Stops) -> str:
    """Cells coloured by value from ``low`` to ``high``; nan lets the floor through."""
    array = values.double().numpy()
    colours = _colours(np.nan_to_num(array), low, high, stops)
    alpha = np.where(np.isfinite(array), 255, 0)[..., None]
    height, width = array.shape
    uri = _png(np.concatenate([colours, alpha], axis=2).astype(np.uint8))
    # a pixel a cell: the browser enlarges it without smoothing
    return f'<image class="cells" width="{width}" height="{height}" href="{uri}"/>'


def arrows(
    greedy: Int[Tensor, "height width"], good: Bool[Tensor, "height width"], shown: Bool[Tensor, "height width"]
) -> str:
    """The greedy move of every shown cell; moves on a shortest path in one colour, detours in another."""
    paths = {True: "", False: ""}
    for row, column in shown.nonzero().tolist():
        paths[bool(good[row, column])] += _arrow(row, column, int(greedy[row, column]))
    return f'<path class="arrow" d="{paths[True]}"/><path class="arrow detour" d="{paths[False]}"/>'


def path_line(path: Sequence[int], width: int, mistake: int | None = None) -> str:
    """The way through the cells, a ring around the cell of the first mistake."""
    points = " ".join(f"{cell % width + 0.5},{cell // width + 0.5}" for cell in path)
    ring = ""
    if mistake is not None:
        row, column = divmod(path[mistake], width)
        ring = f'<circle class="ring" cx="{column + 0.5}" cy="{row + 0.5}" r="0.43"/>'
    return f'<polyline class="path" points="{points}"/>{ring}'


def q_marks(path: Sequence[int], q: Float[Tensor, "visited 4"], width: int) -> str:
    """Four triangles in each visited cell, one a move, the better the lighter; the best one has an outline."""
    parts = []
    for cell, values in {cell: q[index] for index, cell in enumerate(path)}.items():
        row, column = divmod(cell, width)
        low, high = float(values.min()), float(values.max())
        colours = _colours(values.double().numpy()[None], low, high, SEQUENTIAL)[0]
        best = int(values.argmax())
        corners = ((column, row), (column + 1, row), (column + 1, row + 1), (column, row + 1))
        for move in range(4):
            (x1, y1), (x2, y2) = corners[move], corners[(move + 1) % 4]
            red, green, blue = colours[move]
            kind = ' class="best"' if move == best else ""
            triangle = f"M{column + 0.5} {row + 0.5}L{x1} {y1}L{x2} {y2}z"
            parts.append(f'<path{kind} fill="#{red:02x}{green:02x}{blue:02x}" d="{triangle}"/>')
    return f'<g class="qs">{"".join(parts)}</g>'


def walker(path: Sequence[int], width: int, seconds_a_move: float = 0.32) -> str:
    """The player walking a path again and again, with a rest at its end; the way is drawn faintly."""
    points = [(cell % width + 0.5, cell // width + 0.5) for cell in path]
    rest = 3
    total = (len(points) - 1 + rest) * seconds_a_move
    times = [min(1.0, index * seconds_a_move / total) for index in range(len(points))] + [1.0]
    keys = ";".join(f"{time:.4f}" for time in times)
    moves = "".join(
        f'<animate attributeName="{name}" dur="{total:.2f}s" repeatCount="indefinite" keyTimes="{keys}" '
        f'values="{";".join(str(point[axis]) for point in [*points, points[-1]])}"/>'
        for axis, name in enumerate(("cx", "cy"))
    )
    x, y = points[0]
    return f'{path_line(path, width)}<circle class="player" cx="{x}" cy="{y}" r="0.32">{moves}</circle>'


def colour_bar(low: float | str, high: float | str, stops: Stops, note: str) -> str:
    """A legend: the colours from low to high, numbers or words."""
    low, high = (end if isinstance(end, str) else f"{end:.3g}" for end in (low, high))
    colours = ", ".join(f"rgb({red} {green} {blue})" for red, green, blue in stops)
    return (
        f'<div class="scale"><span>{escape(low)}</span><i style="background:linear-gradient(to right, {colours})"></i>'
        f"<span>{escape(high)}</span> {escape(note)}</div>"
    )


def _disc(cell: int, width: int) -> str:
    row, column = divmod(cell, width)
    return f'<circle class="player" cx="{column + 0.5}" cy="{row + 0.5}" r="0.32"/>'


def _arrow(row: int, column: int, move: int) -> str:
    dx, dy = _STEPS[move]
    x, y = column + 0.5, row + 0.5
    tip = (x + 0.32 * dx, y + 0.32 * dy)
    # the two barbs lie back from the tip, to either side
    back = (tip[0] - 0.24 * dx, tip[1] - 0.24 * dy)
    left, right = (back[0] + 0.2 * dy, back[1] - 0.2 * dx), (back[0] - 0.2 * dy, back[1] + 0.2 * dx)
    return (
        f"M{x - 0.32 * dx:.2f} {y - 0.32 * dy:.2f}L{tip[0]:.2f} {tip[1]:.2f}"
        f"M{left[0]:.2f} {left[1]:.2f}L{tip[0]:.2f} {tip[1]:.2f}L{right[0]:.2f} {right[1]:.2f}"
    )


def _colours(values: np.ndarray, low: float, high: float, stops: Stops) -> np.ndarray:
    """(H, W) to (H, W, 3) uint8, linear between the stops."""
    share = np.clip((values - low) / ((high - low) or 1.0), 0.0, 1.0)
    at = np.linspace(0.0, 1.0, len(stops))
    channels = [np.interp(share, at, [stop[channel] for stop in stops]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def _png(picture: np.ndarray) -> str:
    """(H, W, 4) uint8 as a data URI."""
    height, width, _ = picture.shape
    rows = b"".join(b"\0" + row.tobytes() for row in picture)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    file = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    return f"data:image/png;base64,{base64.b64encode(file).decode()}"
