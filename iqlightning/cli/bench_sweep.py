"""``bench sweep``: searches settings of a configuration with Optuna; trials run apart, and a search goes on."""

import argparse
import csv
import json
import math
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from rich.table import Table

from iqlightning.analysis.experiments.runner import Launch
from iqlightning.cli.config_files import read_config, shipped_config, with_bases
from iqlightning.cli.one_process import one_process
from iqlightning.cli.options import Options, natural, positive
from iqlightning.cli.plain_console import PlainConsole
from iqlightning.cli.trial_process import Launcher
from iqlightning.errors import UserError, unknown
from iqlightning.evaluation.tables import new_table

if TYPE_CHECKING:
    import optuna

__all__ = ["parse_space", "run"]

_EXAMPLES = "log:1e-4:1e-2, float:0.1:1, int:16:128, choice:GridCNN,LogPlanner"
_POLL = 0.2  # seconds


@dataclass(frozen=True)
class _Search:
    """What is searched, where it is kept, and by what trials are compared."""

    given: argparse.Namespace
    spaces: dict[str, tuple[str, list[str]]]
    folder: Path
    monitor: str
    mode: str
    trusted: Sequence[str] = ()

    @property
    def what(self) -> dict[str, Any]:
        """What a search that goes on must have in common with the one that was begun."""
        listed = {key: [kind, list(values)] for key, (kind, values) in self.spaces.items()}
        return {
            "spaces": listed,
            "config": self.given.config,
            "set": self.given.extra,
            "monitor": self.monitor,
            "mode": self.mode,
        }

    def fit(self, chosen: Mapping[str, Any]) -> list[str]:
        """The command that trains with chosen settings."""
        settings = [f"--{key}={value}" for key, value in chosen.items()]
        seed = str(self.given.seed)
        trust = [word for package in self.trusted for word in ("--trust", package)]
        return ["fit", *trust, "--config", self.given.config, "--seed_everything", seed, *settings, *self.given.extra]


def run(arguments: Sequence[str], command: str) -> None:
    """Parses the options, runs trials, shows them."""
    options = _options(command)
    given = options.parse_args(arguments)
    spaces = dict(parse_space(text) for text in given.space)
    try:
        import optuna
    except ImportError as error:
        raise UserError('a sweep needs the optional extra: pip install "iqlightning[sweep]"') from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = Path(given.logs) / "sweep" / (given.name or Path(given.config).stem)
    search = _Search(given, spaces, folder, *_monitored(shipped_config(given.config), given.extra), options.trusted)
    with one_process(folder):
        _run_search(optuna, search)


def _run_search(optuna: Any, search: _Search) -> None:
    study, wanted, folder = _study(optuna, search), search.given.trials, search.folder
    finished = [each for each in study.trials if each.state.is_finished()]
    launch, console = Launcher(), PlainConsole(stderr=True)
    for number in range(len(finished), wanted):
        trial = study.ask()
        chosen = {key: _suggest(trial, key, *space) for key, space in search.spaces.items()}
        said = ", ".join(f"{key.rpartition('.')[2]}={_shown(value)}" for key, value in chosen.items())
        console.print(f"trial {trial.number} ({number + 1} of {wanted}): {said}", highlight=False, soft_wrap=True)
        _run_trial(study, trial, chosen, search, launch)
        console.print(f"  {_ending(study.trials[trial.number], search.monitor)}", highlight=False, soft_wrap=True)
    PlainConsole().print(_table(study, search))
    if not any(each.state == optuna.trial.TrialState.COMPLETE for each in study.trials):
        raise UserError(f"none of the {wanted} trials came to its end; what they printed is in '{folder}'")
    best = shlex.join(["iqlightning", *search.fit(study.best_trial.params)])
    PlainConsole().print(f"best: {best}", highlight=False, soft_wrap=True)
    PlainConsole().print(f"all runs: iqlightning report {folder}", highlight=False, soft_wrap=True)


def parse_space(text: str) -> tuple[str, tuple[str, list[str]]]:
    """``KEY=KIND:...`` to key, kind and its parameters.

    >>> parse_space("model.optimizer.init_args.lr=log:1e-4:1e-2")
    ('model.optimizer.init_args.lr', ('log', ['1e-4', '1e-2']))

    Raises:
        UserError: if it is not a space.
    """
    key, _, rest = text.partition("=")
    kind, _, parameters = rest.partition(":")
    values = parameters.split("," if kind == "choice" else ":")
    wrong = UserError(f"'{text}' is no space to search; write KEY=KIND:..., KIND:... being for example {_EXAMPLES}")
    if not key or kind not in ("log", "float", "int", "choice") or not all(values):
        raise wrong
    if kind == "choice":
        return key, (kind, values)
    try:
        numbers = [int(value) if kind == "int" else float(value) for value in values]
    except ValueError:
        raise wrong from None
    if len(numbers) != 2 or not numbers[0] < numbers[1] or (kind == "log" and numbers[0] <= 0):
        raise UserError(f"'{text}': {kind} needs two numbers, the smaller first{', above 0' if kind == 'log' else ''}")
    return key, (kind, values)


def _suggest(trial: "optuna.Trial", key: str, kind: str, values: Sequence[str]) -> Any:
    if kind == "choice":
        return trial.suggest_categorical(key, list(values))
    if kind == "int":
        return trial.suggest_int(key, int(values[0]), int(values[1]))
    return trial.suggest_float(key, float(values[0]), float(values[1]), log=kind == "log")


def _monitored(config: str, settings: Sequence[str]) -> tuple[str, str]:
    """The figure by which the best checkpoint is chosen, and whether it should be small (min) or large (max).

    Raises:
        UserError: if nothing is monitored, by which trials could be compared.
    """
    given = [(f"'{path}'", read_config(path).get("checkpoint")) for path in with_bases([config])]
    for setting in settings:
        key, _, text = setting.removeprefix("--").partition("=")
        if key == "checkpoint" or key.startswith("checkpoint."):
            try:
                value = yaml.safe_load(text)
            except yaml.YAMLError:
                value = text
            given.append(("--set", value if key == "checkpoint" else {key.removeprefix("checkpoint."): value}))
    checkpoint_settings: dict[str, Any] = {}
    for where, checkpoint in given:
        if not isinstance(checkpoint, dict | None):
            raise UserError(f"checkpoint is '{checkpoint}' in {where}, but it must hold keys and values: monitor, mode")
        checkpoint_settings |= checkpoint or {}
    monitor, mode = checkpoint_settings.get("monitor"), checkpoint_settings.get("mode")
    if not monitor:
        raise UserError(
            f"'{config}' monitors nothing by which trials could be compared; name a figure that is logged while it "
            "trains, for example --set checkpoint.monitor=val/mean_return checkpoint.mode=max"
        )
    if mode not in ("min", "max"):
        raise unknown("checkpoint.mode", mode, ("min", "max"))
    return str(monitor), str(mode)


def _study(optuna: Any, search: _Search) -> "optuna.Study":
    """The study kept in the folder, begun if there is none.

    Raises:
        UserError: if it searches something else, or cannot be read or written.
    """
    given, folder, what = search.given, search.folder, search.what
    file = folder / "optuna.journal"
    try:
        study = optuna.create_study(
            study_name="sweep",
            storage=optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(file))),
            load_if_exists=True,
            direction="minimize" if search.mode == "min" else "maximize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=given.startup, n_warmup_steps=0),
        )
    except OSError as error:
        raise UserError(f"cannot keep the sweep in '{file}': {error.strerror or error}") from error
    # the numbers of a seed begin anew with each call, and would suggest what has been tried
    study.sampler = optuna.samplers.TPESampler(seed=given.seed + len(study.trials))
    known = study.user_attrs.get("searched")
    if known is not None and known != what:
        raise UserError(
            f"'{folder}' keeps a sweep of other settings ({', '.join(known['spaces'])} of {known['config']}); "
            "name a new one with --name, or remove the folder"
        )
    if known is None:
        study.set_user_attr("searched", what)
    # a trial that was cut off with its program neither failed nor ended
    for left in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(left.number, state=optuna.trial.TrialState.FAIL)
    return study


def _run_trial(
    study: "optuna.Study", trial: "optuna.Trial", chosen: Mapping[str, Any], search: _Search, launch: Launch
) -> None:
    """Trains, reports each validation, and stops what is worse than the median of those before it."""
    import optuna

    name, folder, monitor = f"trial_{trial.number}", search.folder, search.monitor
    fit = [*search.fit(chosen), "--trainer.default_root_dir", str(folder / name)]
    process = launch([fit], folder / f"{name}.log", folder / name / "statuses.json")
    told = 0
    try:
        while process.exitcode is None:
            time.sleep(_POLL)
            values = _validations(folder / name, monitor)
            for step, value in values[told:]:
                trial.report(value, step)
            told = len(values)
            if told and search.given.prune and trial.should_prune():
                process.terminate()
                process.join()
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                return
    finally:
        if process.exitcode is None:
            process.terminate()
        process.join()
    values = [value for _, value in _validations(folder / name, monitor)]
    if process.exitcode or not values:
        said = _last_sentence(folder / name / "statuses.json") or f"there was no {monitor} to judge it by"
        trial.set_user_attr("trouble", f"it failed: {said}; what it printed is in '{folder / name}.log'")
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        if process.exitcode == 2 and not any(each.value is not None for each in study.trials):
            raise UserError(said)  # a mistake in what all trials share would be made by all of them
    else:
        # as fit itself chooses its best checkpoint
        study.tell(trial, min(values) if search.mode == "min" else max(values))


def _last_sentence(statuses: Path) -> str:
    try:
        return str(json.loads(statuses.read_text())[-1]["sentence"])
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def _validations(place: Path, monitor: str) -> list[tuple[int, float]]:
    """(update, figure) of each validation so far."""
    values = []
    for file in place.glob("*/version_*/metrics.csv"):
        try:
            lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
            # the last line may be half written, and half a number is a number too
            for row in csv.DictReader(line for line in lines if line.endswith("\n")):
                if (row.get("step") or "").isdigit() and row.get(monitor):
                    value = float(row[monitor])
                    if math.isfinite(value):
                        values.append((int(row["step"]), value))
        except (OSError, ValueError, csv.Error):
            continue
    return values


def _ending(trial: "optuna.trial.FrozenTrial", monitor: str) -> str:
    if trial.state.name == "COMPLETE":
        return f"{monitor} {trial.value:.4g}"
    return trial.user_attrs.get("trouble", "stopped: worse than the median of earlier trials at the same update")


def _table(study: "optuna.Study", search: _Search) -> Table:
    """Best first; those without an end last, a stopped one with the figure that it had then."""
    sign = 1.0 if search.mode == "min" else -1.0

    def order(each: "optuna.trial.FrozenTrial") -> tuple[bool, bool, float, int]:
        return each.state.name != "COMPLETE", each.value is None, sign * (each.value or 0.0), each.number

    headings = ("trial", *(key.rpartition(".")[2] for key in search.spaces), search.monitor, "state")
    table = new_table(f"sweep over {len(study.trials)} trials", *headings, words=0)
    for each in sorted(study.trials, key=order):
        settings = [_shown(each.params.get(key)) for key in search.spaces]
        table.add_row(str(each.number), *settings, _shown(each.value), each.state.name.lower())
    return table


def _shown(value: Any) -> str:
    """A setting or figure, short; None is nothing."""
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _options(command: str) -> Options:
    options = Options(
        command,
        "Searches settings with Optuna (tree-structured Parzen estimator). A trial that is worse than the median of "
        "earlier ones at the same update is stopped. The search is kept in logs/sweep and goes on where it was.",
        trusting=True,
    )
    options.add_argument("--config", required=True, help="configuration to start from")
    options.add_argument(
        "--space", nargs="+", required=True, metavar="KEY=KIND:...", help=f"for example KEY={_EXAMPLES}"
    )
    options.add_argument("--trials", type=positive, default=20, help="of all calls together")
    options.add_argument("--seed", type=natural, default=0, help="of the search and of training")
    options.add_argument(
        "--prune",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether trials are stopped that are worse than the median of earlier ones",
    )
    options.add_argument("--startup", type=positive, default=4, help="trials before any is stopped")
    options.add_argument("--logs", default="logs", help="folder of runs")
    options.add_argument("--name", help="of the sweep; by default the configuration's")
    options.add_argument(
        "--set",
        dest="extra",
        nargs="+",
        default=[],
        type=lambda text: f"--{text}",
        metavar="KEY=VALUE",
        help="fixed settings",
    )
    return options
