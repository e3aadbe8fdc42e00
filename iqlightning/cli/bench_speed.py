"""``bench speed``: this package beside plain loops."""

import json
from collections.abc import Sequence
from typing import Any

import torch
from rich.table import Table
from rich.text import Text

from iqlightning.analysis.speed import actor_critic_rows, rows
from iqlightning.analysis.speed.measure import Bench, Result
from iqlightning.cli.counting_bar import counting_bar
from iqlightning.cli.options import Options, console_beside, positive
from iqlightning.cli.timed_fit import timed_fit
from iqlightning.errors import UserError, unknown
from iqlightning.evaluation.tables import new_table
from iqlightning.files import write_atomically
from iqlightning.gridworld.experiments import speed
from iqlightning.provenance import machine

__all__ = ["run"]


def run(arguments: Sequence[str], command: str) -> None:
    """Parses the options, measures, prints a table, writes the file."""
    known = {row.name: row for row in (*rows.ROWS, *actor_critic_rows.ROWS, *speed.ROWS)}
    options = Options(
        command,
        "Measures this package beside plain loops in the same process, taking turns, in processor time. Ratios are of "
        "rates; the spread is that of the repeats. Rows: "
        + "; ".join(f"{row.name}: {row.summary}" for row in known.values())
        + ".",
    )
    options.add_argument("--rows", help="comma-separated rows; all of them by default", default=",".join(known))
    options.add_argument("--repeats", type=positive, default=5, help="turns of each contender")
    options.add_argument("--quick", action="store_true", help="two repeats of a tenth of the work: does it run at all")
    options.add_output("--json", what="result file", metavar="FILE", help="write the results here")
    given = options.parse_args(arguments)
    names = [name.strip() for name in given.rows.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise unknown("row", name, known)
    if not names:
        raise UserError(f"--rows names none; valid: {', '.join(known)}")
    repeats, scale = (2, 0.1) if given.quick else (given.repeats, 1.0)
    torch.set_num_threads(1)
    turns = sum(known[name].contenders * (repeats + 1) for name in names)
    with counting_bar("measuring", turns) as progress:
        bench = Bench(timed_fit, repeats, scale, progress)
        results = [result for name in names for result in known[name].measure(bench)]
    console_beside(given.json).print(_table(results))
    if given.json is not None:
        content: dict[str, Any] = {
            "generator": options.mark,
            "machine": _machine(),
            "torch": torch.__version__,
            "repeats": repeats,
            "scale": scale,
        }
        content["results"] = [each.to_dict() for each in results]
        write_atomically(given.json, (json.dumps(content, indent=2) + "\n").encode(), what="result file")


def _table(results: Sequence[Result]) -> Table:
    """One line a result: median, the lowest and highest repeat."""
    table = new_table(f"speed, {_machine()}", "what", "median", "spread")
    for result in results:
        spread = f"{_number(min(result.values))}-{_number(max(result.values))}" if len(result.values) > 1 else ""
        table.add_row(Text(result.what), f"{_number(result.median)} {result.unit}", spread)
    return table


def _machine() -> str:
    """The processor, cores and threads in use."""
    found = machine()
    return f"{found['processor']}, {found['cores']} cores, torch with {found['threads']} thread"


def _number(value: float) -> str:
    if abs(value) >= 1e5:
        return f"{value / 1e6:.3g}M"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
