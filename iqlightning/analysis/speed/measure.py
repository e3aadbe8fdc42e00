"""Measuring side by side: contenders take turns, so that whatever else the machine does hits all of them alike."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Result", "Stopwatch", "Timing", "ratios", "take_turns", "timed"]


@dataclass(frozen=True)
class Timing:
    """How long some work took.

    Attributes:
        units: of work: updates, environment steps, transitions.
        cpu: seconds of processor time of this process, all threads together.
        wall: seconds on the clock.
    """

    units: int
    cpu: float
    wall: float

    def rate(self, clock: str) -> float:
        """Units a second of ``clock``, cpu or wall."""
        return self.units / max(getattr(self, clock), 1e-9)


class Stopwatch:
    """Adds up the time between :meth:`start` and :meth:`stop`, on both clocks."""

    def __init__(self) -> None:
        self.cpu = self.wall = 0.0
        self._since: tuple[float, float] | None = None

    def start(self) -> None:
        """Goes on."""
        if self._since is None:
            self._since = time.process_time(), time.perf_counter()

    def stop(self) -> None:
        """Pauses."""
        if self._since is not None:
            self.cpu += time.process_time() - self._since[0]
            self.wall += time.perf_counter() - self._since[1]
            self._since = None

    def timing(self, units: int) -> Timing:
        """What was measured so far."""
        return Timing(units, self.cpu, self.wall)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measures a block."""
        self.start()
        try:
            yield
        finally:
            self.stop()


def timed(units: int, work: Callable[[], object]) -> Timing:
    """Measures one call."""
    watch = Stopwatch()
    with watch.running():
        work()
    return watch.timing(units)


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

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest repeat."""
        return min(self.values), max(self.values)

    def to_dict(self) -> dict[str, Any]:
        """Primitives for a file."""
        low, high = self.spread
        own = {"rates": dict(self.rates), "values": list(self.values)}
        return asdict(self) | own | {"median": self.median, "low": low, "high": high}


def take_turns(
    contenders: Mapping[str, Callable[[], Timing]], repeats: int, progress: Callable[[int], None]
) -> dict[str, list[Timing]]:
    """Runs each contender once to warm up, then all of them in turn, ``repeats`` times; the order is turned each time.

    Args:
        contenders: each does its work and says how long that took.
        repeats: how often.
        progress: called with 1 after each piece of work.
    """
    for contender in contenders.values():
        contender()
        progress(1)
    timings: dict[str, list[Timing]] = {name: [] for name in contenders}
    names = list(contenders)
    for repeat in range(repeats):
        for name in names if repeat % 2 == 0 else reversed(names):
            timings[name].append(contenders[name]())
            progress(1)
    return timings


def ratios(
    timings: Mapping[str, list[Timing]], ours: str, theirs: str, clock: str
) -> tuple[tuple[float, ...], dict[str, float]]:
    """The ratio of the two rates for each repeat, and the median rates."""
    rates = {name: [each.rate(clock) for each in timings[name]] for name in (ours, theirs)}
    pairs = zip(rates[ours], rates[theirs], strict=True)
    return tuple(our / their for our, their in pairs), {name: statistics.median(rates[name]) for name in rates}
