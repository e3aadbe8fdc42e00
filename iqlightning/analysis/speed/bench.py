"""How the benchmark measures, and what a row of it is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from iqlightning.analysis.speed.measure import Result, Timing, ratios, take_turns

__all__ = ["HIDDEN", "Bench", "Fit", "Row", "imitation_config"]

Fit = Callable[..., Timing]
"""``fit(config, updates, skip=...)``: runs the command with everything on."""

#: Layers of the perceptrons that are measured.
HIDDEN = (128, 128)


@dataclass(frozen=True)
class Bench:
    """How to measure.

    Attributes:
        fit: runs ``fit``; handed in, because the command line lies above this package.
        repeats: turns of each contender.
        scale: factor on the amount of work of a turn; 1 takes about a second on a laptop.
        clock: cpu or wall.
        progress: called with 1 after each turn.
    """

    fit: Fit
    repeats: int = 5
    scale: float = 1.0
    clock: str = "cpu"
    progress: Callable[[int], None] = lambda count: None

    def many(self, count: int) -> int:
        """An amount of work, scaled."""
        return max(1, round(count * self.scale))

    def race(self, contenders: Mapping[str, Callable[[], Timing]]) -> dict[str, list[Timing]]:
        """Lets contenders take turns."""
        return take_turns(contenders, self.repeats, self.progress)

    def against(self, row: str, what: str, timings: Mapping[str, list[Timing]], ours: str, theirs: str) -> Result:
        """The ratio of two rates as a line of the table."""
        values, rates = ratios(timings, ours, theirs, self.clock)
        return Result(row, what, "x", values, rates)

    def rate(self, row: str, what: str, timings: list[Timing], unit: str) -> Result:
        """A rate as a line of the table."""
        return Result(row, what, unit, tuple(each.rate(self.clock) for each in timings))


@dataclass(frozen=True)
class Row:
    """A name, what it is about, how many contenders take turns in it, and the function that measures it."""

    name: str
    summary: str
    contenders: int
    measure: Callable[[Bench], list[Result]]


def imitation_config(path: str, encoder: Any, model: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """IQ-Learn as the plain loop does it: chi2, value term on expert states, soft value, Adam, batches of 64.

    Args:
        path: of demonstrations.
        encoder: class path and arguments.
        model: settings beyond these.
        data: settings beyond these.
    """
    learner = {"encoder": encoder, "divergence": "Chi2", "value": "SoftValue", **model}
    return {
        "model": {"class_path": "IQLearn", "init_args": learner},
        "data": {"class_path": "ImitationData", "init_args": {"path": path, "batch_size": 64, **data}},
        "checkpoint": {"monitor": "val/mean_return", "mode": "max"},
    }
