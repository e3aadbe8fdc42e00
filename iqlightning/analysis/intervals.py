"""Means and interquartile means over seeds with 95% intervals."""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from iqlightning.evaluation.metrics import wilson_interval

__all__ = [
    "Band",
    "Estimate",
    "at_least_wilson",
    "band",
    "estimate",
    "interquartile",
    "interquartile_mean",
    "share",
]

_RESAMPLES = 4000  # of the bootstrap


class Estimate(NamedTuple):
    """A mean with its 95% interval; without one where there is a single value.

    Attributes:
        mean: of the values.
        low: lower end, or None.
        high: upper end, or None.
        number: of values.
    """

    mean: float
    low: float | None
    high: float | None
    number: int


class Band(NamedTuple):
    """A curve over seeds: at each x the mean, and the ends of the interval from three seeds on, of the range for two.

    Student's interval of two values is six times as wide as their distance: true, but no help in a figure.
    """

    x: list[int]
    mean: list[float]
    low: list[float]
    high: list[float]
    seeds: int


def estimate(values: Sequence[float]) -> Estimate:
    """Mean +- t s / sqrt(n), t of Student's distribution with n - 1 degrees of freedom.

    >>> mean, low, high, number = estimate([1.0, 2.0, 3.0])
    >>> mean, round(high, 3)
    (2.0, 4.484)
    """
    mean = statistics.fmean(values)
    number = len(values)
    if number < 2:
        return Estimate(mean, None, None, number)
    half = float(stats.t.ppf(0.975, number - 1)) * statistics.stdev(values) / math.sqrt(number)
    return Estimate(mean, mean - half, mean + half, number)


def share(successes: Sequence[float], episodes: Sequence[int]) -> Estimate:
    """A share over seeds: the interval over seeds, but never narrower than Wilson's over the episodes of one of them.

    Seeds that all reach 100% say nothing about how far below 100% the truth may be; the number of episodes does. Seeds
    are evaluated on the same episodes, so those of several do not add up.
    """
    return at_least_wilson(estimate(successes), min(episodes))


def at_least_wilson(value: Estimate, episodes: int) -> Estimate:
    """An estimate of a share with an interval that is not narrower than Wilson's over so many episodes."""
    low, high = wilson_interval(round(value.mean * episodes), episodes)
    if value.low is not None and value.high is not None:
        low, high = max(0.0, min(low, value.low)), min(1.0, max(high, value.high))
    return value._replace(low=low, high=high)


def interquartile_mean(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """The mean of the middle half of the values, along the last axis; values on its edge count in part.

    It is as robust as the median to seeds that fail or shine, and uses more of the others (Agarwal et al. 2021,
    arXiv 2108.13264, section 4.3). ``scipy.stats.trim_mean`` trims whole values only, which of three seeds are none.

    >>> float(interquartile_mean([0.0, 1.0, 2.0, 9.0]))
    1.5
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64), axis=-1)
    number = ordered.shape[-1]
    edges = np.arange(number + 1) / number
    # how much of the n-th value's share of the line from 0 to 1 lies in the middle half
    weights = np.clip(edges[1:], 0.25, 0.75) - np.clip(edges[:-1], 0.25, 0.75)
    return np.asarray(ordered @ (2.0 * weights))


def interquartile(values: Sequence[float], errors: Sequence[float]) -> Estimate:
    """The interquartile mean over seeds with its 95% percentile bootstrap interval (Agarwal et al. 2021, section 4.1).

    Seeds are drawn with replacement. Each of them is known only from its episodes, so what is drawn is disturbed by the
    standard error that they leave; one seed has the interval of that error alone.
    """
    means, spread = np.asarray(values, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    mean = float(interquartile_mean(means))
    if len(means) == 1:
        half = float(stats.norm.ppf(0.975)) * float(spread[0])
        return Estimate(mean, mean - half, mean + half, 1)
    generator = np.random.default_rng(0)

    def statistic(drawn: np.ndarray, axis: int = -1) -> np.ndarray:
        return interquartile_mean(means[drawn] + spread[drawn] * generator.standard_normal(drawn.shape))

    result = stats.bootstrap(
        (np.arange(len(means)),), statistic, vectorized=True, n_resamples=_RESAMPLES, method="percentile", rng=generator
    )
    low, high = result.confidence_interval
    return Estimate(mean, float(low), float(high), len(means))


def band(curves: Sequence[Sequence[tuple[int, float]]]) -> Band:
    """The mean curve of several seeds where at least two thirds of them have a point."""
    points: dict[int, list[float]] = {}
    for curve in curves:
        for x, y in dict(curve).items():  # a resumed run may have logged a point twice
            points.setdefault(x, []).append(y)
    enough = [x for x in sorted(points) if len(points[x]) >= len(curves) * 2 / 3]
    estimates = [estimate(points[x]) for x in enough]
    low, high = [], []
    for x, each in zip(enough, estimates, strict=True):
        few = len(points[x]) < 3
        low.append(min(points[x]) if few or each.low is None else each.low)
        high.append(max(points[x]) if few or each.high is None else each.high)
    return Band(enough, [each.mean for each in estimates], low, high, len(curves))
