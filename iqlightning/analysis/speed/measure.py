"""Measuring side by side: contenders take turns, so that whatever else the machine does hits all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

__all__ = ["Bench", "Result", "Row", "Stopwatch", "Timing", "timed"]


class Timing(NamedTuple):
    """Work in some unit (updates, environment steps, episodes), and the processor time it took, of all threads."""

    units: int
    seconds: float

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.units / max(self.seconds, 1e-9)


class Stopwatch:
    """Adds up the processor time between :meth:`start` and :meth:`stop`."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since: float | None = None

    def start(self) -> None:
        """Goes on."""
        if self._since is None:
            self._since = time.process_time()

    def stop(self) -> None:
        """Pauses."""
        if self._since is not None:
            self.seconds += time.process_time() - self._since
            self._since = None


def timed(units: int, work: Callable[[], object]) -> Timing:
    """Measures one call."""
    watch = Stopwatch()
    watch.start()
    work()
    watch.stop()
    return Timing(units, watch.seconds)


@dataclass(frozen=True)
class Result:
    """One line of the table.

    Attributes:
        row: the name by which it is asked for.
        what: what was measured, against what.
        unit: of the values.
        values: one for each repeat.
        rates: medians that the values were made of, by contender.
    """

    row: str
    what: str
    unit: str
    values: tuple[float, ...]
    rates: Mapping[str, float] = field(default_factory=dict)

    @property
    def median(self) -> float:
        """Of the repeats."""
        return statistics.median(self.values)

    def to_dict(self) -> dict[str, Any]:
        """Primitives for a file, with median and spread."""
        return asdict(self) | {"median": self.median, "low": min(self.values), "high": max(self.values)}


@dataclass(frozen=True)
class Bench:
    """How to measure.

    Attributes:
        fit: ``fit(config, updates, skip=...)`` runs the command; handed in, because the command line lies above.
        repeats: turns of each contender.
        scale: factor on the amount of work of a turn; 1 takes about a second on a laptop.
        progress: called with 1 after each turn.
    """

    fit: Callable[..., Timing]
    repeats: int
    scale: float
    progress: Callable[[int], None]

    def many(self, count: int) -> int:
        """An amount of work, scaled."""
        return max(1, round(count * self.scale))

    def race(self, contenders: Mapping[str, Callable[[], Timing]]) -> dict[str, list[Timing]]:
        """Runs each contender once to warm up, then all of them in turn; the order is turned each time."""
        timings: dict[str, list[Timing]] = {name: [] for name in contenders}
        for repeat in range(self.repeats + 1):
            for name in contenders if repeat % 2 else reversed(list(contenders)):
                timing = contenders[name]()
                self.progress(1)
                if repeat:
                    timings[name].append(timing)
        return timings

    def against(self, row: str, what: str, contenders: Mapping[str, Callable[[], Timing]]) -> list[Result]:
        """The ratio of the rates of two contenders, repeat by repeat."""
        rates = {name: [each.rate for each in timings] for name, timings in self.race(contenders).items()}
        values = tuple(ours / theirs for ours, theirs in zip(*rates.values(), strict=True))
        return [Result(row, what, "x", values, {name: statistics.median(each) for name, each in rates.items()})]

    def rates(self, row: str, what: str, contenders: Mapping[str, Callable[[], Timing]]) -> list[Result]:
        """The rate of each contender, whose names go into ``what``."""
        return [
            Result(row, what.format(name), "/s", tuple(each.rate for each in timings))
            for name, timings in self.race(contenders).items()
        ]


class Row(NamedTuple):
    """A name, what it is about, how many contenders take turns in it, and the function that measures it."""

    name: str
    summary: str
    contenders: int
    measure: Callable[[Bench], list[Result]]
