"""How far a network goes beyond what it was shown: encoders x demonstrations x sizes of the test grids."""

import argparse
from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING

from iqlightning.analysis.experiments.experiment import Experiment
from iqlightning.analysis.experiments.trial import Outcome, Trial
from iqlightning.errors import unknown
from iqlightning.gridworld.experiments.recipes import RECIPES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Generalisation"]

_OBJECTIVES = ("IQ-Learn", "cloning")


class Generalisation(Experiment):
    """Every encoder is also trained by cloning, on the same demonstrations, batches and updates."""

    name = "generalisation"
    summary = "encoders x demonstrations x test sizes x seeds, each beside cloning"

    def add_options(self, options: argparse.ArgumentParser) -> None:
        """What is varied."""
        options.add_argument(
            "--encoders", nargs="+", default=["LogPlanner", "GridCNN", "ResidualCNN", "MLP"], help=", ".join(RECIPES)
        )
        options.add_argument("--demonstrations", nargs="+", type=int, default=[10, 100, 450], help="demonstrated grids")
        options.add_argument("--sizes", nargs="+", type=int, default=[10, 16, 28], help="sides of the test grids")
        options.add_argument("--episodes", type=int, default=1000, help="test grids of each size")

    def trials(self, options: argparse.Namespace) -> Iterator[Trial]:
        """Trained on 10x10 with 5 walls; larger test grids have the same share of walls."""
        for encoder in options.encoders:
            if encoder not in RECIPES:
                raise unknown("encoder for this benchmark", encoder, RECIPES)
        sizes = options.sizes[:1] if options.quick else options.sizes
        numbers = options.demonstrations[:1] if options.quick else options.demonstrations
        evaluations = {f"{size}x{size}": self._test(size, 50 if options.quick else options.episodes) for size in sizes}
        for encoder, objective, number in product(options.encoders, _OBJECTIVES, numbers):
            recipe = RECIPES[encoder]
            settings = dict(recipe.settings) | {"data.episodes": str(number)}
            if number < 1.2 * recipe.episodes_at_once:  # a batch takes each demonstration once
                settings |= {"data.batch_size": "32", "data.per_episode": "4"}
            if options.quick:
                settings |= {"trainer.max_steps": "20"}
            for seed in options.seeds:
                yield Trial(
                    group=f"{encoder}_{objective.lower().replace('-', '_')}_{number}",
                    config=str(options.configs / f"{recipe.iq if objective == 'IQ-Learn' else recipe.cloning}.yaml"),
                    seed=seed,
                    settings=settings,
                    evaluations=evaluations,
                    checkpoint="last" if options.quick else "best",  # too short to be validated
                    factors={"encoder": encoder, "objective": objective, "demonstrations": number},
                )

    @staticmethod
    def _test(size: int, episodes: int) -> tuple[str, ...]:
        walls = round(0.05 * size * size)
        grid = ("--height", str(size), "--width", str(size), "--num_walls", str(walls))
        return (*grid, "--episodes", str(episodes), "--seed", "1")

    def figures(self, outcomes: Sequence[Outcome]) -> dict[str, "Figure"]:
        """Success against demonstrations for each size, and against size for the most demonstrations."""
        from iqlightning.analysis.experiments.curves import curves
        from iqlightning.analysis.experiments.table import Row, rows_of

        rows = rows_of(outcomes)
        trained = [row for row in rows if row.factors]
        if not trained:
            return {}
        levels = {row.evaluation: row.figures["success_rate"].mean for row in rows if row.group == "random policy"}

        def line(row: Row) -> str:
            return f"{row.factors['encoder']}, {row.factors['objective']}"

        sizes = list(dict.fromkeys(row.evaluation for row in trained))
        most = max(row.factors["demonstrations"] for row in trained)
        return {
            "sample_efficiency": curves(
                {f"tested on {size}": [row for row in trained if row.evaluation == size] for size in sizes},
                lambda row: row.factors["demonstrations"],
                line,
                x_label="demonstrations on 10x10",
                levels={f"random policy on {sizes[0]}": levels[sizes[0]]} if sizes[0] in levels else None,
                log=True,
            ),
            "size_transfer": curves(
                {f"{most:,} demonstrations on 10x10": [r for r in trained if r.factors["demonstrations"] == most]},
                lambda row: row.evaluation,
                line,
                x_label="test grids",
            ),
        }
