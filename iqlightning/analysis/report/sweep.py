"""What a search over settings found: every trial, and the figure against each setting."""

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from iqlightning.analysis.charts import scatter
from iqlightning.analysis.report.embed import chart_html
from iqlightning.analysis.report.page import Section
from iqlightning.errors import UserError

__all__ = ["SWEEP_FILE", "best_first", "show", "sweep_section"]

SWEEP_FILE = "sweep.json"


def sweep_section(folder: Path) -> Section:
    """Reads what ``bench sweep`` wrote into its folder.

    Raises:
        UserError: if the file cannot be read.
    """
    file = folder / SWEEP_FILE
    try:
        sweep = json.loads(file.read_text(encoding="utf-8"))
        body = _body(sweep)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f"'{file}' is not the record of a sweep: {str(error).splitlines()[0]}") from error
    return Section(f"sweep-{escape(folder.name)}", f"Sweep: {folder.name}", body)


def _body(sweep: dict[str, Any]) -> str:
    monitor, mode = str(sweep["monitor"]), str(sweep["mode"])
    trials, spaces = sweep["trials"], sweep["spaces"]
    complete = [each for each in trials if each["state"] == "complete"]
    stopped = sum(each["state"] == "pruned" for each in trials)
    failed = sum(each["state"] == "fail" for each in trials)
    better = "smaller" if mode == "min" else "larger"
    sentence = (
        f"{len(trials)} trials of {sweep['config']}, judged by {monitor} ({better} is better): {len(complete)} came to "
        f"their end, {stopped} were stopped because they were worse than the median of earlier ones (their figure is "
        f"the one they had then), {failed} failed."
    )
    parts = [f"<p>{escape(sentence)}</p>"]
    if complete:
        best = (min if mode == "min" else max)(complete, key=lambda each: each["value"])
        chosen = ", ".join(f"{_short(key)} {show(value)}" for key, value in best["params"].items())
        spread = [each["value"] for each in complete]
        said = f"Best is trial {best['number']} with {chosen}: {monitor} {best['value']:.4g}; all those that ended lie "
        said += (
            f"between {min(spread):.4g} and {max(spread):.4g}. One seed each: differences as small as those between "
        )
        said += "seeds mean nothing."
        parts.append(f"<p>{escape(said)}</p>")
        charts = []
        for key, (kind, _) in spaces.items():
            points = [
                (value if kind == "choice" else float(value), float(each["value"]))
                for each in complete
                if (value := each["params"].get(key)) is not None
            ]
            if points:
                settings, values = zip(*points, strict=True)
                chart = chart_html(
                    scatter(settings, values, _short(key), log_x=kind == "log"), f"{monitor} against {key}"
                )
                caption = f"<b>{escape(_short(key))}</b>. {escape(monitor)} of the trials that came to their end."
                charts.append(f"<figure>{chart}<figcaption>{caption}</figcaption></figure>")
        parts.append(f'<div class="charts">{"".join(charts)}</div>')
    parts.append(_table(trials, list(spaces), monitor, mode))
    return "".join(parts)


def _table(trials: list[dict[str, Any]], keys: list[str], monitor: str, mode: str) -> str:
    heads = "".join(f'<th class="n">{escape(_short(key))}</th>' for key in keys)
    lines = []
    for place, each in enumerate(best_first(trials, mode)):
        cells = "".join(f'<td class="n">{escape(show(each["params"].get(key, "")))}</td>' for key in keys)
        ended = each["state"] == "complete"
        mark = " best" if place == 0 and ended else ""
        other = "" if ended else ' class="other"'
        lines.append(
            f'<tr{other}><td class="name">trial {each["number"]}</td>{cells}'
            f'<td class="n{mark}">{show(each["value"])}</td><td>{escape(each["state"])}</td></tr>'
        )
    return (
        f'<div class="scroll"><table><tr><th class="name">trial</th>{heads}<th class="n">{escape(monitor)}</th>'
        f"<th>state</th></tr>{''.join(lines)}</table></div>"
    )


def _short(key: str) -> str:
    """Last part of a dotted key."""
    return key.rpartition(".")[2]


def best_first(trials: Sequence[dict[str, Any]], mode: str) -> list[dict[str, Any]]:
    """Trials that came to their end, the best one first, then the others: a stopped one has the value it had then.

    Args:
        trials: ``number``, ``params``, ``value`` and ``state`` each.
        mode: min or max.
    """
    sign = 1.0 if mode == "min" else -1.0

    def order(each: dict[str, Any]) -> tuple[bool, bool, float, int]:
        value = each["value"]
        return each["state"] != "complete", value is None, sign * (value or 0.0), each["number"]

    return sorted(trials, key=order)


def show(value: Any) -> str:
    """A setting or figure, short; None is nothing."""
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
