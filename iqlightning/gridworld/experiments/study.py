"""The study anew: three levels x IQ-Learn, DQN and cloning x perceptron and CNN, and its training choices."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html import escape
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
    ("bc", "mlp"): "mlp_bc",
    ("iq", "cnn"): "cnn_iq",
    ("dqn", "cnn"): "cnn_dqn",
    ("bc", "cnn"): "cnn_bc",
}
# mlp_bc is trained as mlp_iq is, which is better than the study's way; here it is given what the study gave IQ-Learn
_CLONED_AS_IN_STUDY = {
    "data.batch_size": "32",
    "data.noise_std": "0.01",
    "data.symmetries": "false",
    "model.schedule": "null",
    "trainer.max_steps": "2000",
}
_METHODS = {"iq": "IQ-Learn", "dqn": "DQN", "bc": "cloning"}
_ABLATED = "random_walls"
_OWN = f"iq_mlp_{_ABLATED}"  # the group that has the study's own settings
# what is varied: its key, the study's own value, and the others
_ABLATIONS = {
    "state noise": ("data.noise_std", "0.01", {"none": "0.0", "0.1": "0.1"}),
    "batch size": ("data.batch_size", "32", {"8": "8", "128": "128"}),
    "learning rate": (
        "model.schedule",
        "constant",
        {
            "step": '{"class_path": "Steps", "init_args": {"milestones": [1000, 1500]}}',
            "cosine": '{"class_path": "Cosine"}',
        },
    ),
}
# what the study says, by what the report shows of it
_SAID = {
    "How it ended": (
        "Its released networks, played greedily on fresh grids (10x10, 5 walls, random start), reach the goal on 56% "
        "(IQ-Learn) and 56% (DQN) with random walls, on 7.9% and 2.4% with random walls and goal; a random policy on "
        "33%. Its humans had Manhattan ratios of 1.00 to 1.03, its networks about 3."
    ),
    "How it learned": "IQ-Learn converges within 200 steps, DQN slowly.",
    "Value, policy and reward": "The value maps of IQ-Learn look shapeless, and the policy runs into walls.",
    "Where they go": "Such maps were drawn for its expert and its networks, without a figure of their distance.",
    "Recovered and true reward": "The rewards of single grids were drawn, without comparing them with the true ones.",
    "Failures": "Both methods fail at walls once walls and goal are random.",
}


class Study(Experiment):
    """What the study showed, trained and drawn again; its report has what it saw beside what is seen here."""

    name = "study"
    summary = "the study anew: levels x (IQ-Learn, DQN, cloning) x (MLP, CNN), with its training choices as an ablation"
    seeds = (0,)

    def add_options(self, options: argparse.ArgumentParser) -> None:
        """Seeds of the ablation, which compares settings that differ little."""
        options.add_argument("--ablation_seeds", nargs="*", type=int, default=[0, 1, 2], help="of the ablation")
        options.add_argument("--episodes", type=int, default=2000, help="unseen grids that each checkpoint plays")

    def trials(self, options: argparse.Namespace) -> Iterator[Trial]:
        """First the levels, then the ablation on random walls."""
        episodes = 50 if options.quick else options.episodes
        played = ("--episodes", str(episodes), "--seed", "1")
        quick = {"trainer.max_steps": "20"} if options.quick else {}
        checkpoint = "last" if options.quick else "best"
        for level in _LEVELS:
            for method, network in _CONFIGS:
                group = f"{method}_{network}_{level}"
                own = _CLONED_AS_IN_STUDY if (method, network) == ("bc", "mlp") else {}
                settings = {"data.env.level": level, **own, **quick}
                if method != "dqn" and level == "static":
                    settings["data.episodes"] = "300"
                # the ablation starts from this group, so it needs the ablation's seeds too
                seeds = dict.fromkeys([*options.seeds, *(options.ablation_seeds if group == _OWN else ())])
                for seed in seeds:
                    yield Trial(
                        group=group,
                        config=str(options.configs / f"{_CONFIGS[method, network]}.yaml"),
                        seed=seed,
                        settings=settings,
                        evaluations={level: played},
                        factors={"part": "levels", "level": level, "method": method, "network": network},
                        checkpoint=checkpoint,
                    )
        for what, (key, _, values) in _ABLATIONS.items():
            for label, value in values.items():
                for seed in options.ablation_seeds:
                    yield Trial(
                        group=f"{what.replace(' ', '_')}_{label}",
                        config=str(options.configs / "study_iq.yaml"),
                        seed=seed,
                        settings={"data.env.level": _ABLATED, key: value, **quick},
                        evaluations={_ABLATED: played},
                        factors={"part": "ablation", "what": what, "value": label},
                        checkpoint=checkpoint,
                    )

    def figures(self, outcomes: Sequence[Outcome]) -> dict[str, "Figure"]:
        """Success on each level, and of each training choice."""
        from iqlightning.analysis.experiments.curves import curves
        from iqlightning.analysis.experiments.table import rows_of

        rows = rows_of(outcomes)
        levels = [row for row in rows if row.factors.get("part") == "levels"]
        figures = {}
        if levels:
            figures["levels"] = curves(
                {"unseen grids, 10x10, 5 walls": levels},
                lambda row: row.factors["level"].replace("_", " "),
                lambda row: f"{_METHODS[row.factors['method']]}, {row.factors['network'].upper()}",
                x_label="level",
            )
        panels = {what: settings for what, settings in _ablated(rows).items() if len(settings) > 1}
        if panels:
            figures["ablation"] = curves(
                {what: [_named(label, row) for label, row in each.items()] for what, each in panels.items()},
                lambda row: row.factors["value"],
                lambda row: "IQ-Learn, MLP, random walls",
                x_label="the study's own setting first",
                joined=False,
            )
        return figures

    def reported(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """IQ-Learn and DQN on the levels; the tables of the report have a row for cloning already."""
        return [each for each in outcomes if each.factors.get("part") == "levels" and each.factors["method"] != "bc"]

    def report_sections(self, outcomes: Sequence[Outcome]) -> "Sequence[Section]":
        """What the study says of what the other sections show."""
        from iqlightning.analysis.report.page import Section

        said = "".join(f"<tr><td>{escape(topic)}</td><td>{escape(text)}</td></tr>" for topic, text in _SAID.items())
        return [Section("study", "What the study says", f'<div class="scroll"><table>{said}</table></div>')]


def _ablated(rows: "Sequence[Row]") -> "dict[str, dict[str, Row]]":
    """What is varied, to setting, to its row; the study's own setting comes first."""
    own = next((row for row in rows if row.group == _OWN), None)
    choices: dict[str, dict[str, Row]] = {}
    for what, (_, label, _) in _ABLATIONS.items():
        others = {row.factors["value"]: row for row in rows if row.factors.get("what") == what}
        if own is not None and others:
            choices[what] = {label: own, **others}
    return choices


def _named(label: str, row: "Row") -> "Row":
    return replace(row, factors={**row.factors, "value": label})
