"""GridWorld as an environment of the package: what it is made of, and what it knows of itself."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from iqlightning.errors import UserError
from iqlightning.gridworld.game.layouts import splits_are_disjoint
from iqlightning.gridworld.game.rules import GOAL_REWARD
from iqlightning.gridworld.game.settings import LEVELS, SIZES, GridWorldSettings
from iqlightning.gridworld.game.state import GridWorldBatch
from iqlightning.gridworld.symmetry import GridSymmetry
from iqlightning.types import EnvConfig, Figure, Policy

if TYPE_CHECKING:
    from iqlightning.gridworld.evaluation.results import GridWorldResults
    from iqlightning.gridworld.expert import ShortestPathExpert

__all__ = ["GYMNASIUM_ID", "LEVELS", "SIZES", "GridWorldConfig"]

#: Gymnasium's id of the environment.
GYMNASIUM_ID = "iqlightning/GridWorld-v0"


@dataclass(frozen=True)
class GridWorldConfig(GridWorldSettings, EnvConfig):
    """A GridWorld: a player walks to a goal around walls, four moves, one step at a time.

    The fields, their limits and the rules in words are those of :class:`GridWorldSettings`.
    """

    FIGURES: ClassVar = (
        Figure("success_rate", "success rate", ".2%", "success\nrate", ".1%", "interval", "high", (0.0, 1.0)),
        Figure(
            "distance_ratio",
            "distance ratio (moves / shortest path)",
            heading="distance\nratio",
            better="low",
            limits=(1.0, math.inf),
        ),
        Figure("solved_distance_ratio", "distance ratio of the solved ones", limits=(1.0, math.inf)),
        Figure("manhattan_ratio", "Manhattan ratio", better="low", limits=(1.0, math.inf)),
        Figure("spl", "SPL (success * shortest path / moves)", heading="SPL", better="high", limits=(0.0, 1.0)),
        Figure(
            "mean_return",
            "mean return",
            heading="mean\nreturn",
            column_form=".2f",
            better="high",
            limits=(-math.inf, float(GOAL_REWARD)),
        ),
    )

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

    # ---- what it knows of itself

    def describe(self, episodes: int, *, brief: bool = False) -> str:
        """For example ``1,000 unseen grids: random_everything, 10x10, 5 walls``, without the walls if brief."""
        size = f"{self.level}, {self.height}x{self.width}"
        # a level with a handful of grids has no others to keep apart
        if splits_are_disjoint(self):
            grids = "unseen grids"
        else:
            grids = "grids" if brief else "grids (this level has too few to keep some unseen)"
        return f"{episodes:,} {grids}: {size}" if brief else f"{episodes:,} {grids}: {size}, {self.wall_count} walls"

    def facts(self) -> dict[str, Any]:
        """Level, size, walls and limits, and whether no evaluation grid occurs among the training grids."""
        return {
            "level": self.level,
            "height": self.height,
            "width": self.width,
            "num_walls": self.wall_count,
            "random_start": self.random_start,
            "max_moves": self.move_limit,
            "unseen": splits_are_disjoint(self),
        }

    def play(self, policy: Policy, episodes: int, seed: int, **options: Any) -> "GridWorldResults":
        """Thousands of grids at once: :func:`iqlightning.gridworld.evaluation.play.evaluate_gridworld`."""
        from iqlightning.gridworld.evaluation.play import evaluate_gridworld

        return evaluate_gridworld(policy, self, episodes, seed, **options)

    def references(self, seed: int = 0) -> dict[str, Policy]:
        """The shortest-path expert."""
        from iqlightning.gridworld.evaluation.expert_policy import ShortestPathPolicy

        return {"shortest-path expert": ShortestPathPolicy(seed)}

    @property
    def expert(self) -> "ShortestPathExpert":
        """It takes a shortest path."""
        from iqlightning.gridworld.expert import ShortestPathExpert  # built on this module

        return ShortestPathExpert(self)

    @property
    def legend(self) -> str:
        """Of planes and moves."""
        return "Planes of zeros and ones: walls, player, goal. Actions: 0 up, 1 right, 2 down, 3 left."

    def resized(self, height: int, width: int) -> "GridWorldConfig":
        """Grids of another size, a tenth of them walls."""
        one_size = {"layout": "random", "num_walls": None, "min_size": None, "max_size": None}
        return replace(self, height=height, width=width, wall_density=0.1, **one_size)

    @classmethod
    def report_sections(cls, exhibits: Sequence[Any], episodes: int, seed: int) -> Sequence[tuple[str, str, str]]:
        """Maps, visits, rewards, what success depends on, failures and sample grids."""
        from iqlightning.gridworld.report.sections import sections  # draws, which is slow to import

        return sections(exhibits, episodes, seed)

    def symmetry(self, device: str | torch.device = "cpu") -> GridSymmetry:
        """Turning and mirroring."""
        return GridSymmetry(*self.observation_shape, device=device)

    def gymnasium_spec(self) -> tuple[str, dict[str, Any]]:
        """The id that the package registers, and its arguments; see :meth:`from_gymnasium`."""
        if self.max_size is not None:
            raise UserError(f"the Gymnasium environment '{GYMNASIUM_ID}' has no max_size; leave it out")
        random_walls, random_goal = LEVELS[self.level]
        own = {name: value for name, value in self.to_dict().items() if name not in ("kind", "level", "max_size")}
        return GYMNASIUM_ID, {"random_walls": random_walls, "random_goal": random_goal, **own}

    @classmethod
    def from_gymnasium(cls, kwargs: Mapping[str, Any]) -> "GridWorldConfig":
        """From the arguments of the Gymnasium environment, of which ``split`` and ``render_mode`` say nothing of it."""
        kept = {name: value for name, value in kwargs.items() if name not in ("split", "render_mode")}
        level = cls.level_of(kept.pop("random_walls", True), kept.pop("random_goal", True))
        return cls(level=level, **kept)
