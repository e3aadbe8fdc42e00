"""What a Q-function believes about whole grids: value, greedy move and recovered reward in every cell, as arrays."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int, Real
from torch import Tensor

from iqlightning.gridworld.game.layouts import Layouts
from iqlightning.gridworld.game.observation import observe
from iqlightning.gridworld.game.planning import optimal_actions, optimal_values, shortest_paths
from iqlightning.gridworld.game.rules import next_cells
from iqlightning.losses.iq import inverse_reward
from iqlightning.losses.values import MaxValue

__all__ = ["QFunction", "ValueMaps", "action_values", "maps_of", "optimal_maps", "temperature_of", "value_maps"]

# observations in one call of the network
_CHUNK = 4096


@runtime_checkable
class QFunction(Protocol):
    """What value maps ask of a policy; :class:`iqlightning.policies.AgentPolicy` is one."""

    gamma: float

    @property
    def value(self) -> Callable[[Tensor], Tensor]:
        """(B, A) Q-values to (B,), the V that training used: soft, or the maximum."""
        ...

    def q_values(self, observations: Real[Tensor, "batch ..."]) -> Float[Tensor, "batch actions"]:
        """(B, A) Q-values."""
        ...


@dataclass(frozen=True)
class ValueMaps:
    """Maps of B grids, on the CPU. Walls and the goal (where nothing is decided any more) hold nan or -1.

    Attributes:
        layouts: walls, start and goal.
        v: (B, H, W) float64 V(s).
        q: (B, H, W, 4) float64 Q(s, a).
        greedy: (B, H, W) int64, argmax of Q.
        on_shortest_path: (B, H, W) bool, the greedy move is one that a shortest path makes.
        rewards: (B, H, W, 4) float64, recovered reward r(s, a) = Q(s, a) - gamma (1 - terminated) V(s').
        greedy_rewards: (B, H, W) float64, the one of the greedy move.
        optimal_v: (B, H, W) float64, exact V* of the true reward at ``gamma`` and ``temperature``; nan also where
            the goal cannot be reached.
        reachable: (B, H, W) bool, free cells from which the goal can be reached, the goal excepted.
        gamma: the discount.
        temperature: the entropy weight, 0 for the plain maximum.
    """

    layouts: Layouts
    v: Float[Tensor, "batch height width"]
    q: Float[Tensor, "batch height width actions"]
    greedy: Int[Tensor, "batch height width"]
    on_shortest_path: Bool[Tensor, "batch height width"]
    rewards: Float[Tensor, "batch height width actions"]
    greedy_rewards: Float[Tensor, "batch height width"]
    optimal_v: Float[Tensor, "batch height width"]
    reachable: Bool[Tensor, "batch height width"]
    gamma: float
    temperature: float

    def first(self, number: int) -> "ValueMaps":
        """Those of the first grids alone."""
        kept = {name: value[:number] for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, layouts=self.layouts.select(slice(number)), **kept)


def temperature_of(policy: QFunction) -> float:
    """The temperature of the policy's value, 0 where that is a plain maximum."""
    temperature = getattr(policy.value, "temperature", 0.0)
    return 0.0 if isinstance(policy.value, MaxValue) else temperature


def optimal_maps(layouts: Layouts, gamma: float, temperature: float) -> Float[Tensor, "batch height width"]:
    """Exact soft-optimal V* of the true reward, nan on walls, the goal and cells cut off from it."""
    walls, _, goal = layouts
    _, v = optimal_values(walls, goal, gamma, temperature)
    return v.masked_fill(_undecided(walls, goal), torch.nan).view(walls.shape)


@torch.no_grad()
def action_values(
    policy: QFunction, layouts: Layouts, device: str | torch.device = "cpu"
) -> tuple[Float[Tensor, "batch cells actions"], Float[Tensor, "batch cells"]]:
    """Q(s, a) and V(s) of the player on every cell of every grid, walls included; float64, on the CPU as they are."""
    walls, _, goal = layouts
    batch, cells = len(walls), walls[0].numel()
    grid = torch.arange(batch).repeat_interleave(cells)
    player = torch.arange(cells).repeat(batch)
    parts = []
    for rows, at in zip(grid.split(_CHUNK), player.split(_CHUNK), strict=True):
        q = policy.q_values(observe(walls[rows].to(device), at.to(device), goal[rows].to(device)))
        parts.append(torch.cat([q, policy.value(q)[:, None]], dim=1).double().cpu())
    q_and_v = torch.cat(parts).view(batch, cells, -1)
    return q_and_v[..., :-1], q_and_v[..., -1]


def value_maps(
    policy: QFunction,
    layouts: Layouts,
    *,
    device: str | torch.device = "cpu",
    optimal_v: Float[Tensor, "batch height width"] | None = None,
) -> ValueMaps:
    """Asks the policy about the player in every cell of every grid.

    Args:
        policy: a Q-function on ``device``; its gamma, and the temperature of its value, are those of V*.
        layouts: B grids.
        device: where the policy is.
        optimal_v: :func:`optimal_maps` of these grids, where the caller keeps them; they do not depend on the policy.
    """
    layouts = Layouts(*(tensor.cpu() for tensor in layouts))
    temperature = temperature_of(policy)
    optimal_v = optimal_maps(layouts, policy.gamma, temperature) if optimal_v is None else optimal_v
    return maps_of(*action_values(policy, layouts, device), layouts, policy.gamma, temperature, optimal_v)


def maps_of(
    q: Float[Tensor, "batch cells 4"],
    v: Float[Tensor, "batch cells"],
    layouts: Layouts,
    gamma: float,
    temperature: float,
    optimal_v: Float[Tensor, "batch height width"] | None = None,
) -> ValueMaps:
    """Maps of given values, where they are not nan; without ``optimal_v`` they are those of the optimum itself."""
    walls, _, goal = layouts
    successors = next_cells(walls)
    next_v = v.gather(1, successors.flatten(1)).flatten()
    terminated = (successors == goal[:, None, None]).flatten()
    rewards = inverse_reward(q.flatten(), next_v, terminated, gamma).view_as(q)
    greedy = q.argmax(-1)
    distances = shortest_paths(walls, goal)
    best = optimal_actions(distances, walls).gather(2, greedy[..., None]).squeeze(2)

    undecided = _undecided(walls, goal) | v.isnan()

    def shaped(values: Tensor, fill: float | int | bool) -> Tensor:
        mask = undecided if values.ndim == 2 else undecided[..., None]
        return values.masked_fill(mask, fill).view(*walls.shape, *values.shape[2:])

    return ValueMaps(
        layouts=layouts,
        v=shaped(v, torch.nan),
        q=shaped(q, torch.nan),
        greedy=shaped(greedy, -1),
        on_shortest_path=shaped(best, False),
        rewards=shaped(rewards, torch.nan),
        greedy_rewards=shaped(rewards.gather(2, greedy[..., None]).squeeze(2), torch.nan),
        optimal_v=shaped(v, torch.nan) if optimal_v is None else optimal_v,
        reachable=distances > 0,
        gamma=gamma,
        temperature=temperature,
    )


def _undecided(walls: Tensor, goal: Tensor) -> Tensor:
    """(B, H * W) bool: walls and goals."""
    cells = torch.arange(walls[0].numel(), device=walls.device)
    return walls.flatten(1) | (cells == goal[:, None])
