"""``report RUN...``: one self-contained HTML file about a set of runs."""

import sys
from collections.abc import Sequence

import torch
from rich.console import Console

from iqlightning.analysis.report.build import FEW, MANY, build_report
from iqlightning.analysis.report.figure_files import require_own_folder
from iqlightning.cli.options import Options, console_beside, natural, positive
from iqlightning.files import write_atomically

__all__ = ["run"]


def run(arguments: Sequence[str], command: str) -> None:
    """Parses the options, looks at the runs, writes the file."""
    options = _options(command)
    given = options.parse_args(arguments)
    if given.figures is not None:
        require_own_folder(given.figures, options.mark, force=given.force)
    torch.set_num_threads(1)
    with Console(stderr=True).status("reading runs") as status:
        html = build_report(
            given.runs,
            title=given.title,
            generator=options.mark,
            left_out=lambda sentence: print(f"iqlightning: {sentence}", file=sys.stderr),
            episodes=given.episodes,
            seed=given.seed,
            figures=given.figures,
            progress=lambda label: status.update(f"looking at {label}"),
        )
    write_atomically(given.output, html.encode(), what="report")
    figures = "" if given.figures is None else f", and its charts to {given.figures}"
    console_beside(given.output).print(
        f"wrote {given.output} ({len(html.encode()) / 1000:,.0f} kB){figures}", highlight=False, soft_wrap=True
    )


def _options(command: str) -> Options:
    options = Options(
        command,
        "Writes one HTML file about runs: settings that differ, final figures and curves with intervals over seeds, "
        "returns, lengths and an episode of each policy; on GridWorld value, policy and reward maps beside the exact "
        "optimum, visits, failures and sample grids. Runs that differ in their seeds alone are taken together.",
        trusting=True,
    )
    options.add_argument("runs", metavar="RUN", nargs="+", help="a run's folder, or a folder that holds runs")
    options.add_output("--output", what="report", metavar="FILE", default="report.html", help="the file to write")
    options.add_argument("--title", help="heading of the page; by default the names of the runs")
    options.add_argument(
        "--figures",
        metavar="DIR",
        help="write curves, final figures and episodes here as well, as PDF, SVG and CSV for a paper; maps, failures "
        "and animations are in the report alone",
    )
    many = f"episodes that each checkpoint plays; None: {MANY} on GridWorld, {FEW} elsewhere"
    options.add_argument("--episodes", type=positive, default=None, help=many)
    options.add_argument("--seed", type=natural, default=0, help="of these episodes")
    return options
