r"""Ground truth on GridWorld: how right are a Q-function, its policy and its recovered reward?

Everything is exact, by value iteration and linear solves in float64, over the cells from which the goal can be reached.

What is identified: from behaviour alone a reward is known only up to a positive scale and potential shaping,
r'(s, a) = r(s, a) + gamma Phi(s') - Phi(s), which changes no optimal policy (Ng, Harada and Russell 1999). Pearson,
Spearman and EPIC compare the rewards as they are (EPIC forgives scale and shaping that holds whatever the next state
is); ``shaping_free_distance`` compares what is identified on the grid's own moves.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from iqlightning.evaluation.reward_distances import epic_distance, pearson, shaping_free_distance, spearman
from iqlightning.gridworld.evaluation.value_maps import ValueMaps
from iqlightning.gridworld.game.layouts import Layouts
from iqlightning.gridworld.game.planning import (
    UNREACHABLE,
    evaluate_policy,
    occupancy,
    optimal_actions,
    shortest_paths,
    soft_value_iteration,
)
from iqlightning.gridworld.game.rules import next_cells, transition_rewards
from iqlightning.types import Figure

__all__ = [
    "TRUTH_FIGURES",
    "GroundTruth",
    "ground_truth",
    "occupancy_divergence",
    "policy_agreement",
    "regret",
    "soft_policy",
    "truth_metrics",
]

_SHARE, _SIGNED, _LOSS = (0.0, 1.0), (-1.0, 1.0), (0.0, math.inf)

# name, label, form; heading and form of a column; nothing beside it; the better end and what can be
TRUTH_FIGURES = (
    Figure("policy_agreement", "greedy moves on a shortest path", ".3f", "agree-\nment", ".3f", "", "high", _SHARE),
    Figure("regret", "regret of the greedy policy (discounted return lost)", ".3f", "regret", ".2f", "", "low", _LOSS),
    Figure(
        "occupancy_divergence",
        "occupancy divergence (total variation)",
        ".3f",
        "occu-\npancy",
        ".3f",
        "",
        "low",
        _SHARE,
    ),
    Figure("reward_pearson", "reward: Pearson correlation, all moves", ".3f", "Pear-\nson", ".3f", "", "high", _SIGNED),
    Figure(
        "reward_spearman", "reward: Spearman correlation, all moves", ".3f", "Spear-\nman", ".3f", "", "high", _SIGNED
    ),
    Figure("reward_pearson_visited", "reward: Pearson correlation, the expert's moves", better="high", limits=_SIGNED),
    Figure("reward_epic", "reward: EPIC distance", ".3f", "EPIC", ".3f", "", "low", _SHARE),
    Figure("reward_shaping_free", "reward: distance up to shaping", ".3f", "shap.\nfree", ".3f", "", "low", _SHARE),
    Figure("q_error", "mean |Q - Q*|", better="low", limits=_LOSS),
    Figure("v_error", "mean |V - V*|", better="low", limits=_LOSS),
)
"""The figures of :func:`truth_metrics`; the better end of each is that of the exact solution."""


class GroundTruth(NamedTuple):
    """The exact soft-optimal solution of B grids; S flat cells, 4 moves, float64.

    Attributes:
        next_cells: (B, S, 4) int64 where each move leads.
        terminal: (B, S, 4) bool, the move ends the episode.
        rewards: (B, S, 4) the game's own.
        decided: (B, S) bool, free cells from which the goal can be reached, the goal excepted: where anything is
        compared. optimal: (B, S, 4) bool, moves on a shortest path. q: (B, S, 4) Q* at ``temperature``. v: (B, S) V*.
        policy: (B, S, 4) pi*, softmax(Q* / temperature), or uniform over the best moves at temperature 0. gamma: the
        discount. temperature: entropy weight.
    """

    next_cells: Int[Tensor, "batch states 4"]
    terminal: Bool[Tensor, "batch states 4"]
    rewards: Float[Tensor, "batch states 4"]
    decided: Bool[Tensor, "batch states"]
    optimal: Bool[Tensor, "batch states 4"]
    q: Float[Tensor, "batch states 4"]
    v: Float[Tensor, "batch states"]
    policy: Float[Tensor, "batch states 4"]
    gamma: float
    temperature: float


def soft_policy(q: Float[Tensor, "batch states actions"], temperature: float) -> Float[Tensor, "batch states actions"]:
    """softmax(Q / temperature) (Haarnoja et al. 2017, eq. 6); at temperature 0 uniform over the best actions."""
    if temperature > 0:
        return torch.softmax(q / temperature, 2)
    best = q >= q.amax(2, keepdim=True) - 1e-9
    return best / best.sum(2, keepdim=True).to(q.dtype)


def ground_truth(layouts: Layouts, gamma: float, temperature: float) -> GroundTruth:
    """Solves the game itself; at temperature 0 V is the plain maximum."""
    walls, _, goal = layouts
    moves = next_cells(walls)
    rewards, terminal = transition_rewards(moves, goal)
    distances = shortest_paths(walls, goal)
    cut_off = (distances == UNREACHABLE).flatten(1)
    terminal = terminal | cut_off.unsqueeze(2)
    q, v = soft_value_iteration(rewards, moves, terminal, gamma, temperature)
    return GroundTruth(
        next_cells=moves,
        terminal=terminal,
        rewards=rewards,
        decided=(distances > 0).flatten(1),
        optimal=optimal_actions(distances, walls),
        q=q,
        v=v,
        policy=soft_policy(q, temperature),
        gamma=gamma,
        temperature=temperature,
    )


def policy_agreement(truth: GroundTruth, q: Float[Tensor, "batch states 4"]) -> Float[Tensor, " batch"]:
    """Share of decided cells whose greedy move lies on a shortest path."""
    best = truth.optimal.gather(2, q.argmax(2, keepdim=True)).squeeze(2) & truth.decided
    return best.sum(1) / truth.decided.sum(1).to(torch.float64)


def regret(truth: GroundTruth, policy: Float[Tensor, "batch states 4"]) -> Float[Tensor, " batch"]:
    """Mean over decided cells of V_max(s) - V_pi(s): true discounted return lost by starting there, without entropy.

    V_max is the hard optimum, whatever the truth's temperature.
    """
    _, best = soft_value_iteration(truth.rewards, truth.next_cells, truth.terminal, truth.gamma, 0.0)
    reached = evaluate_policy(policy, truth.rewards, truth.next_cells, truth.terminal, truth.gamma)
    lost = (best - reached).masked_fill(~truth.decided, 0.0)
    return lost.sum(1) / truth.decided.sum(1)


def occupancy_divergence(truth: GroundTruth, policy: Float[Tensor, "batch states 4"]) -> Float[Tensor, " batch"]:
    """Total variation between a policy's occupancy measure and the soft optimum's, starts uniform over decided cells.

    Episodes that have ended count as one further state, so that both measures sum to 1.
    """
    start = truth.decided / truth.decided.sum(1, keepdim=True).to(torch.float64)
    measures = [occupancy(pi, start, truth.next_cells, truth.terminal, truth.gamma) for pi in (policy, truth.policy)]
    gap = measures[0] - measures[1]
    ended = gap.sum((1, 2)).abs()
    return (gap.abs().sum((1, 2)) + ended) / 2


def truth_metrics(maps: ValueMaps) -> dict[str, float]:
    """Everything in this module about what a policy believes of some grids, averaged over the grids.

    Returns:
        ``reward_pearson``, ``reward_spearman``, ``reward_epic``, ``reward_shaping_free`` over all moves from decided
        cells; ``reward_pearson_visited`` over those that a shortest-path expert may make from the grid's own start;
        ``q_error`` and ``v_error`` (mean absolute difference from Q* and V*), ``policy_agreement``, ``regret`` of the
        greedy policy, ``occupancy_divergence`` of the soft policy.
    """
    truth = ground_truth(maps.layouts, maps.gamma, maps.temperature)
    batch, states = truth.decided.shape
    # walls and the goal hold nan, and count for nothing below
    q = maps.q.reshape(batch, states, 4).nan_to_num()
    v = maps.v.reshape(batch, states).nan_to_num()
    rewards = maps.rewards.reshape(batch, states, 4).nan_to_num()
    counted = truth.decided.unsqueeze(2).expand_as(q)
    expert = truth.optimal / truth.optimal.sum(2, keepdim=True).clamp_min(1).to(torch.float64)
    start = torch.nn.functional.one_hot(maps.layouts.start, states).to(torch.float64)
    visited = occupancy(expert, start, truth.next_cells, truth.terminal, truth.gamma) > 0
    greedy = torch.nn.functional.one_hot(q.argmax(2), 4).to(torch.float64)
    dynamics = (truth.next_cells, truth.terminal, truth.gamma)
    number = truth.decided.sum(1)
    metrics = {
        "reward_pearson": pearson(rewards, truth.rewards, counted),
        "reward_spearman": spearman(rewards, truth.rewards, counted),
        "reward_epic": epic_distance(rewards, truth.rewards, *dynamics, counted),
        "reward_shaping_free": shaping_free_distance(rewards, truth.rewards, *dynamics, counted),
        "reward_pearson_visited": pearson(rewards, truth.rewards, visited),
        "q_error": ((q - truth.q).abs() * counted).sum((1, 2)) / (4 * number),
        "v_error": ((v - truth.v).abs() * truth.decided).sum(1) / number,
        "policy_agreement": policy_agreement(truth, q),
        "regret": regret(truth, greedy),
        "occupancy_divergence": occupancy_divergence(truth, soft_policy(q, maps.temperature)),
    }
    return {name: float(value.nanmean()) for name, value in metrics.items()}
