"""Grids drawn ahead in bulk, so that a new episode is a look-up: thousands cost little more to draw than one."""

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from iqlightning.envs.gridworld.layouts import Layouts, draw_layouts
from iqlightning.envs.gridworld.planning import shortest_moves
from iqlightning.envs.gridworld.spec import GridWorldConfig

__all__ = ["Drawn", "LayoutPool"]

#: Cells (one byte each) that the grids drawn ahead may take, and the most and fewest episodes drawn ahead.
_CELLS = 1 << 25
_LONGEST, _SHORTEST = 64, 2

#: Grids that a pool aims to hold in all.
_GRIDS = 1 << 15


class Drawn(NamedTuple):
    """Grids and the moves that the shortest way from start to goal takes."""

    layouts: Layouts
    shortest: Tensor


class LayoutPool:
    """The next few grids of every environment, in a ring; what it serves depends on the seeds alone.

    Environment i's episode e is ``draw_layouts(config, seeds[i], e, split)``. When an environment has used up its
    grids, all environments get new ones in a single draw.
    """

    def __init__(self, config: GridWorldConfig, seeds: Int[Tensor, " num_envs"], split: str) -> None:
        self.config, self.split, self.seeds = config, split, seeds.clone()
        count = max(len(seeds), 1)
        self.depth = max(_SHORTEST, min(_LONGEST, _GRIDS // count, _CELLS // (count * config.num_cells)))
        slots = count * self.depth
        cells = torch.int64
        self._walls = torch.empty((slots, config.height, config.width), dtype=torch.bool, device=seeds.device)
        self._start, self._goal, self._shortest = (
            torch.empty(slots, dtype=cells, device=seeds.device) for _ in range(3)
        )
        self._drawn = torch.zeros_like(seeds)  # episodes drawn so far of each environment; none of them need be kept

    def reseed(self, envs: Int[Tensor, " count"], seeds: Int[Tensor, " count"]) -> None:
        """Gives some environments new seeds; they are about to ask for episode 0."""
        self.seeds[envs] = seeds
        self._drawn[envs] = 0

    def skip_to(self, episodes: Int[Tensor, " num_envs"]) -> None:
        """Forgets all grids; environment i is about to ask for ``episodes[i]``."""
        self._drawn = episodes.clone()

    def take(self, envs: Int[Tensor, " count"], episodes: Int[Tensor, " num_envs"]) -> Drawn:
        """The next grids of some environments; ``episodes`` is the next episode of every environment."""
        wanted = episodes[envs]
        if (wanted >= self._drawn[envs]).any():
            self._draw(episodes)
        slots = envs * self.depth + wanted % self.depth
        return Drawn(Layouts(self._walls[slots], self._start[slots], self._goal[slots]), self._shortest[slots])

    def _draw(self, episodes: Tensor) -> None:
        # Few at first, for those who play one episode of a seed and go on to the next seed.
        ahead = min(max(int(episodes.max()), 1), self.depth)
        enough = torch.maximum(self._drawn, episodes + ahead)
        missing = enough - self._drawn
        envs = torch.repeat_interleave(torch.arange(len(missing), device=missing.device), missing)
        first = missing.cumsum(0) - missing
        within = torch.arange(len(envs), device=envs.device) - first[envs]
        fresh = self._drawn[envs] + within
        layouts = draw_layouts(self.config, self.seeds[envs], fresh, self.split, self.seeds.device)
        slots = envs * self.depth + fresh % self.depth
        self._walls[slots], self._start[slots], self._goal[slots] = layouts
        self._shortest[slots] = shortest_moves(*layouts)
        self._drawn = enough
