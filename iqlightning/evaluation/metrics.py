"""How well episodes went: pure functions of per-episode arrays, and thin torchmetrics shells that sum over ranks.

Moves of a failed episode count as the move limit, so that failing is never cheaper than arriving late.
SPL is Anderson et al. 2018, "On Evaluation of Embodied Navigation Agents" (https://arxiv.org/abs/1807.06757), eq. 1;
the interval is Wilson 1927, "Probable inference, the law of succession, and statistical inference".
"""

import math
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from scipy.stats import binomtest
from torch import Tensor
from torchmetrics import Metric

__all__ = ["EpisodeMetrics", "ReturnMetrics", "episode_metrics", "wilson_interval"]


def wilson_interval(successes: int, episodes: int) -> tuple[float, float]:
    """Wilson's 95% score interval for a share; unlike mean +- 1.96 s it stays right at 0% and 100%.

    Args:
        successes: how many of the episodes succeeded.
        episodes: with none at all nothing is known and the interval is (0, 1).

    Raises:
        ValueError: unless 0 <= successes <= episodes.

    >>> low, high = wilson_interval(995, 1000)
    >>> round(low, 4), round(high, 4)
    (0.9883, 0.9979)
    """
    if not 0 <= successes <= episodes:
        raise ValueError(f"successes must lie between 0 and the {episodes} episodes, got {successes}")
    if episodes == 0:
        return 0.0, 1.0
    interval = binomtest(successes, episodes).proportion_ci(method="wilson")
    # at 0% and 100% one end is exact in theory; rounding may push it to either side of the share
    share = successes / episodes
    return max(0.0, min(float(interval.low), share)), min(1.0, max(float(interval.high), share))


def episode_sums(
    success: Bool[Tensor, " episodes"],
    moves: Int[Tensor, " episodes"],
    shortest: Int[Tensor, " episodes"],
    manhattan: Int[Tensor, " episodes"],
    returns: Float[Tensor, " episodes"],
) -> dict[str, Tensor]:
    """What to add up over episodes, in float64: the means of :func:`episode_metrics` times the number of episodes.

    Args:
        success: whether the goal was reached.
        moves: moves made, the move limit where the episode failed.
        shortest: moves of the shortest path around the walls, at least 1.
        manhattan: |rows| + |columns| from start to goal, at least 1.
        returns: undiscounted sums of the true rewards.
    """
    made, best = moves.double(), shortest.double()
    return {
        "success_rate": success.double().sum(),
        "distance_ratio": (made / best).sum(),
        "manhattan_ratio": (made / manhattan.double()).sum(),
        "spl": (success.double() * best / torch.maximum(made, best)).sum(),
        "mean_return": returns.double().sum(),
    }


def episode_metrics(
    success: Bool[Tensor, " episodes"],
    moves: Int[Tensor, " episodes"],
    shortest: Int[Tensor, " episodes"],
    manhattan: Int[Tensor, " episodes"],
    returns: Float[Tensor, " episodes"],
) -> dict[str, float]:
    """The figures of a set of GridWorld episodes.

    - ``success_rate``: share of episodes that reach the goal within the move limit
    - ``distance_ratio``: mean over episodes of moves / shortest (a mean of ratios, not a ratio of means)
    - ``manhattan_ratio``: the same over |rows| + |columns|, the study's own figure
    - ``spl``: mean over episodes of success * shortest / max(moves, shortest)
    - ``mean_return``: mean undiscounted return
    - ``episodes``: how many

    Args are those of :func:`episode_sums`. Without episodes every mean is nan.
    """
    episodes = len(success)
    sums = episode_sums(success, moves, shortest, manhattan, returns)
    means = {name: (total / episodes).item() if episodes else math.nan for name, total in sums.items()}
    return means | {"episodes": episodes}


class EpisodeMetrics(Metric):
    """:func:`episode_metrics` over all updates and all ranks, however unevenly the episodes are shared out.

    States are sums, so that the result is the same on one process and on several (up to float64 rounding).
    """

    full_state_update = False
    higher_is_better = None
    is_differentiable = False

    NAMES = ("success_rate", "distance_ratio", "manhattan_ratio", "spl", "mean_return")

    episodes: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in self.NAMES:
            self.add_state(f"{name}_sum", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("episodes", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self,
        success: Bool[Tensor, " episodes"],
        moves: Int[Tensor, " episodes"],
        shortest: Int[Tensor, " episodes"],
        manhattan: Int[Tensor, " episodes"],
        returns: Float[Tensor, " episodes"],
    ) -> None:
        """Adds episodes; see :func:`episode_sums`."""
        for name, total in episode_sums(success, moves, shortest, manhattan, returns).items():
            state = getattr(self, f"{name}_sum")
            state += total.to(state.device)
        self.episodes += len(success)

    def compute(self) -> dict[str, Tensor]:
        """0-dimensional float64 tensors of every name in :func:`episode_metrics`; nan where there were no episodes."""
        means = {name: getattr(self, f"{name}_sum") / self.episodes for name in self.NAMES}
        return means | {"episodes": self.episodes.double()}


class ReturnMetrics(Metric):
    """Mean and standard deviation (over episodes, n - 1) of the return, and the mean length, over all ranks.

    For environments that know neither goal nor shortest path. The deviation comes from the sum of squares, exact enough
    in float64.
    """

    full_state_update = False
    higher_is_better = None
    is_differentiable = False

    total: Tensor
    squares: Tensor
    lengths: Tensor
    episodes: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("total", "squares", "lengths"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("episodes", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, returns: Float[Tensor, " episodes"], lengths: Int[Tensor, " episodes"]) -> None:
        """Adds episodes: their undiscounted returns and their lengths in moves."""
        returns = returns.double().to(self.total.device)
        self.total += returns.sum()
        self.squares += (returns * returns).sum()
        self.lengths += lengths.double().sum().to(self.lengths.device)
        self.episodes += len(returns)

    def compute(self) -> dict[str, Tensor]:
        """``mean_return``, ``std_return``, ``mean_length``, ``episodes``: 0-dimensional float64."""
        episodes = self.episodes.double()
        mean = self.total / episodes
        variance = (self.squares - self.total * mean) / (episodes - 1).clamp(min=1.0)
        return {
            "mean_return": mean,
            "std_return": variance.clamp(min=0.0).sqrt(),
            "mean_length": self.lengths / episodes,
            "episodes": episodes,
        }
