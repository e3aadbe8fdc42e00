"""GridWorld as an ordinary Gymnasium environment, ``iqlightning/GridWorld-v0``."""

from typing import Any

import gymnasium
import numpy as np
import torch

from iqlightning.errors import unknown
from iqlightning.gridworld.game.layouts import Layouts
from iqlightning.gridworld.game.render import render_ansi, render_rgb
from iqlightning.gridworld.game.settings import GridWorldSettings
from iqlightning.gridworld.game.state import GridWorldBatch

__all__ = ["RENDER_MODES", "GridWorldEnv", "check_render_mode", "draw_frame"]

#: ``rgb_array`` in the study's colours, ``ansi`` as text.
RENDER_MODES = ["rgb_array", "ansi"]


def check_render_mode(render_mode: str | None) -> str | None:
    """The render mode, if there is such a one; otherwise a :class:`UserError`."""
    if render_mode is not None and render_mode not in RENDER_MODES:
        raise unknown("render mode", render_mode, RENDER_MODES)
    return render_mode


def draw_frame(render_mode: str | None, layouts: Layouts, player: torch.Tensor, index: int) -> Any:
    """A picture of one grid of a batch, as the render mode says; None without one."""
    if render_mode is None:
        return None
    draw = render_ansi if render_mode == "ansi" else render_rgb
    return draw(layouts.walls[index].cpu().numpy(), int(player[index]), int(layouts.goal[index]))


class GridWorldEnv(gymnasium.Env[np.ndarray, np.int64]):
    """One GridWorld; its rules are those of :class:`GridWorldSettings`, its state that of a batch of one.

    ``reset(seed=s)`` begins the first episode of seed s, every further ``reset()`` the next one. ``info`` holds
    ``shortest``, the moves of the shortest way from start to goal around the walls, and ``manhattan``, |dx| + |dy|.

    Args:
        height: rows, 2 to 64.
        width: columns, 2 to 64.
        num_walls: the exact number of walls; or
        wall_density: the share of cells that are walls. Neither: 5 walls.
        random_start: a random start instead of the top-left corner.
        random_walls: walls that differ from episode to episode.
        random_goal: a goal that differs from episode to episode instead of the bottom-right corner.
        max_moves: moves before truncation; None means height x width.
        split: ``any``, ``train``, ``validation`` or ``test``: which grids to draw from.
        render_mode: ``rgb_array`` or ``ansi``.
        layout: ``random``, ``maze`` or ``rooms``.
        min_size: sides of the smallest grids, where they differ in size.

    Raises:
        UserError: if no such grid can exist, or there is no such split or render mode.
    """

    def __init__(
        self,
        height: int = 10,
        width: int = 10,
        num_walls: int | None = None,
        wall_density: float | None = None,
        random_start: bool = True,
        random_walls: bool = True,
        random_goal: bool = True,
        max_moves: int | None = None,
        split: str = "any",
        render_mode: str | None = None,
        layout: str = "random",
        min_size: int | None = None,
    ) -> None:
        level = GridWorldSettings.level_of(random_walls, random_goal)
        self.config = GridWorldSettings(
            level, height, width, num_walls, wall_density, random_start, max_moves, layout, min_size
        )
        self.render_mode = check_render_mode(render_mode)
        self.observation_space, self.action_space = self.config.spaces[:2]
        self._batch = GridWorldBatch(self.config, 1, split=split)
        self._seeded = self._over = False

    metadata = {"render_modes": RENDER_MODES, "render_fps": 4}  # noqa: RUF012  (Gymnasium's own declaration)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begins an episode; without a seed the next one of the last seed, or of a random one."""
        super().reset(seed=seed)
        if seed is None and not self._seeded:
            seed = int(self.np_random.integers(1 << 31))
        if seed is not None:
            self._batch.seed(torch.tensor([seed]))
            self._seeded = True
        self._over = False
        return self._batch.reset()[0].numpy(), self._info()

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One move.

        Raises:
            gymnasium.error.ResetNeeded: before the first reset, and after the end of an episode.
        """
        if self._over or not self._seeded:
            raise gymnasium.error.ResetNeeded("call reset() before the first step and after the end of an episode")
        rewards, terminated, truncated = self._batch.move(torch.tensor([int(action)]))
        self._over = bool(terminated | truncated)
        return self._batch.observations[0].numpy(), float(rewards), bool(terminated), bool(truncated), self._info()

    def render(self) -> Any:
        """The grid as the render mode says; None without one."""
        return draw_frame(self.render_mode, self._batch.layouts, self._batch.player, 0)

    def _info(self) -> dict[str, Any]:
        return {"shortest": int(self._batch.shortest), "manhattan": int(self._batch.manhattan)}
