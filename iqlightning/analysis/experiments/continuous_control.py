"""Continuous control from one demonstration: the runs of ``bench control``, their scores, and how they learned."""

import argparse
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iqlightning.analysis.experiments.trial import Outcome, Trial
from iqlightning.types import Policy

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table

    from iqlightning.analysis.experiments.table import Row

__all__ = ["TASKS", "continuous_figures", "continuous_table", "continuous_trials", "experts", "scored"]

#: Environment's id to the beginning of its configurations' names.
TASKS = {
    "Pendulum-v1": "pendulum",
    "LunarLanderContinuous-v3": "lunarlander_continuous",
    "Hopper-v5": "hopper",
    "HalfCheetah-v5": "halfcheetah",
    "Walker2d-v5": "walker2d",
    "Ant-v5": "ant",
}

# Algorithm to the end of its configuration's name, and to what turns IQ-Learn's into it where there is no such file.
# Rewards are bounded alike: 1 / c and SQIL's 1 are the 4 alpha = 0.2 of those configurations.
_ALGORITHMS: dict[str, tuple[str, dict[str, str]]] = {
    "IQ-Learn": ("iq", {}),
    "LS-IQ": ("ls_iq", {"model": "LSIQ", "model.c": "5.0"}),
    "SQIL": ("sqil", {"model": "SQIL", "model.expert_reward": "0.2"}),
    "cloning": ("bc", {"model": "BehaviorCloning", "model.temperature": "1.0", "data.online": "null"}),
}
_EVALUATIONS = 20  # of a run whose number of updates is given
_SEED = 1  # of the evaluation episodes
_RANDOM, _EXPERT, _RECORDED = "random policy", "expert", "expert, as recorded"


def continuous_trials(name: str, demonstrations: Path, options: argparse.Namespace) -> Iterator[Trial]:
    """Algorithms x seeds on one task, each from the first demonstration of the file.

    The episodes that runs are evaluated on while they learn are those that random policy and expert play. Nothing is
    selected by them: no checkpoint is monitored, and the score is a mean over the last evaluations.
    """
    episodes = 2 if options.quick else options.episodes or 20
    played = f"{{class_path: PolicyEvaluation, init_args: {{episodes: {episodes}, seed: {_SEED}, split: test}}}}"
    others = "{class_path: StabilityMonitor}, {class_path: UpdateProgressBar}"
    last = "{class_path: FinalSummary, init_args: {episodes: 0}}"
    common = {
        "data.path": str(demonstrations),
        "data.episodes": "1",
        "checkpoint.monitor": "null",
        "trainer.callbacks": f"[{played}, {others}, {last}]",
    }
    updates = 20 if options.quick else options.updates
    if updates is not None:
        common |= {"trainer.max_steps": str(updates), "data.updates_per_epoch": str(-(-updates // _EVALUATIONS))}
    for algorithm, (ending, changes) in _ALGORITHMS.items():
        own = options.configs / f"{TASKS[name]}_{ending}.yaml"
        config = own if own.is_file() else options.configs / f"{TASKS[name]}_iq.yaml"
        for seed in options.seeds:
            yield Trial(
                group=f"{name}_{algorithm.lower()}".replace("-", "_"),
                config=str(config),
                seed=seed,
                settings=(common if own.is_file() else changes | common),
                evaluations={name: ("--episodes", str(episodes), "--seed", str(_SEED))},
                checkpoint="last",
                factors={"task": name, "algorithm": algorithm, "trajectories": 1},
            )


def experts(options: argparse.Namespace) -> dict[str, dict[str, Policy]]:
    """Task to its expert, where its checkpoint lies beside the demonstrations as ``ID.ckpt``."""
    from iqlightning.checkpoints import load_policy

    folder = Path(options.demonstrations[0])
    files = {name: folder / f"{name}.ckpt" for name in options.tasks if name in TASKS}
    return {name: {_EXPERT: load_policy(file)} for name, file in files.items() if file.is_file()}


def scored(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """With ``last_evaluations`` of each run, and ``normalised``: 0 for the random policy, 1 for the expert.

    Both ends are means over the evaluation episodes, by the same code; an expert of which only demonstrations are known
    counts with the mean return of all that are in the file, and gets a row of its own.
    """
    from iqlightning.analysis.experiments.learning_curves import last_evaluations, return_curve

    known = list(outcomes)
    ends = {(each.group, task): float(figures["mean_return"]) for each, task, figures in _played(outcomes)}
    for task in dict.fromkeys(task for each, task, _ in _played(outcomes) if each.run is not None and task in TASKS):
        if (_EXPERT, task) not in ends:
            run = next(each.run for each in outcomes if each.run is not None and task in each.figures)
            recorded = _recorded(run)
            ends[_EXPERT, task] = recorded["mean_return"]
            known.append(Outcome(f"{_RECORDED} {task}", _RECORDED, 0, {}, None, 0.0, {task: recorded}))
    results = []
    for outcome in known:
        task = str(outcome.factors.get("task", ""))
        if outcome.run is not None and task in TASKS and "mean_return" in outcome.figures.get(task, {}):
            score = last_evaluations(return_curve(Path(outcome.run)))
            if score is not None:
                more = {"last_evaluations": score}
                low, high = ends.get((_RANDOM, task)), ends[_EXPERT, task]
                if low is not None and high != low:
                    more["normalised"] = (score - low) / (high - low)
                outcome = replace(outcome, figures={**outcome.figures, task: outcome.figures[task] | more})
        results.append(outcome)
    return results


def continuous_table(rows: Sequence["Row"]) -> "Table | None":
    """Scores by task and algorithm; None if there are none."""
    from iqlightning.evaluation.tables import new_table

    shown = [row for row in rows if "normalised" in row.figures]
    if not shown:
        return None
    title = "mean over each run's last five evaluations; normalised: 0 random, 1 expert"
    numbers = ("return", "normalised", "95%\ninterval", "worst\nseed", "seeds")
    table = new_table(title, "task", "algorithm", *numbers, words=2)
    for row in shown:
        value, each = row.figures["normalised"], row.each["normalised"]
        interval = "" if value.low is None or value.high is None else f"{value.low:.2f} to {value.high:.2f}"
        score = f"{row.figures['last_evaluations'].mean:,.1f}"
        cells = (score, f"{value.mean:.2f}", interval, f"{min(each):.2f}", str(len(each)))
        table.add_row(row.factors["task"], row.factors["algorithm"], *cells)
    return table


def continuous_figures(outcomes: Sequence[Outcome]) -> dict[str, "Figure"]:
    """``learning_TASK``: returns against environment steps, a curve for each algorithm."""
    from iqlightning.analysis.experiments.learning_curves import learning_figure, return_curve

    figures = {}
    played = list(_played(outcomes))
    for task in dict.fromkeys(task for each, task, _ in played if each.run is not None and task in TASKS):
        curves: dict[str, list[list[tuple[int, float]]]] = {}
        offline: dict[str, list[float]] = {}
        for each, name, found in played:
            if each.run is None or name != task:
                continue
            algorithm = str(each.factors["algorithm"])
            if algorithm == "cloning":
                offline.setdefault(algorithm, []).append(float(found.get("last_evaluations", found["mean_return"])))
            else:
                curves.setdefault(algorithm, []).append(return_curve(Path(each.run)))
        levels = {
            each.group: float(found["mean_return"]) for each, name, found in played if each.run is None and name == task
        }
        figures[f"learning_{task}"] = learning_figure(task, curves, offline, levels)
    return figures


def _played(outcomes: Sequence[Outcome]) -> Iterator[tuple[Outcome, str, Mapping[str, Any]]]:
    """Outcome, evaluation and its figures, those that were refused left out."""
    for outcome in outcomes:
        for evaluation, figures in outcome.figures.items():
            if "mean_return" in figures:
                yield outcome, evaluation, figures


def _recorded(run: str) -> dict[str, Any]:
    from iqlightning.analysis.runs import read_run

    return _returns_of(str(read_run(Path(run)).settings["data.path"]))


@lru_cache(maxsize=16)
def _returns_of(path: str) -> dict[str, Any]:
    from iqlightning.data.demonstrations import load_demonstrations

    returns = load_demonstrations(path)[0].returns.tolist()
    deviation = statistics.stdev(returns) if len(returns) > 1 else 0.0
    return {"mean_return": statistics.fmean(returns), "std_return": deviation, "episodes": len(returns)}
