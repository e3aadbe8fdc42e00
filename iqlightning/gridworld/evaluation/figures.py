"""The value map panel: one row a grid, from the grid itself to the exact optimal value, as an RGB array."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from iqlightning.analysis.charts import pixels
from iqlightning.gridworld.evaluation.drawing import (
    REWARD_COLOURS,
    VALUE_COLOURS,
    Frame,
    draw_cells,
    draw_player,
)
from iqlightning.gridworld.evaluation.value_maps import ValueMaps
from iqlightning.gridworld.game.palette import CUT_OFF, FAINT, GOAL, INK, PLAYER, WALL
from iqlightning.gridworld.game.rules import STEPS

__all__ = ["value_map_card", "value_map_panel"]

_DETOUR = PLAYER

# inches
_LEFT, _RIGHT, _TOP, _BOTTOM, _GAP = 0.35, 0.35, 1.05, 0.75, 0.22
_COLUMN = 2.7
_CARD_TILE, _CARD_GAP, _CARD_HEAD, _CARD_FOOT = 3.1, 0.3, 0.45, 0.65
_DIRECTIONS = np.array([(right, -down) for down, right in STEPS])  # of the actions as (x, y), y upwards


def value_map_panel(maps: ValueMaps, title: str = "", dpi: int = 100) -> UInt8[np.ndarray, "height width rgb"]:
    """Draws one row for each grid: the grid, V(s), the greedy policy, the recovered reward, and the exact V*.

    Colours share one scale down each column, shown below it; white is a reward of 0. Cells that do not lead to the
    goal are grey and do not count for the scale. In the policy's column a dark arrow is a move that a shortest path
    makes, a red one is not. Small grids have the figures written in.

    Args:
        maps: B grids.
        title: a line above all, such as the level and the number of updates.
        dpi: pixels an inch; at 100 three square grids make about 1,500 x 1,050 pixels.
    """
    batch, height, width = maps.v.shape
    side = _COLUMN / width
    if side * height > 1.6 * _COLUMN:
        side = 1.6 * _COLUMN / height
    tall, wide = side * height, side * width
    top = _TOP if title else _TOP - 0.4
    size = (_LEFT + 5 * _COLUMN + 4 * _GAP + _RIGHT, top + batch * tall + (batch - 1) * _GAP + _BOTTOM)
    figure, axes = _sheet(size, dpi)
    axes.text(_LEFT, size[1] - 0.30, title, size=14, weight="bold", color=INK, va="center")

    columns = _columns(maps)
    for place, column in enumerate(columns):
        left = _LEFT + place * (_COLUMN + _GAP)
        middle = left + _COLUMN / 2
        axes.text(middle, size[1] - top + 0.32, column.heading, size=12, color=INK, ha="center", va="bottom")
        axes.text(middle, size[1] - top + 0.11, column.note, size=9, color=FAINT, ha="center", va="bottom")
        for grid in range(batch):
            frame = Frame(middle - wide / 2, size[1] - top - grid * (tall + _GAP), side)
            _draw_grid(axes, frame, maps, grid, column)
        if column.bar is not None:
            _draw_bar(axes, left + 0.06 * _COLUMN, 0.88 * _COLUMN, column, _BOTTOM - 0.16)
    _draw_legend(axes, 0, [(PLAYER, "start"), (GOAL, "goal"), (WALL, "wall"), *_cut_off(maps)])
    _draw_legend(axes, 2, [(INK, "on a shortest path"), (_DETOUR, "detour")])

    return pixels(figure)


def value_map_card(maps: ValueMaps, title: str = "") -> UInt8[np.ndarray, "height width rgb"]:
    """Draws the first grid, two by two: V(s) and the exact V*, the greedy policy and the recovered reward.

    TensorBoard shows pictures about 330 pixels wide until they are clicked: this one, of 650, can be read at half its
    size.
    """
    _, height, width = maps.v.shape
    side = _CARD_TILE / max(height, width)
    tall, wide = side * height, side * width
    row = _CARD_HEAD + tall + _CARD_FOOT
    size = (2 * _CARD_TILE + _CARD_GAP, 0.4 + 2 * row)
    figure, axes = _sheet(size)
    axes.text(0.05, size[1] - 0.22, title, size=14, weight="bold", color=INK, va="center")
    first = maps.first(1)
    _, v, policy, reward, best = _columns(first)
    for place, column in enumerate((v, best, policy, reward)):
        left = place % 2 * (_CARD_TILE + _CARD_GAP)
        top = size[1] - 0.4 - place // 2 * row - _CARD_HEAD
        middle = left + _CARD_TILE / 2
        axes.text(middle, top + 0.1, column.heading, size=16, color=INK, ha="center", va="bottom")
        _draw_grid(axes, Frame(middle - wide / 2, top, side), first, 0, column)
        below = top - tall - 0.1
        if column.bar is not None:
            _draw_bar(axes, left + 0.1 * _CARD_TILE, 0.8 * _CARD_TILE, column, below, size=13.0, ticks=3)
        else:
            axes.text(middle, below - 0.2, "red: on no shortest path", size=13, color=_DETOUR, ha="center", va="center")
    return pixels(figure)


def _sheet(size: tuple[float, float], dpi: int = 100) -> tuple[Figure, Axes]:
    """A single pair of axes over a whole sheet, in inches: one for each picture would take thrice as long."""
    figure = Figure(figsize=size, dpi=dpi, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, size[0]), ylim=(0, size[1]), autoscale_on=False)
    axes.set_axis_off()
    return figure, axes


class _Column(NamedTuple):
    """What one column shows: a heading with a note below it, values with their scale, the ends of its colour bar."""

    heading: str
    note: str
    values: torch.Tensor | None = None
    norm: Normalize = Normalize()
    cmap: Colormap = VALUE_COLOURS
    bar: tuple[float, float] | None = None
    arrows: bool = False


def _columns(maps: ValueMaps) -> list[_Column]:
    v, rewards, best = (_range(values, maps.reachable) for values in (maps.v, maps.greedy_rewards, maps.optimal_v))
    entropy = f", temperature {maps.temperature:g}" if maps.temperature else ", no entropy"
    exact = f"exact: true reward, $\\gamma$ {maps.gamma:g}{entropy}"
    # symmetric, so that white is 0 and the sign of a reward is seen at once
    furthest = max(abs(rewards[0]), abs(rewards[1]))
    sign = Normalize(-furthest, furthest)
    return [
        _Column("grid", ""),
        _Column("V(s)", "learned", maps.v, Normalize(*v), VALUE_COLOURS, v),
        _Column("policy", "greedy move in each cell, over V", maps.v, Normalize(*v), VALUE_COLOURS, arrows=True),
        _Column("reward", "recovered, of the greedy move", maps.greedy_rewards, sign, REWARD_COLOURS, rewards),
        _Column("optimal V", exact, maps.optimal_v, Normalize(*best), VALUE_COLOURS, best),
    ]


def _range(values: torch.Tensor, where: torch.Tensor) -> tuple[float, float]:
    """The ends of a column's scale; a constant column gets a little room, so that it is drawn in the middle colour."""
    shown = values[where]
    shown = shown[shown.isfinite()]
    if not len(shown):
        return -1.0, 1.0
    low, high = shown.min().item(), shown.max().item()
    room = max(1e-9, 1e-3 * max(abs(low), abs(high))) if high - low < 1e-9 else 0.0
    return low - room, high + room


def _draw_grid(axes: Axes, frame: Frame, maps: ValueMaps, grid: int, column: _Column) -> None:
    """One picture: cells coloured by value, those that are cut off from the goal in a colour of their own."""
    height, width = maps.v.shape[1:]
    colours = None
    if column.values is not None:
        colours = np.asarray(column.cmap(column.norm(np.nan_to_num(column.values[grid].numpy()))))
        if column.arrows:
            # the arrows are what this column is about: let the values recede
            colours[..., :3] = 0.45 * colours[..., :3] + 0.55
        colours[~maps.reachable[grid].numpy()] = to_rgba(CUT_OFF)
    drawn = draw_cells(axes, frame, maps.layouts.walls[grid].numpy(), int(maps.layouts.goal[grid]), colours)
    if column.values is None:
        draw_player(axes, frame, int(maps.layouts.start[grid]), width)
    elif column.arrows:
        _draw_arrows(axes, frame, maps, grid)
    elif max(height, width) <= 6:
        _write_values(axes, frame, column.values[grid].where(maps.reachable[grid], torch.nan).numpy(), drawn)


def _draw_arrows(axes: Axes, frame: Frame, maps: ValueMaps, grid: int) -> None:
    """The greedy move in every cell from which the goal can be reached."""
    rows, columns = np.nonzero(maps.reachable[grid].numpy())
    direction = _DIRECTIONS[maps.greedy[grid].numpy()[rows, columns]]
    good = maps.on_shortest_path[grid].numpy()[rows, columns]
    axes.quiver(
        *frame.centre(rows, columns),
        *(0.68 * frame.side * direction.T),
        color=[INK if on else _DETOUR for on in good],
        pivot="mid",
        angles="xy",
        scale_units="xy",
        scale=1,
        units="x",
        width=0.09 * frame.side,
        headwidth=4.2,
        headlength=4,
        headaxislength=3.6,
    )


def _write_values(axes: Axes, frame: Frame, values: np.ndarray, colours: np.ndarray) -> None:
    """The figure in every cell, dark on light and light on dark."""
    for row, column in np.argwhere(np.isfinite(values)).tolist():
        bright = colours[row, column, :3] @ (0.299, 0.587, 0.114) > 0.55
        colour = INK if bright else "white"
        size = min(13, 18 * frame.side)
        position = frame.centre(row, column)
        axes.text(*position, f"{values[row, column]:.3g}", size=size, color=colour, ha="center", va="center")


def _draw_bar(
    axes: Axes, left: float, length: float, column: _Column, top: float, size: float = 9.0, ticks: int = 5
) -> None:
    """A colour bar of the part of the scale that occurs, with a few round numbers below it."""
    assert column.bar is not None
    low, high = column.bar
    bottom = top - 0.13
    gradient = np.asarray(column.cmap(column.norm(np.linspace(low, high, 256))))[None]
    axes.imshow(gradient, extent=(left, left + length, bottom, top), aspect="auto")
    marks = np.asarray(MaxNLocator(ticks).tick_values(low, high))
    marks = marks[(marks >= low) & (marks <= high)]
    places = left + length * (marks - low) / (high - low)
    axes.vlines(places, bottom - 0.04, bottom, colors=INK, linewidths=0.8)
    for place, mark in zip(places, marks, strict=True):
        axes.text(place, bottom - 0.07, f"{mark:.6g}", size=size, color=INK, ha="center", va="top")


def _draw_legend(axes: Axes, place: int, entries: Sequence[tuple[str, str]]) -> None:
    """Coloured squares with a word each, below a column that has no colour bar."""
    x = _LEFT + place * (_COLUMN + _GAP) + 0.02
    for colour, word in entries:
        axes.add_patch(Rectangle((x, _BOTTOM - 0.30), 0.14, 0.14, color=colour))
        axes.text(x + 0.19, _BOTTOM - 0.23, word, size=10, color=INK, va="center")
        x += 0.34 + 0.075 * len(word)


def _cut_off(maps: ValueMaps) -> list[tuple[str, str]]:
    """The legend's entry for free cells that do not lead to the goal, if there are any besides the goal itself."""
    unreached = (~maps.layouts.walls & ~maps.reachable).sum((1, 2))
    return [(CUT_OFF, "cut off")] if bool((unreached > 1).any()) else []
