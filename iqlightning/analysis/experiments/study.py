"""The study anew: three levels x IQ-Learn and DQN x perceptron and convolutional network, and its training choices."""

import argparse
from collections.abc import Iterator, Sequence
from html import escape
from itertools import product
from typing import TYPE_CHECKING

from iqlightning.analysis.experiments.experiment import Experiment
from iqlightning.analysis.experiments.trial import Outcome, Trial

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from iqlightning.analysis.experiments.table import Row
    from iqlightning.analysis.report.page import Section

__all__ = ["Study"]

_LEVELS = ("static", "random_walls", "random_everything")
# the perceptron as the study trained it, the convolutional network as this package trains it
_CONFIGS = {
    ("iq", "mlp"): "study_iq",
    ("dqn", "mlp"): "study_dqn",
    ("iq", "cnn"): "cnn_iq",
    ("dqn", "cnn"): "cnn_dqn",
}
_ABLATED = "random_walls"
# what is varied, to the values of it; the study's own comes first
_ABLATIONS = {
    "state noise": ("data.noise_std", {"0.01": "0.01", "none": "0.0", "0.1": "0.1"}),
    "batch size": ("data.batch_size", {"32": "32", "8": "8", "128": "128"}),
    "learning rate": (
        "model.schedule",
        {
            "constant": '{"class_path": "Constant"}',
            "step": '{"class_path": "Steps", "init_args": {"milestones": [1000, 1500]}}',
            "cosine": '{"class_path": "Cosine"}',
        },
    ),
}


class Study(Experiment):
    """What the study showed, trained and drawn again; its report has what it saw beside what is seen here."""

    name = "study"
    summary = "the study anew: levels x IQ-Learn and DQN x MLP and CNN, with its training choices as an ablation"
    seeds = (0,)

    def add_options(self, options: argparse.ArgumentParser) -> None:
        """Seeds of the ablation, which compares settings that differ little."""
        options.add_argument("--ablation_seeds", nargs="*", type=int, default=[0, 1, 2], help="of the ablation")
        options.add_argument("--episodes", type=int, default=2000, help="unseen grids that each checkpoint plays")

    def trials(self, options: argparse.Namespace) -> Iterator[Trial]:
        """First the levels, then the ablation on random walls."""
        episodes = 50 if options.quick else options.episodes
        quick = {"trainer.max_steps": "20"} if options.quick else {}
        checkpoint = "last" if options.quick else "best"
        runs: Iterator[tuple[str, tuple[str, str], int]] = product(_LEVELS, _CONFIGS, options.seeds)
        for level, (method, network), seed in runs:
            settings = {"data.env.level": level, **quick}
            if method == "iq" and level == "static":
                settings["data.episodes"] = "300"
            yield Trial(
                group=f"{method}_{network}_{level}",
                config=str(options.configs / f"{_CONFIGS[method, network]}.yaml"),
                seed=seed,
                settings=settings,
                evaluations={level: ("--episodes", str(episodes), "--seed", "1")},
                factors={"part": "levels", "level": level, "method": method, "network": network},
                checkpoint=checkpoint,
            )
        for what, (key, values) in _ABLATIONS.items():
            for (label, value), seed in product(values.items(), options.ablation_seeds):
                yield Trial(
                    group=f"{what.replace(' ', '_')}_{label}",
                    config=str(options.configs / "study_iq.yaml"),
                    seed=seed,
                    settings={"data.env.level": _ABLATED, key: value, **quick},
                    evaluations={f"{_ABLATED}, ablation": ("--episodes", str(episodes), "--seed", "1")},
                    factors={"part": "ablation", "what": what, "value": label},
                    checkpoint=checkpoint,
                )

    def figures(self, outcomes: Sequence[Outcome]) -> dict[str, "Figure"]:
        """Success on each level, and of each training choice."""
        from iqlightning.analysis.experiments.curves import curves
        from iqlightning.analysis.experiments.table import rows_of

        rows = rows_of(outcomes)
        levels = [row for row in rows if row.factors.get("part") == "levels"]
        ablation = [row for row in rows if row.factors.get("part") == "ablation"]
        found = {}
        names = {"iq": "IQ-Learn", "dqn": "DQN"}
        if levels:
            found["levels"] = curves(
                {"unseen grids, 10x10, 5 walls": levels},
                lambda row: row.factors["level"].replace("_", " "),
                lambda row: f"{names[row.factors['method']]}, {row.factors['network'].upper()}",
                x_label="level",
            )
        if ablation:
            panels = {what: [row for row in ablation if row.factors["what"] == what] for what in _ABLATIONS}
            found["ablation"] = curves(
                {what: found for what, found in panels.items() if found},
                lambda row: row.factors["value"],
                lambda row: row.factors["what"],
                x_label="setting",
            )
        return found

    def reported(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """The runs on the levels."""
        return [outcome for outcome in outcomes if outcome.factors.get("part") == "levels"]

    def report_sections(self, outcomes: Sequence[Outcome]) -> "Sequence[Section]":
        """Goals in other places, and the ablation."""
        from pathlib import Path

        from iqlightning.analysis.experiments.table import rows_of
        from iqlightning.analysis.report.goals import goals_section
        from iqlightning.analysis.report.page import Section
        from iqlightning.checkpoints import load_policy

        asked = [each for each in self.reported(outcomes) if each.factors["level"] != "random_walls" and each.run]
        first = {each.group: each for each in reversed(asked)}
        files = {each.group: Path(str(each.run)) / "checkpoints" for each in asked if first[each.group] is each}
        shown = []
        for group, folder in files.items():
            file = next(
                (folder / f"{name}.ckpt" for name in ("best", "last") if (folder / f"{name}.ckpt").exists()), None
            )
            if file is not None:
                shown.append((group, load_policy(file)))
        ablation = [row for row in rows_of(outcomes) if row.factors.get("part") == "ablation" and row.figures]
        return [goals_section(shown), Section("ablation", "Training choices", _ablation(ablation))]


def _ablation(rows: "Sequence[Row]") -> str:
    """A table for each choice, and a sentence on whether it makes a difference."""
    if not rows:
        return ""
    seeds = len(rows[0].seeds)
    parts = [
        f"<p>The study's IQ-Learn with its perceptron on {_ABLATED.replace('_', ' ')}, one choice changed at a time, "
        f"{seeds} seed{'s' if seeds > 1 else ''}: interquartile mean of the success rate with its 95% bootstrap "
        "interval.</p>",
        '<p class="study"><b>The study:</b> trained with state noise of 0.01 and batches of 32, and names the noise, '
        "the batch size and the schedule of the learning rate as what training depends on.</p>",
    ]
    for what in _ABLATIONS:
        found = [row for row in rows if row.factors["what"] == what]
        if not found:
            continue
        lines = "".join(
            f'<tr><td class="name">{escape(row.factors["value"])}</td><td class="n">{rate.mean:.1%}<br>'
            f"<small>{rate.low or 0.0:.1%} to {rate.high or 0.0:.1%}</small></td>"
            f'<td class="n">{row.figures["distance_ratio"].mean:.2f}</td></tr>'
            for row in found
            if (rate := row.figures["success_rate"])
        )
        parts.append(
            f'<h3>{what.capitalize()}</h3><p>{_verdict(what, found)}</p><div class="scroll"><table><tr><th>{what}</th>'
            f'<th class="n">success</th><th class="n">distance ratio</th></tr>{lines}</table></div>'
        )
    return "".join(parts)


def _verdict(what: str, rows: "Sequence[Row]") -> str:
    """Whether the best setting's interval lies above the study's own."""
    own, *others = rows
    ours = own.figures["success_rate"]
    best = max(others, key=lambda row: row.figures["success_rate"].mean, default=own)
    top = best.figures["success_rate"]
    worst = min(others, key=lambda row: row.figures["success_rate"].mean, default=own)
    least = worst.figures["success_rate"]
    said = []
    if (top.low or 0.0) > (ours.high or 1.0):
        said.append(
            f"{best.factors['value']} is better than {own.factors['value']}: {top.mean:.1%} against {ours.mean:.1%}"
        )
    if (least.high or 1.0) < (ours.low or 0.0):
        said.append(
            f"{worst.factors['value']} is worse than {own.factors['value']}: {least.mean:.1%} against {ours.mean:.1%}"
        )
    if not said:
        return f"Here no setting differs from the study's own ({own.factors['value']}) by more than the intervals."
    return f"Here {'; '.join(said)}."
