"""GridWorld as an environment of the package: what it is made of, and what it knows of itself."""

from dataclasses import dataclass

import torch

from iqlightning.gridworld.game.settings import LEVELS, SIZES, GridWorldSettings
from iqlightning.gridworld.game.state import GridWorldBatch
from iqlightning.types import EnvConfig

__all__ = ["LEVELS", "SIZES", "GridWorldConfig"]


@dataclass(frozen=True)
class GridWorldConfig(GridWorldSettings, EnvConfig):
    """A GridWorld: a player walks to a goal around walls, four moves, one step at a time.

    The fields, their limits and the rules in words are those of :class:`GridWorldSettings`.
    """

    @property
    def name(self) -> str:
        """For example ``gridworld-random_everything-10x10-w5``."""
        walls = f"w{self.wall_count}" if self.layout == "random" else self.layout
        sizes = (
            f"{self.height}x{self.width}" if self.min_size is None else f"{self.min_size}to{self.height}x{self.width}"
        )
        name = f"gridworld-{self.level}-{sizes}-{walls}"
        name += "" if self.random_start else "-corner"
        return name if self.max_moves is None else f"{name}-m{self.max_moves}"

    def make_batch(
        self,
        num_envs: int,
        *,
        seed: int,
        split: str = "any",
        device: str | torch.device = "cpu",
        first: int = 0,
        every: int = 1,
    ) -> GridWorldBatch:
        """``num_envs`` grids stepped together; the i-th plays the grids of seed ``seed + first + i * every``."""
        return GridWorldBatch(self, num_envs, seed=seed + first, every=every, split=split, device=device)
