r"""How alike two rewards are: correlations, EPIC, and a distance that no shaping changes. One number for each grid.

Rewards are (B, S, A) tables of state and action; ``counted`` (B, S, A) says which pairs count, each once. A grid on
which one of the rewards does not vary over the pairs that count has no correlation: nan.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import stats
from torch import Tensor

__all__ = ["epic_canonical", "epic_distance", "pearson", "shaping_free", "shaping_free_distance", "spearman"]


def pearson(
    x: Float[Tensor, "batch states actions"],
    y: Float[Tensor, "batch states actions"],
    counted: Bool[Tensor, "batch states actions"],
) -> Float[Tensor, " batch"]:
    """cov(x, y) / (sd(x) sd(y)); nan where a variance is 0."""
    return _correlations(x, y, counted, lambda values: values)


def spearman(
    x: Float[Tensor, "batch states actions"],
    y: Float[Tensor, "batch states actions"],
    counted: Bool[Tensor, "batch states actions"],
) -> Float[Tensor, " batch"]:
    """Pearson's correlation of the ranks, ties sharing the mean of theirs.

    Values that are equal up to rounding, a billionth of the largest, are ties.
    """
    return _correlations(x, y, counted, lambda values: stats.rankdata(_rounded(values)))


def _correlations(
    x: Tensor, y: Tensor, counted: Tensor, transform: Callable[[np.ndarray], np.ndarray]
) -> Float[Tensor, " batch"]:
    correlations = []
    for x_one, y_one, mask in zip(x, y, counted, strict=True):
        a, b = (transform(each[mask].double().cpu().numpy()) for each in (x_one, y_one))
        # rounding leaves a little variance in a constant
        varies = len(a) > 1 and a.std() * b.std() > 1e-14
        result: Any = stats.pearsonr(a, b) if varies else None
        correlations.append(float(result.statistic) if varies else float("nan"))
    return torch.tensor(correlations, dtype=torch.float64, device=x.device)


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.round(values / max(np.abs(values).max(), np.finfo(values.dtype).tiny) * 1e9)


def epic_canonical(
    rewards: Float[Tensor, "batch states actions"],
    next_states: Int[Tensor, "batch states actions"],
    terminal: Bool[Tensor, "batch states actions"],
    gamma: float,
    states: Float[Tensor, "batch states"],
) -> Float[Tensor, "batch states actions"]:
    r"""C(R)(s, a, s') = R(s, a) + gamma E[R(s', A)] - E[R(s, A)] - gamma E[R(S, A)] on the moves of the grid.

    Gleave et al. 2021 (arXiv 2006.13900, definition 4.1), for rewards of state and action: S from ``states``, A
    uniform; the mean over the next state S' falls away. A state after the end is worth no reward.
    """
    mean = rewards.mean(2)
    overall = (states * mean).sum(1) / states.sum(1)
    return _shaped(rewards, mean, next_states, terminal, gamma) - gamma * overall[:, None, None]


def epic_distance(
    rewards: Float[Tensor, "batch states actions"],
    others: Float[Tensor, "batch states actions"],
    next_states: Int[Tensor, "batch states actions"],
    terminal: Bool[Tensor, "batch states actions"],
    gamma: float,
    counted: Bool[Tensor, "batch states actions"],
) -> Float[Tensor, " batch"]:
    """sqrt((1 - rho) / 2), rho Pearson's correlation of the canonical rewards (Gleave et al. 2021, definition 4.6).

    0 for rewards that differ by a positive scale, 1 for opposite ones. In a reward of state and action, shaping by the
    state that a move leads to does not cancel (EPIC asks for R(s, a, s') at moves that the grid does not have); see
    :func:`shaping_free_distance`.
    """
    states = counted.sum(2).to(rewards.dtype)
    a, b = (epic_canonical(r, next_states, terminal, gamma, states) for r in (rewards, others))
    return _pearson_distance(a, b, counted)


def shaping_free(
    rewards: Float[Tensor, "batch states actions"],
    next_states: Int[Tensor, "batch states actions"],
    terminal: Bool[Tensor, "batch states actions"],
    gamma: float,
) -> Float[Tensor, "batch states actions"]:
    """R(s, a) + gamma V_u(s') - V_u(s), the advantages of the uniform policy u under R.

    The value-adjusted canonical form of Skalse et al. 2024 (arXiv 2309.15257, STARC): two rewards have the same one
    exactly if they differ by shaping on the moves of the grid.
    """
    batch, states, actions = rewards.shape
    share = (~terminal).to(rewards.dtype) / actions
    matrix = torch.zeros((batch, states, states), dtype=rewards.dtype, device=rewards.device)
    matrix.scatter_add_(2, next_states, share)
    identity = torch.eye(states, dtype=rewards.dtype, device=rewards.device)
    v = torch.linalg.solve(identity - gamma * matrix, rewards.mean(2))
    return _shaped(rewards, v, next_states, terminal, gamma)


def shaping_free_distance(
    rewards: Float[Tensor, "batch states actions"],
    others: Float[Tensor, "batch states actions"],
    next_states: Int[Tensor, "batch states actions"],
    terminal: Bool[Tensor, "batch states actions"],
    gamma: float,
    counted: Bool[Tensor, "batch states actions"],
) -> Float[Tensor, " batch"]:
    """EPIC's formula for :func:`shaping_free` rewards: 0 if they differ by a positive scale and shaping only."""
    a, b = (shaping_free(r, next_states, terminal, gamma) for r in (rewards, others))
    return _pearson_distance(a, b, counted)


def _shaped(rewards: Tensor, potential: Tensor, next_states: Tensor, terminal: Tensor, gamma: float) -> Tensor:
    """R(s, a) + gamma Phi(s') - Phi(s), where Phi (B, S) is 0 after the end."""
    following = potential.gather(1, next_states.flatten(1)).view(rewards.shape).masked_fill(terminal, 0.0)
    return rewards + gamma * following - potential.unsqueeze(2)


def _pearson_distance(x: Tensor, y: Tensor, counted: Tensor) -> Tensor:
    """sqrt((1 - rho) / 2)."""
    return ((1 - pearson(x, y, counted)) / 2).sqrt()
