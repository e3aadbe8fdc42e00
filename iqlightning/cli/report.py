"""``report RUN...``: one self-contained HTML file about a set of runs."""

from collections.abc import Sequence

import torch
from rich.console import Console

from iqlightning.analysis.report.build import build_report
from iqlightning.checkpoint_files import write_atomically
from iqlightning.cli.options import Options, natural, positive

__all__ = ["run"]


def run(arguments: Sequence[str], command: str) -> None:
    """Parses the options, looks at the runs, writes the file."""
    given = _options(command).parse_args(arguments)
    torch.set_num_threads(1)
    with Console(stderr=True).status("reading runs") as status:
        html = build_report(
            given.runs,
            title=given.title,
            episodes=given.episodes,
            seed=given.seed,
            progress=lambda label: status.update(f"looking at {label}"),
        )
    write_atomically(given.output, html.encode(), what="report")
    Console().print(f"wrote {given.output} ({len(html.encode()) / 1000:,.0f} kB)", highlight=False, soft_wrap=True)


def _options(command: str) -> Options:
    options = Options(
        command,
        "Writes one HTML file about runs: settings that differ, final figures and curves with intervals over seeds, "
        "value, policy and reward maps beside the exact optimum, visits, failures and sample grids. Runs that differ "
        "in their seeds alone are taken together.",
        trusting=True,
    )
    options.add_argument("runs", metavar="RUN", nargs="+", help="a run's folder, or a folder that holds runs")
    options.add_argument("--output", default="report.html", help="the file to write")
    options.add_argument("--title", help="heading of the page; by default the names of the runs")
    options.add_argument("--episodes", type=positive, default=1000, help="grids that each checkpoint plays")
    options.add_argument("--seed", type=natural, default=0, help="of these grids")
    return options
