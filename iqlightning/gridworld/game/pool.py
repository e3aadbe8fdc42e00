"""Grids drawn ahead in bulk, so that a new episode is a look-up: thousands cost little more to draw than one."""

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from iqlightning.gridworld.game.layouts import Layouts, draw_layouts
from iqlightning.gridworld.game.observation import observe
from iqlightning.gridworld.game.settings import GridWorldSettings

__all__ = ["InitialStates", "LayoutPool"]

#: Cells (one byte each, in three planes) that the grids drawn ahead may take, and the most and fewest episodes drawn
#: ahead.
_CELLS = 1 << 26
_LONGEST, _SHORTEST = 64, 2

#: Grids that a pool aims to hold in all.
_GRIDS = 1 << 15


class InitialStates(NamedTuple):
    """The states that B episodes begin in.

    Attributes:
        planes: (B, 3, cells) uint8, the first observations.
        state: (5, B) int64: start, player, goal, moves made, and -1 for the shortest way, which nobody has asked for.
    """

    planes: Tensor
    state: Tensor

    @staticmethod
    def of(layouts: Layouts) -> "InitialStates":
        """On these grids."""
        _, start, goal = layouts
        state = torch.stack([start, start, goal, torch.zeros_like(goal), torch.full_like(goal, -1)])
        return InitialStates(observe(*layouts).flatten(2), state)


class LayoutPool:
    """The next few grids of every environment, in a ring; what it serves depends on the seeds alone.

    Environment i's episode e is ``draw_layouts(config, seeds[i], e, split)``. When an environment has used up its
    grids, all environments get new ones in a single draw.
    """

    def __init__(self, config: GridWorldSettings, seeds: Int[Tensor, " num_envs"], split: str) -> None:
        self.config, self.split, self.seeds = config, split, seeds.clone()
        count = max(len(seeds), 1)
        self.depth = max(_SHORTEST, min(_LONGEST, _GRIDS // count, _CELLS // (3 * count * config.num_cells)))
        slots = count * self.depth
        self._planes = torch.empty((slots, 3, config.num_cells), dtype=torch.uint8, device=seeds.device)
        self._state = torch.empty((5, slots), dtype=torch.int64, device=seeds.device)
        self._drawn = torch.zeros_like(seeds)  # episodes drawn so far of each environment; none of them need be kept

    def reseed(self, envs: Int[Tensor, " count"], seeds: Int[Tensor, " count"]) -> None:
        """Gives some environments new seeds; they are about to ask for episode 0."""
        self.seeds[envs] = seeds
        self._drawn[envs] = 0

    def skip_to(self, episodes: Int[Tensor, " num_envs"]) -> None:
        """Forgets all grids; environment i is about to ask for ``episodes[i]``."""
        self._drawn = episodes.clone()

    def take(self, envs: Int[Tensor, " count"], episodes: Int[Tensor, " num_envs"]) -> InitialStates:
        """The next grids of some environments; ``episodes`` is the next episode of every environment."""
        wanted = episodes.index_select(0, envs)
        if (wanted >= self._drawn.index_select(0, envs)).any():
            self._draw(episodes)
        slots = envs * self.depth + wanted % self.depth
        return InitialStates(self._planes.index_select(0, slots), self._state.index_select(1, slots))

    def _draw(self, episodes: Tensor) -> None:
        # Few at first, for those who play one episode of a seed and go on to the next seed.
        self._drawn = torch.maximum(self._drawn, episodes)  # some may have been drawn elsewhere
        ahead = min(max(int(episodes.max()), 1), self.depth)
        enough = torch.maximum(self._drawn, episodes + ahead)
        missing = enough - self._drawn
        envs = torch.repeat_interleave(torch.arange(len(missing), device=missing.device), missing)
        first = missing.cumsum(0) - missing
        within = torch.arange(len(envs), device=envs.device) - first[envs]
        fresh = self._drawn[envs] + within
        layouts = draw_layouts(self.config, self.seeds[envs], fresh, self.split, self.seeds.device)
        slots = envs * self.depth + fresh % self.depth
        initial = InitialStates.of(layouts)
        self._planes.index_copy_(0, slots, initial.planes)
        self._state.index_copy_(1, slots, initial.state)
        self._drawn = enough
