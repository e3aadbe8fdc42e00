"""Every encoder that plans under every way of learning: is there one that works with some of them only?"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from types import MappingProxyType

from rich.table import Table

from iqlightning.analysis.experiments.experiment import Experiment
from iqlightning.analysis.experiments.table import Row
from iqlightning.analysis.experiments.trial import Trial
from iqlightning.errors import unknown
from iqlightning.evaluation.tables import new_table
from iqlightning.gridworld.experiments.recipes import PLANNING_ENCODERS, RECIPES

__all__ = ["EncoderMatrix"]

_NOTHING: Mapping[str, str] = MappingProxyType({})
#: Objective to the configuration that it changes the encoder of, and what else it changes.
_OBJECTIVES: dict[str, tuple[str, Mapping[str, str]]] = {
    "chi2": ("cnn_iq", _NOTHING),
    "TV": ("cnn_iq", {"model.divergence": "TotalVariation"}),
    "cloning": ("cnn_bc", _NOTHING),
    "DQN": ("cnn_dqn", _NOTHING),
}


class EncoderMatrix(Experiment):
    """The settings of an encoder are the same for all ways of imitation. DQN sees no demonstration."""

    name = "encoders"
    summary = "planning encoders x {chi2, TV, cloning, DQN}, 10x10, 450 demonstrations"

    def add_options(self, options: argparse.ArgumentParser) -> None:
        """What is varied."""
        options.add_argument(
            "--encoders", nargs="+", default=list(PLANNING_ENCODERS), help=", ".join(PLANNING_ENCODERS)
        )
        options.add_argument("--objectives", nargs="+", default=list(_OBJECTIVES), help=", ".join(_OBJECTIVES))
        options.add_argument("--episodes", type=int, default=5000, help="unseen grids to play on")

    def trials(self, options: argparse.Namespace) -> Iterator[Trial]:
        """Seed by seed, so that one of them is a whole matrix already."""
        for what, asked, known in (
            ("encoder for this benchmark", options.encoders, PLANNING_ENCODERS),
            ("way of learning for this benchmark", options.objectives, _OBJECTIVES),
        ):
            for name in asked:
                if name not in known:
                    raise unknown(what, name, known)
        episodes = 50 if options.quick else options.episodes
        for seed, encoder, objective in product(options.seeds, options.encoders, options.objectives):
            config, changes = _OBJECTIVES[objective]
            recipe = RECIPES[encoder]
            own = {"model.encoder": encoder, **recipe.dqn} if objective == "DQN" else recipe.settings
            settings = {**own, **changes}
            if options.quick:
                settings |= {"trainer.max_steps": "20"}
            yield Trial(
                group=f"{encoder}_{objective}",
                config=str(options.configs / f"{config}.yaml"),
                seed=seed,
                settings=settings,
                evaluations={"10x10": ("--episodes", str(episodes), "--seed", "1")},
                checkpoint="last" if options.quick else "best",  # too short to be validated
                factors={"encoder": encoder, "objective": objective},
            )

    def tables(self, rows: Sequence[Row]) -> list[Table]:
        """The matrix: the worst seed's success in each cell, and its distance ratio."""
        trained = [row for row in rows if row.factors and row.refused is None]
        objectives = list(dict.fromkeys(row.factors["objective"] for row in trained))
        cells = {(row.factors["encoder"], row.factors["objective"]): row for row in trained}
        if not cells:
            return []
        table = new_table("worst seed: success, distance ratio", "encoder", *objectives)
        for encoder in dict.fromkeys(encoder for encoder, _ in cells):
            row_of_cells = [cells.get((encoder, objective)) for objective in objectives]
            table.add_row(encoder, *["" if row is None else _worst(row) for row in row_of_cells])
        return [table]


def _worst(row: Row) -> str:
    rates = row.each["success_rate"]
    worst = min(range(len(rates)), key=lambda index: rates[index])
    return f"{rates[worst]:.2%}, {row.each['distance_ratio'][worst]:.3f}"
