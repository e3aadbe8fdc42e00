"""Every divergence: does it imitate, and is its reward right? Against the exact solution of GridWorld.

Two questions, two kinds of trials. ``random_*``: the network, data and number of updates of ``cnn_iq``, on unseen grids
of two levels. ``static_*``: the reward that 30 demonstrations of one grid identify, offline, offline with absorbing
states, and online.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from iqlightning.analysis.experiments.experiment import Experiment
from iqlightning.analysis.experiments.table import Row
from iqlightning.analysis.experiments.trial import Trial
from iqlightning.data.collect import demonstrations_path
from iqlightning.evaluation.tables import new_table
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.evaluation.truth import TRUTH_FIGURES

__all__ = ["Divergences"]

# of expert samples alone: they need no data of the policy
_OFFLINE = (
    "Identity",
    "TotalVariation",
    "Chi2",
    "Hellinger",
    "JensenShannon",
    "ForwardKL",
    "ReverseKL",
    "ReverseKLFixed",
    "ReverseKLDual",
    "Wasserstein1",
)
# a linear phi sees no difference between a reward and its sum over absorbing states
_LINEAR = ("Identity", "Wasserstein1")
_LEVELS = ("random_walls", "random_everything")
# last weights, no games on the way, no baseline: what is compared gets the same updates and nothing else
_BARE = {"trainer.callbacks": "[]", "checkpoint.monitor": "null"}
_STATIC = {
    "data.env.level": "static",
    "data.episodes": "30",
    "data.validation_fraction": "0.0",
    "data.batch_size": "64",
    "data.per_episode": "1",
    "model.encoder": "MLP",
    "trainer.max_steps": "1500",
}
_TRUTH = {f"truth.{each.name}": (each.heading, f"{{:{each.column_form}}}") for each in TRUTH_FIGURES if each.heading}
_COLUMNS = {
    "success_rate": ("success", "{:.2%}"),
    "distance_ratio": ("dist.\nratio", "{:.3f}"),
    **{name: column for name, column in _TRUTH.items() if name != "truth.reward_shaping_free"},
}
_REWARD_COLUMNS = {
    "recorded_rewards.transition_pearson": ("Pearson\nexpert", "{:.4f}"),
    "truth.reward_pearson": ("\nall", "{:.3f}"),
    **{f"truth.{name}": _TRUTH[f"truth.{name}"] for name in ("reward_epic", "reward_shaping_free", "policy_agreement")},
    "transfer.settings.same.share": ("transf.\nsame", "{:.0%}"),
    "transfer.settings.slippery.share": ("\nslips", "{:.0%}"),
    "transfer.settings.other_walls.share": ("\nwalls", "{:.0%}"),
}


class Divergences(Experiment):
    """A table of imitation on each of two levels, and one of the reward on the static one.

    Their columns: share of greedy moves that are optimal (agreement), discounted return lost by them (regret), total
    variation between the occupancy measures of the soft policy and the soft optimum (occupancy), correlation of the
    recovered with the true reward over all moves of unseen grids (Pearson all, Spearman) and over the demonstrated
    ones (Pearson expert), EPIC distance, EPIC's formula on rewards without shaping (shap. free), and the share of the
    way from random to optimal return that a plan for the recovered reward alone makes (transf.).
    """

    name = "divergences"
    summary = "every divergence against the exact solution"

    def add_options(self, options: argparse.ArgumentParser) -> None:
        """How much is played."""
        options.add_argument("--episodes", type=int, default=2000, help="unseen grids to play on")
        options.add_argument("--grids", type=int, default=64, help="unseen grids to solve exactly")

    def trials(self, options: argparse.Namespace) -> Iterator[Trial]:
        """Imitation first, then rewards."""
        quick = {"trainer.max_steps": "8"} if options.quick else {}
        episodes, grids = ("50", "4") if options.quick else (str(options.episodes), str(options.grids))
        play = ("--episodes", episodes, "--seed", "1", "--truth", grids)
        shown = demonstrations_path(GridWorldConfig("static", 10, 10), 30, 0, "data")
        rewards = (*play, "--transfer", grids, "--demonstrations", str(shown))
        for kind, level, objective, config, settings in self._settings(str(options.configs)):
            reward = level == "static"
            for seed in options.seeds:
                yield Trial(
                    group=f"{level}_{objective}{f'_{kind}' if reward else ''}".replace(", ", "_"),
                    config=config,
                    seed=seed,
                    settings=_BARE | settings | quick,
                    evaluations={level: rewards if reward else play},
                    factors={"objective": objective, "level": level, "kind": kind},
                    checkpoint="last",
                )

    @staticmethod
    def _settings(configs: str) -> Iterator[tuple[str, str, str, str, dict[str, str]]]:
        """Kind, level, objective, configuration and changes to it."""
        for level in _LEVELS:
            at = {"data.env.level": level}
            for divergence in _OFFLINE:
                yield "offline", level, divergence, f"{configs}/cnn_iq.yaml", at | {"model.divergence": divergence}
            yield "online, absorbing", level, "Chi2Mixture", f"{configs}/cnn_iq_online.yaml", at
            yield "offline", level, "cloning", f"{configs}/cnn_bc.yaml", at
        offline = {"data.online": "null", "model.value_term": "ExpertStates"}
        for divergence in _OFFLINE:
            for kind, absorbing in (("offline", "false"), ("offline, absorbing", "true")):
                if kind == "offline" or divergence not in _LINEAR:
                    changes = {"model.divergence": divergence, "model.absorbing_states": absorbing}
                    yield kind, "static", divergence, f"{configs}/static_reward.yaml", offline | changes
        for kind, absorbing in (("online", "false"), ("online, absorbing", "true")):
            changes = {"model.absorbing_states": absorbing}
            yield kind, "static", "Chi2Mixture", f"{configs}/static_reward.yaml", changes
            yield kind, "static", "LSIQ", f"{configs}/cnn_ls_iq.yaml", _STATIC | changes
        yield "online, absorbing", "static", "SQIL", f"{configs}/cnn_sqil.yaml", _STATIC

    def tables(self, rows: Sequence[Row]) -> list[Table]:
        """One for each level."""
        tables = []
        for level in (*_LEVELS, "static"):
            here = [row for row in rows if row.evaluation == level and row.refused is None]
            columns = _REWARD_COLUMNS if level == "static" else _COLUMNS
            if here:
                tables.append(_table(f"{level}: means over seeds", here, columns))
        return tables


def _table(title: str, rows: Sequence[Row], columns: Mapping[str, tuple[str, str]]) -> Table:
    table = new_table(title, "objective", *(heading for heading, _ in columns.values()))
    for row in rows:
        factors: Mapping[str, Any] = row.factors
        kind = f", {factors['kind']}" if row.evaluation == "static" and "kind" in factors else ""
        cells = [
            form.format(sum(row.each[name]) / len(row.each[name])) if name in row.each else ""
            for name, (_, form) in columns.items()
        ]
        table.add_row(f"{factors.get('objective', row.group)}{kind.replace('absorbing', 'abs.')}", *cells)
    return table
