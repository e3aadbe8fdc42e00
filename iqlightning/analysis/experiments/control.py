"""Imitation on Gymnasium's control tasks, IQ-Learn beside its rivals: discrete ones offline, continuous ones online."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from iqlightning.analysis.experiments import continuous_control as continuous
from iqlightning.analysis.experiments.experiment import Experiment
from iqlightning.analysis.experiments.trial import Outcome, Trial
from iqlightning.errors import UserError, unknown
from iqlightning.types import Policy

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table

    from iqlightning.analysis.experiments.table import Row

__all__ = ["Control"]


class _Task(NamedTuple):
    """A task's configuration, its numbers of trajectories, and how its demonstrations are made."""

    config: str
    trajectories: tuple[int, ...]
    made_by: str
    imagined: str | None = None  # configuration of LS-IQ on transitions imagined with a model of the dynamics
    symmetries: bool = True  # left and right are exchanged in half of the samples, whatever the algorithm


_CLASSIC = {
    "CartPole-v1": _Task(
        "cartpole_iq", (1, 7), "fit --config configs/cartpole_dqn.yaml, then collect", "cartpole_imagined"
    ),
    "Acrobot-v1": _Task("acrobot_iq", (1, 3), "fit --config configs/acrobot_dqn.yaml, then collect"),
    "LunarLander-v3": _Task("lunarlander_iq", (3, 7), "fit --config configs/lunarlander_dqn.yaml, then collect"),
}
_TASKS = _CLASSIC | {
    f"MinAtar/{game}-v1": _Task(
        "minatar_iq", (1, 3, 10, 20), "fit --config configs/minatar_dqn.yaml, then collect", symmetries=False
    )
    for game in ("Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders")
}
_CLONING = {
    # the objective alone differs: network, data, optimizer, schedule and updates are those of the configuration
    "model": "BehaviorCloning",
    "model.temperature": "1.0",
}
# nothing is played during training: what a run reaches is measured once, of its last weights
_CALLBACKS = "[{class_path: UpdateProgressBar}, {class_path: FinalSummary, init_args: {episodes: 0}}]"


class Control(Experiment):
    """A file's first trajectories, some thinned out; greedy policies of the last weights, so that no return is used.

    Cloning has the network, the batches, the optimizer and the number of updates of IQ-Learn. On CartPole there is also
    LS-IQ that plays a model of the dynamics fitted to the same transitions. Seeds differ in their initial weights, in
    their batches and in which transitions of each trajectory are kept.

    Tasks with continuous actions (:mod:`iqlightning.analysis.experiments.continuous_control`) are played while they are
    learnt, from one demonstration. They take hours, and run when they are named.
    """

    name = "control"
    summary = "Gymnasium's control tasks from a few trajectories, IQ-Learn beside cloning"
    seeds = (0, 1, 2, 3, 4)

    def add_options(self, options: argparse.ArgumentParser) -> None:
        """What is varied."""
        options.add_argument(
            "--tasks",
            nargs="+",
            default=list(_CLASSIC),
            help=f"{', '.join(_TASKS)}; with continuous actions {', '.join(continuous.TASKS)}",
        )
        options.add_argument(
            "--demonstrations",
            "--demos",
            nargs="+",
            default=["data"],
            metavar="FOLDER",
            help="holds TASK.safetensors (with - for /) and, where the expert itself is to be played beside them, "
            "TASK.ckpt; several folders, one for each expert, for tasks with discrete actions",
        )
        options.add_argument(
            "--episodes", type=int, default=None, help="evaluation episodes of each run; None: 100, online 20"
        )
        options.add_argument(
            "--updates", type=int, default=None, help="of runs with continuous actions; None: as configured"
        )

    def trials(self, options: argparse.Namespace) -> Iterator[Trial]:
        """Tasks x trajectories x algorithms x seeds."""
        folders = _experts_folders(options.demonstrations)
        for name, (expert, folder) in product(options.tasks, folders.items()):
            path = folder / f"{_in_files(name)}.safetensors"
            if name in continuous.TASKS:
                if len(folders) > 1:
                    raise UserError(f"{name} is learnt from one expert: give one folder, not {len(folders)}")
                if not path.is_file():
                    raise UserError(
                        f"there are no demonstrations '{path}': make them with collect --gym {name} and --policy or "
                        "--from, see configs/README.md"
                    )
                yield from continuous.continuous_trials(name, path, options)
                continue
            if name not in _TASKS:
                raise unknown("control task", name, [*_TASKS, *continuous.TASKS])
            task = _TASKS[name]
            if not path.is_file():
                raise UserError(
                    f"there are no demonstrations '{path}': make them with {task.made_by} (the head of configs/"
                    f"{task.config}.yaml has the commands)"
                )
            yield from _discrete_trials(name, path, expert if len(folders) > 1 else None, options)

    def references(self, options: argparse.Namespace) -> Mapping[str, Mapping[str, Policy]]:
        """Experts of continuous tasks."""
        return continuous.experts(options)

    def measured(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """Scores of continuous tasks."""
        return continuous.scored(outcomes)

    def tables(self, rows: Sequence["Row"]) -> Sequence["Table"]:
        """Scores of continuous tasks; returns over experts where there are several."""
        made = (continuous.continuous_table(rows), _over_experts(rows))
        return [table for table in made if table is not None]

    def figures(self, outcomes: Sequence[Outcome]) -> dict[str, "Figure"]:
        """Return against the number of trajectories for each discrete task, against steps for each continuous one."""
        from iqlightning.analysis.experiments.curves import curves
        from iqlightning.analysis.experiments.table import rows_of

        rows = [row for row in rows_of(outcomes) if row.factors and row.factors["task"] in _TASKS]
        # returns of different tasks have no common axis
        return continuous.continuous_figures(outcomes) | {
            f"control_{_in_files(task)}": curves(
                {task: [row for row in rows if row.factors["task"] == task]},
                lambda row: row.factors["trajectories"],
                lambda row: " ".join(str(row.factors[part]) for part in ("algorithm", "expert") if part in row.factors),
                x_label="trajectories",
            )
            for task in dict.fromkeys(str(row.factors["task"]) for row in rows)
        }


def _in_files(name: str) -> str:
    """The id of an environment as a part of the name of a file."""
    return name.replace("/", "-")


def _experts_folders(given: Sequence[str]) -> dict[str, Path]:
    """Name of each expert, which is that of its folder, to the folder."""
    folders = {Path(each).resolve().name: Path(each) for each in given}
    if len(folders) < len(given):
        raise UserError(f"experts are told apart by the names of their folders, and two of {', '.join(given)} have one")
    return folders


def _discrete_trials(name: str, path: Path, expert: str | None, options: argparse.Namespace) -> Iterator[Trial]:
    """Trajectories x algorithms x seeds on one task, from the demonstrations of one expert."""
    task, episodes = _TASKS[name], 5 if options.quick else options.episodes or 100
    numbers = task.trajectories[:1] if options.quick else task.trajectories
    configs = {"IQ-Learn": task.config, "cloning": task.config}
    if task.imagined is not None:
        configs["LS-IQ imagined"] = task.imagined
    for number, algorithm in product(numbers, configs):
        settings = dict(_CLONING) if algorithm == "cloning" else {}
        settings |= {"data.path": str(path), "data.episodes": str(number)}
        settings |= {"data.symmetries": str(task.symmetries).lower(), "trainer.callbacks": _CALLBACKS}
        if options.quick:
            settings |= {"trainer.max_steps": "20", "data.updates_per_epoch": "20"}
        ending = "" if expert is None else f"_{expert}"
        for seed in options.seeds:
            yield Trial(
                group=f"{_in_files(name)}_{algorithm.lower()}_{number}{ending}".replace("-", "_").replace(" ", "_"),
                config=f"{options.configs}/{configs[algorithm]}.yaml",
                seed=seed,
                settings=settings,
                evaluations={name: ("--episodes", str(episodes), "--seed", "1")},
                checkpoint="last",
                factors={"task": name, "algorithm": algorithm, "trajectories": number}
                | ({} if expert is None else {"expert": expert}),
            )


def _over_experts(rows: Sequence["Row"]) -> "Table | None":
    """What an algorithm reaches from one expert and another: seeds say nothing of how much the expert matters."""
    from iqlightning.evaluation.tables import new_table

    groups: dict[tuple[str, int, str], list[Row]] = {}
    for row in rows:
        if "expert" in row.factors and row.refused is None:
            factors = (str(row.factors["task"]), int(row.factors["trajectories"]), str(row.factors["algorithm"]))
            groups.setdefault(factors, []).append(row)
    if not groups:
        return None
    numbers = ("mean\nreturn", "lowest to\nhighest expert", "worst\nrun", "experts\nx seeds")
    title = "over experts: mean of the interquartile means over seeds"
    table = new_table(title, "task", "trajectories", "algorithm", *numbers, words=3)
    for (task, number, algorithm), members in groups.items():
        means = [row.figures["mean_return"].mean for row in members]
        worst = min(min(row.each["mean_return"]) for row in members)
        spread = f"{min(means):.1f} to {max(means):.1f}"
        runs = f"{len(members)} x {min(len(row.seeds) for row in members)}"
        table.add_row(task, str(number), algorithm, f"{fmean(means):.1f}", spread, f"{worst:.1f}", runs)
    return table
