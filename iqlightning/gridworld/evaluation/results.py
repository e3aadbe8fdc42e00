"""The figures of GridWorld episodes.

SPL is Anderson et al. 2018, "On Evaluation of Embodied Navigation Agents" (https://arxiv.org/abs/1807.06757), eq. 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from iqlightning.evaluation.metrics import wilson_interval
from iqlightning.gridworld.game.layouts import Layouts
from iqlightning.types import EpisodeResults

__all__ = ["GridWorldResults"]


@dataclass(frozen=True)
class GridWorldResults(EpisodeResults):
    """What became of E GridWorld episodes, in the order of ``episodes``.

    Moves of a failed episode count as the move limit, so that failing is never cheaper than arriving late. The figures:

    - ``success_rate``: share of episodes that reach the goal within the move limit
    - ``distance_ratio``: mean over episodes of moves / shortest (a mean of ratios, not a ratio of means)
    - ``manhattan_ratio``: the same over |rows| + |columns|, the study's own figure
    - ``spl``: mean over episodes of success * shortest / max(moves, shortest)
    - ``mean_return``: mean undiscounted return
    - ``episodes``: how many

    Attributes:
        episodes: (E,) int64, each episode's number: with the seed and the split it names the grid.
        success: (E,) bool, the goal was reached within the move limit.
        moves: (E,) int64, the move limit where the episode failed.
        shortest: (E,) int64, moves of the shortest path around the walls, at least 1.
        manhattan: (E,) int64, |rows| + |columns| from start to goal, at least 1.
        returns: (E,) float32, undiscounted.
        layouts: walls, start and goal of each grid.
        paths: (E, move limit + 1) int16 flat cells visited, -1 after the end; None unless asked for. The path of a
            greedy policy that failed ends where it closes its loop.
    """

    episodes: Int[Tensor, " episodes"]
    success: Bool[Tensor, " episodes"]
    moves: Int[Tensor, " episodes"]
    shortest: Int[Tensor, " episodes"]
    manhattan: Int[Tensor, " episodes"]
    returns: Float[Tensor, " episodes"]
    layouts: Layouts
    paths: Int[Tensor, "episodes visited"] | None = None

    SUMS: ClassVar = ("success_rate", "distance_ratio", "manhattan_ratio", "spl", "mean_return", "episodes")

    def metrics(self) -> dict[str, float]:
        """The figures above of these episodes alone (no other rank's); without episodes every mean is nan.

        With ``solved_distance_ratio``, the mean of moves / shortest over the successful ones; absent if there are none.
        """
        means = {name: mean.item() for name, mean in self.of_sums(self.summed()).items()}
        figures = means | {"episodes": len(self.success)}
        if self.success.any():
            ratios = self.moves[self.success].double() / self.shortest[self.success].double()
            figures["solved_distance_ratio"] = ratios.mean().item()
        return figures

    def intervals(self) -> dict[str, tuple[float, float]]:
        """Wilson's of the success rate."""
        return {"success_rate": wilson_interval(int(self.success.sum()), len(self.success))}

    def summed(self) -> dict[str, Tensor]:
        """The means times the number of episodes, and that number."""
        made, best = self.moves.double(), self.shortest.double()
        return {
            "success_rate": self.success.double().sum(),
            "distance_ratio": (made / best).sum(),
            "manhattan_ratio": (made / self.manhattan.double()).sum(),
            "spl": (self.success.double() * best / torch.maximum(made, best)).sum(),
            "mean_return": self.returns.double().sum(),
            "episodes": made.new_tensor(len(made)),
        }

    @staticmethod
    def of_sums(sums: dict[str, Tensor]) -> dict[str, Tensor]:
        """The means, and ``episodes``."""
        episodes = sums["episodes"]
        return {name: total / episodes for name, total in sums.items() if name != "episodes"} | {"episodes": episodes}

    @staticmethod
    def concatenate(parts: Sequence["GridWorldResults"]) -> "GridWorldResults":
        """One after the other; all of them have paths or none has."""

        def joined(name: str) -> Tensor:
            return torch.cat([getattr(part, name) for part in parts])

        names = ("episodes", "success", "moves", "shortest", "manhattan", "returns")
        return GridWorldResults(
            **{name: joined(name) for name in names},
            layouts=Layouts.concatenate(part.layouts for part in parts),
            paths=joined("paths") if parts[0].paths is not None else None,
        )
