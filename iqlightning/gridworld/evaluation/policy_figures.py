"""Pictures of what a policy does, as RGB arrays and a GIF: visits beside the expert's, failures, episodes."""

import itertools
import math
import textwrap
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import Normalize, PowerNorm, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from torch import Tensor

from iqlightning.analysis.charts import pixels
from iqlightning.evaluation.video import Animation, animation
from iqlightning.gridworld.evaluation.drawing import (
    VALUE_COLOURS,
    VISIT_COLOURS,
    Frame,
    draw_cells,
    draw_player,
)
from iqlightning.gridworld.evaluation.failures import Failure, path_of
from iqlightning.gridworld.evaluation.results import GridWorldResults
from iqlightning.gridworld.evaluation.visitation import Visitation
from iqlightning.gridworld.game.palette import FAINT, FLOOR, INK, PLAYER, rgb
from iqlightning.gridworld.game.render import render_rgb

__all__ = ["episode_animation", "failure_panel", "visitation_panel"]

_TILE = 2.3  # inches; TensorBoard shows pictures small, so the writing is large
_MOVE = 180  # milliseconds


def visitation_panel(visits: Visitation, title: str = "") -> UInt8[np.ndarray, "height width rgb"]:
    """One row a grid: where the expert goes, where the greedy moves lead, where drawn ones do."""
    batch = len(visits.expert)
    figure = Figure(figsize=(3 * _TILE + 1.1, batch * _TILE + 0.9), facecolor="white", layout="constrained")
    figure.suptitle(title, size=13, weight="bold", color=INK, x=0.02, ha="left")
    axes = figure.subplots(batch, 3, squeeze=False)
    top = 1.5 * float(torch.nan_to_num(visits.expert).max())
    # the square root shows what is rare beside what is frequent; a loop may run off the scale
    norm = PowerNorm(0.5, 0.0, top)
    for grid in range(batch):
        columns = (("expert", visits.expert, None), ("greedy", visits.greedy, visits.greedy_distance))
        columns += (("drawn", visits.drawn, visits.drawn_distance),)
        for place, (label, values, distance) in zip(axes[grid], columns, strict=True):
            note = "" if distance is None else f", {float(distance[grid]):.2f} apart"
            place.set_title(label + note, size=12, color=INK)
            seen = values[grid].isfinite().numpy()
            colours = np.where(seen[..., None], VISIT_COLOURS(norm(values[grid].nan_to_num().numpy())), to_rgba(FLOOR))
            _draw_grid(place, visits.layouts.walls[grid], int(visits.layouts.goal[grid]), colours)
    bar = figure.colorbar(ScalarMappable(norm, VISIT_COLOURS), ax=axes, shrink=0.6, aspect=30, extend="max")
    bar.set_label("share of visits", size=10, color=FAINT)
    bar.ax.tick_params(labelsize=9, colors=FAINT)
    return pixels(figure)


def failure_panel(
    results: GridWorldResults, failures: Sequence[Failure], qs: Sequence[Tensor], title: str = ""
) -> UInt8[np.ndarray, "height width rgb"]:
    """Failed episodes side by side: the path, Q of the four moves along it, and a ring at the first mistake.

    Args:
        results: what the failures are of.
        failures: up to six are drawn, three in a row.
        qs: for each of them (visited, 4), Q on every cell of its path.
        title: a line above all, and all there is without failures.
    """
    shown = list(zip(failures, qs, strict=True))[:6]
    rows, columns = max(1, -(-len(shown) // 3)), 3
    height = rows * (_TILE + 0.55) + 0.8 if shown else 0.8
    figure = Figure(figsize=(columns * _TILE + 0.4, height), facecolor="white", layout="constrained")
    figure.suptitle(title, size=13, weight="bold", color=INK, x=0.02, ha="left")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for place, (failure, q) in zip(axes, shown, strict=False):
        walls, start, goal = (part[failure.index].cpu() for part in results.layouts)
        frame = _draw_grid(place, walls, int(goal))
        _draw_path(place, frame, failure, q, walls.shape[1], int(start))
        words = textwrap.fill(failure.kind.value, 22)
        place.set_title(words, size=12, color=INK)
    for place in axes[len(shown) :]:
        place.set_axis_off()
    return pixels(figure)


def episode_animation(results: GridWorldResults, episodes: Sequence[int], cell_pixels: int = 20) -> Animation:
    """Episodes played (with ``record_paths``) side by side, again and again, as nearly in a square as can be.

    The way walked so far is drawn behind the player. Who has failed gets a red frame.
    """
    paths = [path_of(results, index).tolist() for index in episodes]
    gap = cell_pixels // 2
    columns = math.ceil(math.sqrt(len(paths)))
    frames = []
    # all wait at their ends for a while, so that one sees who arrived
    for move in range(max(map(len, paths)) + 4):
        grids = []
        for index, path in zip(episodes, paths, strict=True):
            walls, _, goal = (part[index].cpu() for part in results.layouts)
            walked = path[: move + 1]
            picture = render_rgb(walls, walked[-1], int(goal), cell_pixels)
            _draw_trail(picture, walked, walls.shape[1], cell_pixels)
            framed = np.full((picture.shape[0] + gap, picture.shape[1] + gap, 3), 255, np.uint8)
            framed[: picture.shape[0], : picture.shape[1]] = picture
            if move >= len(path) - 1 and not bool(results.success[index]):
                inner = picture[3:-3, 3:-3].copy()
                framed[: picture.shape[0], : picture.shape[1]] = rgb(PLAYER)
                framed[3 : picture.shape[0] - 3, 3 : picture.shape[1] - 3] = inner
            grids.append(framed)
        grids += [np.full_like(grids[0], 255)] * (-len(grids) % columns)
        rows = [np.concatenate(grids[at : at + columns], axis=1) for at in range(0, len(grids), columns)]
        frames.append(np.concatenate(rows))
    return animation(frames, _MOVE)


def _draw_trail(
    picture: UInt8[np.ndarray, "height width rgb"], path: Sequence[int], width: int, cell_pixels: int
) -> None:
    """A line through the middles of the cells of a path, with a square where it begins; drawn into the picture."""
    middles = np.stack(np.divmod(np.asarray(path), width), axis=1) * cell_pixels + cell_pixels // 2
    half = max(1, cell_pixels // 14)
    for (top, left), (bottom, right) in itertools.pairwise([middles[0], *middles]):
        rows = slice(min(top, bottom) - half, max(top, bottom) + half)
        picture[rows, min(left, right) - half : max(left, right) + half] = rgb(PLAYER)
    top, left = middles[0] - 2 * half
    picture[top : top + 4 * half, left : left + 4 * half] = rgb(PLAYER)


def _draw_grid(axes: Axes, walls: Tensor, goal: int, colours: np.ndarray | None = None) -> Frame:
    """A grid alone on its axes, a cell one unit wide; returns where it is."""
    height, width = walls.shape
    frame = Frame(0.0, float(height))
    draw_cells(axes, frame, walls.numpy(), goal, colours)
    axes.set(xlim=(0, width), ylim=(0, height), xticks=[], yticks=[], aspect="equal")
    axes.spines[:].set_visible(False)
    return frame


def _draw_path(axes: Axes, frame: Frame, failure: Failure, q: Tensor, width: int, start: int) -> None:
    path = failure.path.numpy()
    triangles, colours = [], []
    for cell, values in {cell: q[index] for index, cell in enumerate(path.tolist())}.items():
        x, y = frame.centre(*divmod(cell, width))
        corners = [(x - 0.5, y + 0.5), (x + 0.5, y + 0.5), (x + 0.5, y - 0.5), (x - 0.5, y - 0.5)]
        # in the order of the actions: above, right, below, left
        triangles += [(corners[move], corners[(move + 1) % 4], (x, y)) for move in range(4)]
        colours += list(VALUE_COLOURS(Normalize(float(values.min()), float(values.max()))(values.numpy())))
    axes.add_collection(PolyCollection(triangles, facecolors=colours, edgecolors="white", linewidths=0.4))
    x, y = frame.centre(*np.divmod(path, width))
    axes.plot(x, y, color=PLAYER, linewidth=2, solid_capstyle="round")
    draw_player(axes, frame, start, width)
    axes.add_patch(Circle((x[failure.mistake], y[failure.mistake]), 0.42, fill=False, edgecolor="black", linewidth=1.6))
