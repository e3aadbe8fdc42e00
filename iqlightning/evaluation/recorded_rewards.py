"""The recovered reward beside the rewards that demonstrations recorded: needs no solution, works in any environment."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from iqlightning.evaluation.reward_distances import pearson, spearman
from iqlightning.types import Trajectories

__all__ = ["recorded_reward_metrics"]

# transitions in one call of the network
_CHUNK = 4096


@torch.no_grad()
def recorded_reward_metrics(
    policy: Any, trajectories: Trajectories, device: str | torch.device = "cpu"
) -> dict[str, float]:
    """Correlations of r(s, a) = Q(s, a) - gamma (1 - terminated) V(s') with the rewards of demonstrations.

    Learning never sees those rewards. Correlations forgive a positive scale and a constant, nothing else; a recorded
    reward that is always the same has none (nan).

    Returns:
        ``transition_pearson`` and ``transition_spearman`` over the distinct transitions, each counted once;
        ``return_pearson`` and ``return_spearman`` over the undiscounted returns of the episodes (the figure that Garg
        et al. 2021, section 5.3, report); ``transitions``, how many are distinct, and ``episodes``.
    """
    recovered = []
    for rows in torch.arange(trajectories.num_transitions).split(_CHUNK):
        part = trajectories.transitions(rows.to(trajectories.actions.device))
        parts = (part.obs, part.actions, part.next_obs, part.terminated)
        recovered.append(policy.rewards(*(tensor.to(device) for tensor in parts)).double().cpu())
    rewards = torch.cat(recovered)
    true = trajectories.rewards.double().cpu()
    first = _first_of_each(trajectories)
    episodes = trajectories.episode_of.cpu()
    nothing = torch.zeros(trajectories.num_episodes, dtype=torch.float64)
    transition = _correlations(rewards[first], true[first])
    overall = _correlations(nothing.index_add(0, episodes, rewards), nothing.index_add(0, episodes, true))
    return {
        "transition_pearson": transition[0],
        "transition_spearman": transition[1],
        "return_pearson": overall[0],
        "return_spearman": overall[1],
        "transitions": len(first),
        "episodes": trajectories.num_episodes,
    }


def _first_of_each(trajectories: Trajectories) -> Tensor:
    """Where each distinct (s, a, s') occurs first."""
    seen: dict[bytes, int] = {}
    for rows in torch.arange(trajectories.num_transitions).split(_CHUNK):
        part = trajectories.transitions(rows.to(trajectories.actions.device))
        columns = [part.obs.cpu().numpy(), part.actions.cpu().numpy(), part.next_obs.cpu().numpy()]
        for row, values in zip(rows.tolist(), zip(*columns, strict=True), strict=True):
            seen.setdefault(b"".join(value.tobytes() for value in values), row)
    return torch.tensor(list(seen.values()))


def _correlations(x: Float[Tensor, " count"], y: Float[Tensor, " count"]) -> tuple[float, float]:
    x, y = x.view(1, 1, -1), y.view(1, 1, -1)
    counted = torch.ones_like(x, dtype=torch.bool)
    return float(pearson(x, y, counted)), float(spearman(x, y, counted))
