"""What the report finds out about a group of runs by asking its checkpoint: played grids, maps, visits, failures."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from iqlightning.analysis.report.charts import Quantiles
from iqlightning.analysis.runs import Group
from iqlightning.checkpoints import load_policy
from iqlightning.errors import UserError
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.evaluation.failures import Failure, explain_failures
from iqlightning.gridworld.evaluation.play import evaluate_gridworld
from iqlightning.gridworld.evaluation.results import GridWorldResults
from iqlightning.gridworld.evaluation.truth import ground_truth, truth_metrics
from iqlightning.gridworld.evaluation.value_maps import ValueMaps, value_maps
from iqlightning.gridworld.evaluation.visitation import Visitation, visitation
from iqlightning.gridworld.game.layouts import Layouts, draw_layouts
from iqlightning.keyed import Stream, hash_keys
from iqlightning.policies import QPolicy

__all__ = ["Examination", "examine"]

# linear solves over all cells of a grid take seconds from here on
_MOST_CELLS = 1024
_PROBES = 16


@dataclass(frozen=True)
class Examination:
    """What a checkpoint shows on GridWorld.

    Attributes:
        policy: of the checkpoint.
        env: its level.
        results: greedy episodes on grids of the test split, with paths.
        failures: those that failed.
        maps: of probe grids that are the same for every checkpoint of the same level.
        visits: on the same grids; None where grids are too large for it.
        truth: figures of :func:`iqlightning.gridworld.evaluation.truth.truth_metrics`; empty where grids are too large.
        value_correlation: Pearson's, of V with V* over all decided cells of the probe grids.
        rewards: recovered rewards, sorted by what a move does.
    """

    policy: QPolicy
    env: GridWorldConfig
    results: GridWorldResults
    failures: list[Failure]
    maps: ValueMaps
    visits: Visitation | None
    truth: dict[str, float]
    value_correlation: float
    rewards: list[Quantiles]


def examine(group: Group, episodes: int, seed: int) -> Examination | str:
    """Looks at the checkpoint of the group's first seed.

    Args:
        group: of runs.
        episodes: grids to play.
        seed: of the grids.

    Returns:
        What was found, or a sentence that says why there is nothing.
    """
    run = group.shown
    if run is None or run.checkpoint is None:
        return "no checkpoint"
    try:
        policy = load_policy(run.checkpoint)
    except UserError as error:
        return str(error)
    env = policy.env
    if not isinstance(env, GridWorldConfig):
        return "not a GridWorld"
    results = evaluate_gridworld(policy, env, episodes, seed, record_paths=True)
    large = env.num_cells > _MOST_CELLS
    maps = value_maps(policy, _probes(env, 2 if large else _PROBES, seed))
    return Examination(
        policy=policy,
        env=env,
        results=results,
        failures=explain_failures(results, policy),
        maps=maps,
        visits=None if large else visitation(maps, policy.value.temperature),
        truth={} if large else truth_metrics(maps),
        value_correlation=_correlation(maps.v[maps.reachable], maps.optimal_v[maps.reachable]),
        rewards=_rewards(maps),
    )


def _probes(env: GridWorldConfig, number: int, seed: int) -> Layouts:
    # keys of their own, apart from the grids that are played
    return draw_layouts(env, hash_keys(Stream.PROBE, seed, 1).expand(number), torch.arange(number), split="test")


def _correlation(x: Float[Tensor, " cells"], y: Float[Tensor, " cells"]) -> float:
    if len(x) < 2 or float(x.std()) == 0.0 or float(y.std()) == 0.0:
        return float("nan")
    return float(torch.corrcoef(torch.stack([x, y]))[0, 1])


def _rewards(maps: ValueMaps) -> list[Quantiles]:
    """Recovered rewards of the four kinds of moves that the game itself knows."""
    truth = ground_truth(maps.layouts, 0.0, 0.0)
    rewards = maps.rewards.flatten(1, 2)
    decided = truth.decided[..., None].expand_as(rewards)
    here = torch.arange(rewards.shape[1])[None, :, None]
    stays = truth.next_cells == here
    kinds = {
        "reaches the goal (+10)": truth.terminal,
        "shortest path (-1)": truth.optimal & ~truth.terminal,
        "loses ground (-1)": ~truth.optimal & ~stays,
        "stays in place (-1)": stays,
    }
    rows = []
    for label, which in kinds.items():
        values = rewards[which & decided]
        if len(values):
            five = torch.quantile(values, torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95], dtype=values.dtype)).tolist()
            rows.append(Quantiles(label, (five[0], five[1], five[2], five[3], five[4]), len(values)))
    return rows
