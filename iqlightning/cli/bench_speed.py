"""``bench speed``: this package beside plain loops."""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence

import torch
from rich.console import Console

from iqlightning.checkpoint_files import write_atomically
from iqlightning.cli.counting_bar import counting_bar
from iqlightning.cli.options import Options, fraction, positive
from iqlightning.errors import UserError, unknown

__all__ = ["run"]


def run(arguments: Sequence[str], command: str) -> None:
    """Parses the options, measures, prints a table, writes the file."""
    from iqlightning.analysis.speed.bench import Bench
    from iqlightning.analysis.speed.rows import ROWS
    from iqlightning.analysis.speed.table import as_dict, as_table
    from iqlightning.cli.config_files import config_folder
    from iqlightning.cli.timed_fit import timed_fit

    options = Options(
        command,
        "Measures this package beside plain loops in the same process, taking turns. Ratios are of rates; the spread "
        "is that of the repeats. Rows: " + "; ".join(f"{row.name}: {row.summary}" for row in ROWS.values()) + ".",
    )
    options.add_argument("--rows", help="comma-separated rows; all of them by default", default=",".join(ROWS))
    options.add_argument("--repeats", type=positive, default=5, help="turns of each contender")
    options.add_argument("--scale", type=fraction, default=1.0, help="factor on the work of a turn")
    options.add_argument("--quick", action="store_true", help="two repeats of a tenth of the work: does it run at all")
    options.add_argument(
        "--clock", choices=("cpu", "wall"), default="cpu", help="cpu is disturbed less by what else runs"
    )
    options.add_argument("--json", metavar="FILE", help="write the results here")
    given = options.parse_args(arguments)
    names = [name.strip() for name in given.rows.split(",") if name.strip()]
    for name in names:
        if name not in ROWS:
            raise unknown("row", name, ROWS)
    if not names:
        raise UserError(f"--rows names none; valid: {', '.join(ROWS)}")
    repeats, scale = (2, 0.1 * given.scale) if given.quick else (given.repeats, given.scale)
    _require_space({name: scale * ROWS[name].disk for name in names})
    torch.set_num_threads(1)
    turns = sum(ROWS[name].contenders * (repeats + 1) + 1 for name in names)
    results = []
    with counting_bar("measuring", turns) as progress:
        bench = Bench(timed_fit, repeats, scale, given.clock, progress, config_folder())
        for name in names:
            results += ROWS[name].measure(bench)
    Console().print(as_table(results))
    if given.json is not None:
        content = as_dict(results, clock=given.clock, repeats=repeats, scale=scale)
        write_atomically(given.json, (json.dumps(content, indent=2) + "\n").encode(), what="result file")


def _require_space(needed: Mapping[str, float]) -> None:
    """Before anything is measured, so that no result is lost for want of space."""
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    for name, size in needed.items():
        if size > free:
            raise UserError(
                f"the row {name} writes {size / 1e9:.1f} GB to {folder}, where {free / 1e9:.1f} GB are free; name "
                "other --rows, a smaller --scale, or another folder with the environment variable TMPDIR"
            )
