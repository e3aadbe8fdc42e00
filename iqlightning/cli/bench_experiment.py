"""``bench EXPERIMENT``: runs what an experiment lists, then a table, pictures and, for some, a report."""

import argparse
import io
import json
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from iqlightning.analysis.experiments.experiment import Experiment
from iqlightning.analysis.experiments.reference import reference_outcomes
from iqlightning.analysis.experiments.runner import run_trials
from iqlightning.analysis.experiments.table import as_dict, as_table, rows_of
from iqlightning.analysis.experiments.trial import Outcome, OutcomeFile, Trial
from iqlightning.cli.config_files import config_folder, with_bases
from iqlightning.cli.evaluate import evaluate
from iqlightning.cli.one_process import one_process
from iqlightning.cli.options import Options, console_beside, natural, positive
from iqlightning.cli.plain_console import PlainConsole
from iqlightning.cli.trial_process import Launcher
from iqlightning.errors import UserError
from iqlightning.files import STDOUT, write_atomically

__all__ = ["run"]

_WIDTH = 130


def run(experiment: Experiment, arguments: Sequence[str], command: str) -> None:
    """Parses the options, runs trials that have not been run, and says what came out."""
    options = _options(experiment, command)
    given = options.parse_args(arguments)
    given.configs = config_folder()
    folder = Path(given.logs) / experiment.name if given.name is None else Path(given.logs) / given.name
    trials = [trial for trial in experiment.trials(given) if fnmatch(trial.group, given.only)]
    if not trials:
        raise UserError(f"--only {given.only} names no group of this experiment; --dry_run lists them")
    if given.dry_run:
        file = OutcomeFile(folder / "outcomes.jsonl")
        for trial in trials:
            state = "done" if file.get(trial.key(with_bases)) else "to do"
            print(f"{state:<7}{trial.name:<48}{' '.join(trial.fit(folder)[4:])}")
        return
    torch.set_num_threads(1)
    with one_process(folder):
        _run_and_show(experiment, trials, folder, given, options.mark)


def _run_and_show(
    experiment: Experiment, trials: Sequence[Trial], folder: Path, given: argparse.Namespace, mark: str
) -> None:
    console = Console(stderr=True)
    columns = (
        TextColumn("trials"),
        BarColumn(30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=len(trials))

        def describe(text: str) -> None:
            bar.update(task, description=text)
            if not console.is_terminal and text:
                console.print(
                    f"{bar.tasks[task].completed:.0f} of {len(trials)} trials done; now {text}", highlight=False
                )

        outcomes = run_trials(
            trials,
            folder,
            Launcher(),
            files_read=with_bases,
            jobs=given.jobs,
            advance=lambda count: bar.advance(task, count),
            describe=describe,
        )
    good = [outcome for outcome in outcomes if outcome.trouble is None]
    good += reference_outcomes(good, OutcomeFile(folder / "outcomes.jsonl"), evaluate, experiment.references(given))
    good = experiment.measured(good)
    _show(experiment, good, folder, given.json, mark)
    troubles = [outcome.trouble for outcome in outcomes if outcome.trouble is not None]
    if troubles:
        raise UserError(
            f"{len(troubles)} of {len(trials)} trials failed, and the next call tries them again: {troubles[0]}"
        )


def _show(experiment: Experiment, outcomes: Sequence[Outcome], folder: Path, json_file: str | None, mark: str) -> None:
    console = console_beside(json_file)
    if not console.is_terminal:
        console = PlainConsole(
            width=_WIDTH, stderr=console.stderr
        )  # a file has no width of its own, and 80 columns would fold the names
    rows = rows_of(outcomes)
    title = f"{experiment.summary}: interquartile means over seeds, 95% bootstrap intervals"
    console.print(as_table(title, rows))
    for table in experiment.tables(rows):
        console.print(table)
    written = json.dumps({"generator": mark} | as_dict(experiment.name, rows), indent=2) + "\n"
    files = [folder / "table.json"] if json_file is None else [folder / "table.json", Path(json_file)]
    for file in files:
        write_atomically(file, written.encode(), what="table")
    for name, figure in experiment.figures(outcomes).items():
        for file in (folder / f"{name}.png", folder / f"{name}.svg"):
            drawn = io.BytesIO()
            figure.savefig(drawn, format=file.suffix[1:], dpi=110)
            write_atomically(file, drawn.getvalue(), what="picture")
            files.append(file)
    if reported := experiment.reported(outcomes):
        from iqlightning.analysis.report.build import build_report

        with Console(stderr=True).status("looking at runs") as status:
            html = build_report(
                [outcome.run for outcome in reported if outcome.run is not None],
                title=f"{experiment.name}: {experiment.summary}",
                progress=lambda label: status.update(f"looking at {label}"),
                more=experiment.report_sections(outcomes),
            )
        file = folder / "report.html"
        write_atomically(file, html.encode(), what="report")
        files.append(file)
    for file in (each for each in files if str(each) != STDOUT):
        console.print(f"wrote {file}", highlight=False, soft_wrap=True)


def _options(experiment: Experiment, command: str) -> Options:
    options = Options(
        command, f"{experiment.summary}. What has been run is kept in logs/{experiment.name} and not run again."
    )
    seeds = {"nargs": "+", "type": natural, "default": list(experiment.seeds)}
    options.add_argument("--seeds", help="of training", **seeds)
    options.add_argument("--jobs", type=positive, default=1, help="runs at a time")
    options.add_argument("--only", metavar="PATTERN", default="*", help="groups of runs, such as 'GridCNN_*'")
    options.add_argument("--quick", action="store_true", help="the least that shows that it runs")
    options.add_argument("--dry_run", action="store_true", help="list the runs and what is done, and stop")
    options.add_argument("--logs", default="logs", help="folder of runs")
    options.add_argument("--name", help="folder in it; by default the benchmark's name")
    options.add_output("--json", what="table", metavar="FILE", help="write the table here as well")
    experiment.add_options(options)
    return options
