"""``bench speed``: this package beside plain loops."""

import json
from collections.abc import Sequence

import torch
from rich.console import Console

from iqlightning.checkpoint_files import write_atomically
from iqlightning.cli.counting_bar import counting_bar
from iqlightning.cli.options import Options, above_zero, positive
from iqlightning.errors import UserError, unknown

__all__ = ["run"]


def run(arguments: Sequence[str], command: str) -> None:
    """Parses the options, measures, prints a table, writes the file."""
    from iqlightning.analysis.speed import rows
    from iqlightning.analysis.speed.bench import Bench
    from iqlightning.analysis.speed.table import as_dict, as_table
    from iqlightning.cli.timed_fit import timed_fit
    from iqlightning.gridworld.experiments import speed

    known = {row.name: row for row in (*rows.ROWS, *speed.ROWS)}
    options = Options(
        command,
        "Measures this package beside plain loops in the same process, taking turns. Ratios are of rates; the spread "
        "is that of the repeats. Rows: " + "; ".join(f"{row.name}: {row.summary}" for row in known.values()) + ".",
    )
    options.add_argument("--rows", help="comma-separated rows; all of them by default", default=",".join(known))
    options.add_argument("--repeats", type=positive, default=5, help="turns of each contender")
    options.add_argument("--scale", type=above_zero, default=1.0, help="factor on the work of a turn")
    options.add_argument("--quick", action="store_true", help="two repeats of a tenth of the work: does it run at all")
    options.add_argument(
        "--clock", choices=("cpu", "wall"), default="cpu", help="cpu is disturbed less by what else runs"
    )
    options.add_argument("--json", metavar="FILE", help="write the results here")
    given = options.parse_args(arguments)
    names = [name.strip() for name in given.rows.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise unknown("row", name, known)
    if not names:
        raise UserError(f"--rows names none; valid: {', '.join(known)}")
    repeats, scale = (2, 0.1 * given.scale) if given.quick else (given.repeats, given.scale)
    torch.set_num_threads(1)
    turns = sum(known[name].contenders * (repeats + 1) for name in names)
    results = []
    with counting_bar("measuring", turns) as progress:
        bench = Bench(timed_fit, repeats, scale, given.clock, progress)
        for name in names:
            results += known[name].measure(bench)
    Console().print(as_table(results))
    if given.json is not None:
        content = as_dict(results, clock=given.clock, repeats=repeats, scale=scale)
        write_atomically(given.json, (json.dumps(content, indent=2) + "\n").encode(), what="result file")
