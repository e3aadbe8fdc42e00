"""Figures of episodes that are shared out over processes, and the interval of a share.

The interval is Wilson 1927, "Probable inference, the law of succession, and statistical inference".
"""

from typing import Any

import torch
from scipy.stats import binomtest
from torch import Tensor
from torchmetrics import Metric

from iqlightning.types import EpisodeResults

__all__ = ["EpisodeMetrics", "metrics_over_processes", "wilson_interval"]


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


class EpisodeMetrics(Metric):
    """The figures of all episodes of all updates and all processes, however unevenly these share them out.

    States are the sums of :meth:`~iqlightning.types.EpisodeResults.summed` in float64, so that the figures are the same
    on one process and on several (up to rounding).
    """

    full_state_update = False
    higher_is_better = None
    is_differentiable = False

    def __init__(self, results: type[EpisodeResults], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.results = results
        for name in results.SUMS:
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, results: EpisodeResults) -> None:
        """Adds the episodes of one process."""
        for name, total in results.summed().items():
            state = getattr(self, name)
            state += total.to(state.device)

    def compute(self) -> dict[str, Tensor]:
        """0-dimensional float64 figures; nan where there were no episodes."""
        return self.results.of_sums({name: getattr(self, name) for name in self.results.SUMS})


def metrics_over_processes(results: EpisodeResults, device: torch.device) -> dict[str, Tensor]:
    """The figures of the episodes of all processes, each of which calls this with its own.

    Args:
        results: of this process.
        device: where processes gather, as NCCL does on its GPU alone.
    """
    # sums need float64, which the device called mps has not
    metrics = EpisodeMetrics(type(results)).to("cpu" if device.type == "mps" else device)
    metrics.update(results)
    return metrics.compute()
