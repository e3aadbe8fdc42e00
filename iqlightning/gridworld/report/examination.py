"""What the report finds out about a policy by asking it: played grids, maps, visits, failures."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from iqlightning.evaluation.reward_distances import pearson
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.evaluation.failures import Failure, explain_failures
from iqlightning.gridworld.evaluation.play import evaluate_gridworld
from iqlightning.gridworld.evaluation.results import GridWorldResults
from iqlightning.gridworld.evaluation.truth import ground_truth, truth_metrics
from iqlightning.gridworld.evaluation.value_maps import ValueMaps, value_maps
from iqlightning.gridworld.evaluation.visitation import Visitation, visitation
from iqlightning.gridworld.game.layouts import draw_layouts
from iqlightning.keyed import Stream, hash_keys
from iqlightning.policies import AgentPolicy

__all__ = ["Examination", "examine"]

# linear solves over all cells of a grid take seconds from here on
_MOST_CELLS = 1024
_PROBES = 16


@dataclass(frozen=True)
class Examination:
    """What a policy does on GridWorld.

    Attributes:
        policy: of a checkpoint.
        env: its level.
        results: greedy episodes on grids of the test split, with paths.
        failures: those that failed.
        maps: of probe grids that are the same for every checkpoint of the same level.
        visits: on the same grids; None where grids are too large for it.
        truth: figures of :func:`iqlightning.gridworld.evaluation.truth.truth_metrics`; empty where grids are too large.
        value_correlation: Pearson's, of V with V* over all decided cells of the probe grids.
        rewards: recovered rewards of the moves from decided cells, by what a move does.
    """

    policy: AgentPolicy
    env: GridWorldConfig
    results: GridWorldResults
    failures: list[Failure]
    maps: ValueMaps
    visits: Visitation | None
    truth: dict[str, float]
    value_correlation: float
    rewards: Mapping[str, Float[Tensor, " moves"]]


def examine(policy: AgentPolicy, env: GridWorldConfig, episodes: int, seed: int) -> Examination:
    """Plays and asks."""
    results = evaluate_gridworld(policy, env, episodes, seed, record_paths=True)
    large = env.num_cells > _MOST_CELLS
    probes = torch.arange(2 if large else _PROBES)
    # keys of their own, apart from the grids that are played
    keys = hash_keys(Stream.PROBE, seed, 1).expand(len(probes))
    maps = value_maps(policy, draw_layouts(env, keys, probes, split="test"))
    v, best = (values[maps.reachable].view(1, 1, -1) for values in (maps.v, maps.optimal_v))
    return Examination(
        policy=policy,
        env=env,
        results=results,
        failures=explain_failures(results, policy),
        maps=maps,
        visits=None if large else visitation(maps, policy.temperature),
        truth={} if large else truth_metrics(maps),
        value_correlation=float(pearson(v, best, torch.ones_like(v, dtype=torch.bool))),
        rewards=_rewards(maps),
    )


def _rewards(maps: ValueMaps) -> dict[str, Tensor]:
    """Recovered rewards of the four kinds of moves that the game itself knows; kinds without a move are left out."""
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
    return {label: values for label, which in kinds.items() if len(values := rewards[which & decided])}
