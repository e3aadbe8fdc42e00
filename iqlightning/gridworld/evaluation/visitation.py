"""Where the expert goes and where a policy goes on the same grids: exact state occupancies, as arrays."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from iqlightning.gridworld.evaluation.truth import ground_truth, soft_policy
from iqlightning.gridworld.evaluation.value_maps import ValueMaps
from iqlightning.gridworld.game.layouts import Layouts
from iqlightning.gridworld.game.planning import occupancy

__all__ = ["Visitation", "visitation"]


class Visitation(NamedTuple):
    """Maps of B grids, float64; each sums to 1 over a grid and is nan on walls and cells cut off from the goal.

    Attributes:
        layouts: walls, start and goal.
        expert: (B, H, W) of the expert who draws uniformly among the moves on shortest paths.
        greedy: (B, H, W) of the policy's best moves.
        drawn: (B, H, W) of softmax(Q / temperature); the same as ``greedy`` at temperature 0.
        greedy_distance: (B,) total variation between ``greedy`` and ``expert``, in [0, 1].
        drawn_distance: (B,) the same of ``drawn``.
    """

    layouts: Layouts
    expert: Float[Tensor, "batch height width"]
    greedy: Float[Tensor, "batch height width"]
    drawn: Float[Tensor, "batch height width"]
    greedy_distance: Float[Tensor, " batch"]
    drawn_distance: Float[Tensor, " batch"]

    def first(self, number: int) -> "Visitation":
        """Those of the first grids alone."""
        return Visitation(self.layouts.select(slice(number)), *(part[:number] for part in self[1:]))


def visitation(maps: ValueMaps, temperature: float | None = None) -> Visitation:
    """Occupancies rho(s) = sum_t gamma^t P(s_t = s) before the goal, scaled to sum to 1, by linear solves.

    Episodes start on every cell from which the goal can be reached, each as often; discounting keeps finite the visits
    of a policy that runs in a loop. As in Garg et al. 2021 (arXiv 2106.12142, section 3).
    """
    temperature = maps.temperature if temperature is None else temperature
    truth = ground_truth(maps.layouts, maps.gamma, 0.0)
    batch, states = truth.decided.shape
    q = maps.q.reshape(batch, states, 4).nan_to_num()
    policies = {
        "expert": truth.optimal / truth.optimal.sum(2, keepdim=True).clamp_min(1).to(torch.float64),
        "greedy": torch.nn.functional.one_hot(q.argmax(2), 4).to(torch.float64),
        "drawn": soft_policy(q, temperature),
    }
    start = truth.decided / truth.decided.sum(1, keepdim=True).to(torch.float64)

    def visits(policy: Tensor) -> Tensor:
        rho = occupancy(policy, start, truth.next_cells, truth.terminal, truth.gamma).sum(2)
        rho = (rho / rho.sum(1, keepdim=True)).masked_fill(~truth.decided, torch.nan)
        return rho.view(maps.layouts.walls.shape)

    visited = {name: visits(policy) for name, policy in policies.items()}
    distances = {name: (visited[name] - visited["expert"]).abs().nansum((1, 2)) / 2 for name in ("greedy", "drawn")}
    return Visitation(
        layouts=maps.layouts, **visited, greedy_distance=distances["greedy"], drawn_distance=distances["drawn"]
    )
