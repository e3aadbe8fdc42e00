"""Outcomes to one row for each group and evaluation, as a table and as JSON."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from iqlightning.analysis.experiments.trial import Outcome
from iqlightning.analysis.intervals import Estimate, at_least_wilson, interquartile
from iqlightning.evaluation.tables import new_table

__all__ = ["Row", "as_dict", "as_table", "rows_of"]


@dataclass(frozen=True)
class Row:
    """A group on an evaluation.

    Attributes:
        group: of trials.
        evaluation: which.
        factors: of the group.
        seeds: in the order of ``each``.
        figures: name to interquartile mean over seeds with its 95% interval; ``success_rate`` never has a narrower one
            than Wilson's over the episodes of one seed.
        each: name to the figure of each seed.
        refused: why the evaluation cannot be, if it cannot.
    """

    group: str
    evaluation: str
    factors: Mapping[str, Any]
    seeds: tuple[int, ...]
    figures: Mapping[str, Estimate]
    each: Mapping[str, tuple[float, ...]]
    refused: str | None = None

    @property
    def main(self) -> str:
        """The figure that counts: the success rate where there is one, elsewhere the mean return."""
        return "success_rate" if "success_rate" in self.figures else "mean_return"


def rows_of(outcomes: Sequence[Outcome]) -> list[Row]:
    """In the order of the outcomes; those that failed are left out."""
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        for evaluation in outcome.figures if outcome.trouble is None else ():
            groups.setdefault((outcome.group, evaluation), []).append(outcome)
    return [_row(group, evaluation, members) for (group, evaluation), members in groups.items()]


def _row(group: str, evaluation: str, outcomes: Sequence[Outcome]) -> Row:
    outcomes = sorted(outcomes, key=lambda outcome: outcome.seed)
    played = [outcome.figures[evaluation] for outcome in outcomes]
    common: dict[str, Any] = {
        "group": group,
        "evaluation": evaluation,
        "factors": outcomes[0].factors,
        "seeds": tuple(outcome.seed for outcome in outcomes),
    }
    if refused := next((each["refused"] for each in played if "refused" in each), None):
        return Row(**common, figures={}, each={}, refused=refused)
    flat = [_numbers(figures) for figures in played]
    # a seed that solves nothing has no ratio of what it solved
    names = list(dict.fromkeys(name for figures in flat for name in figures))
    each = {name: tuple(figures[name] for figures in flat if name in figures) for name in names}
    episodes = [int(figures.get("episodes", 1)) for figures in flat]
    figures = {}
    for name, values in each.items():
        figures[name] = interquartile(values, _errors(name, values, each, episodes))
        if name == "success_rate":
            figures[name] = at_least_wilson(figures[name], min(episodes))
    return Row(**common, figures=figures, each=each)


def _numbers(figures: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """All numbers, those of ``evaluate --truth`` as ``truth.NAME``."""
    numbers: dict[str, float] = {}
    for name, value in figures.items():
        if isinstance(value, Mapping) and name != "env":
            numbers |= _numbers(value, f"{prefix}{name}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            numbers[prefix + name] = float(value)
    return numbers


def _errors(
    name: str, values: Sequence[float], each: Mapping[str, tuple[float, ...]], episodes: Sequence[int]
) -> list[float]:
    """Standard error that a finite number of episodes leaves; 0 where it is not known."""
    if name == "success_rate":
        return [math.sqrt(value * (1 - value) / n) for value, n in zip(values, episodes, strict=True)]
    if name == "mean_return" and "std_return" in each:
        return [std / math.sqrt(n) for std, n in zip(each["std_return"], episodes, strict=True)]
    return [0.0] * len(values)


_PERCENT: Callable[[float], str] = "{:.1%}".format
_SHOWN: dict[str, tuple[str, Callable[[float], str]]] = {
    "success_rate": ("success", _PERCENT),
    "mean_return": ("mean return", "{:.2f}".format),
}


def as_table(title: str, rows: Sequence[Row]) -> Table:
    """Interquartile means over seeds, interval and worst seed of the main figure."""
    main = "success_rate" if any(row.main == "success_rate" and row.figures for row in rows) else "mean_return"
    label, show = _SHOWN[main]
    ratios = {
        heading: name
        for heading, name in (("distance\nratio", "distance_ratio"), ("of the\nsolved", "solved_distance_ratio"))
        if any(name in row.figures for row in rows)
    }
    several = ("worst\nseed", "seeds") if any(len(row.seeds) > 1 for row in rows) else ()
    refusals = dict.fromkeys(row.refused for row in rows if row.refused is not None)
    caption = "\n".join(f"no: {sentence}" for sentence in refusals)
    headings = ("trained", "tested on", label, "95% interval", *ratios, *several)
    table = new_table(title, *headings, words=2, caption=caption)
    for row in rows:
        cells, seeds = ["no", ""], ["", str(len(row.seeds))]
        if row.refused is None:
            value = row.figures[main]
            cells = [show(value.mean), f"{show(value.low or 0.0)} to {show(value.high or 0.0)}"]
            seeds[0] = show(min(row.each[main]))
        more = [f"{row.figures[name].mean:.3f}" if name in row.figures else "" for name in ratios.values()]
        table.add_row(row.group, row.evaluation, *cells, *more, *(seeds if several else ()))
    return table


def as_dict(name: str, rows: Sequence[Row]) -> dict[str, Any]:
    """What ``--json`` writes."""
    return {
        "experiment": name,
        "statistic": "interquartile mean over seeds, 95% percentile bootstrap interval",
        "rows": [
            {
                "group": row.group,
                "evaluation": row.evaluation,
                "factors": dict(row.factors),
                "seeds": list(row.seeds),
                "refused": row.refused,
                "figures": {key: [value.mean, value.low, value.high] for key, value in row.figures.items()},
                "each": {key: list(values) for key, values in row.each.items()},
            }
            for row in rows
        ],
    }
