"""How the benchmark measures: the repeats, the amount of work, the clock."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from iqlightning.analysis.speed.measure import Result, Timing, ratios, take_turns

__all__ = ["Bench", "Fit"]

Fit = Callable[..., Timing]
"""``fit(config, updates, parts=None)``: runs the command with everything on."""


@dataclass(frozen=True)
class Bench:
    """How to measure.

    Attributes:
        fit: runs ``fit``; handed in, because the command line lies above this package.
        repeats: turns of each contender.
        scale: factor on the amount of work of a turn; 1 takes about a second on a laptop.
        clock: cpu or wall.
        progress: called with 1 after each turn.
        configs: the folder of configurations.
    """

    fit: Fit
    repeats: int = 5
    scale: float = 1.0
    clock: str = "cpu"
    progress: Callable[[int], None] = lambda count: None
    configs: Path = Path("configs")

    def many(self, count: int) -> int:
        """An amount of work, scaled."""
        return max(1, round(count * self.scale))

    def config(self, name: str) -> Path:
        """A configuration that comes with the package."""
        return (self.configs / f"{name}.yaml").resolve()

    def steps(self, count: int) -> list[str]:
        """Options for a run of so many updates, scaled."""
        return ["--trainer.max_steps", str(max(40, self.many(count)))]

    def race(self, contenders: dict[str, Callable[[], Timing]]) -> dict[str, list[Timing]]:
        """Lets contenders take turns."""
        return take_turns(contenders, self.repeats, self.progress)

    def against(
        self, row: str, what: str, found: dict[str, list[Timing]], pair: tuple[str, str], must: float, aim: float
    ) -> Result:
        """One ratio as a line of the table."""
        values, rates = ratios(found, *pair, self.clock)
        return Result(row, what, "x", values, must, aim, rates=rates)
