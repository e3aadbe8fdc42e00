r"""Is the recovered reward good for anything? Solve the game anew with it alone, and see what return that reaches.

The reward is read off on a grid and then kept, cell by cell; a new policy is planned for it by policy iteration (no
entropy) on a grid that may have other walls or slippery moves, and is paid by the game's own reward. Two readings:

    r(s, a) = Q(s, a) - gamma V(s'),  s' where the move led on the old grid (Garg et al. 2021, definition 3.1)
    r(s, a, s') = Q(s, a) - gamma V(s'),  s' where the move leads on the new one

With the very same grid both are the same. Whatever shaping they hold, the plan then is the policy's own if V is the
maximum; a soft V also subtracts gamma times its entropy bonus, at most temperature log 4, from every move, and a plan
without entropy gets nothing back for it. On other grids they need not work:
shaping in r(s, a) cancels only along the moves it was learnt with, and r(s, a, s') is the old advantage under a shaping
that always cancels, so that the new plan repeats the old preferences (Fu et al. 2018, arXiv 1710.11248). Cells that
were walls were never seen.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from iqlightning.errors import UserError
from iqlightning.gridworld.evaluation.value_maps import QFunction, action_values
from iqlightning.gridworld.game.layouts import Layouts
from iqlightning.gridworld.game.planning import UNREACHABLE, shortest_paths
from iqlightning.gridworld.game.rules import move_rewards, next_cells

__all__ = [
    "SETTINGS",
    "TransferReturns",
    "other_walls",
    "reward_transfer",
    "slippery_moves",
    "transfer_metrics",
]

#: The changes of :func:`transfer_metrics`: name to (whether walls change, whether moves slip).
SETTINGS = {
    "same": (False, False),
    "slippery": (False, True),
    "other_walls": (True, False),
    "other_walls_slippery": (True, True),
}


class TransferReturns(NamedTuple):
    """True discounted returns without entropy, each (B,): means over the cells that reach the goal of the new grid.

    Attributes:
        reached: of the policy planned for the recovered reward.
        best: of the policy planned for the true one.
        uniform: of uniformly random moves.
    """

    reached: Float[Tensor, " batch"]
    best: Float[Tensor, " batch"]
    uniform: Float[Tensor, " batch"]

    @property
    def share(self) -> Float[Tensor, " batch"]:
        """(reached - uniform) / (best - uniform): 1 for as good as the truth, 0 for no better than chance."""
        return (self.reached - self.uniform) / (self.best - self.uniform)


def slippery_moves(slip: float) -> Float[Tensor, "intended made"]:
    """Probabilities of the move that is made: the intended one, or one at a right angle to it, ``slip`` / 2 each."""
    if not 0 <= slip < 1:
        raise UserError(f"the probability of slipping must lie in [0, 1), not {slip}")
    eye = torch.eye(4, dtype=torch.float64)
    return (1 - slip) * eye + slip / 2 * (eye.roll(1, 1) + eye.roll(-1, 1))


def other_walls(layouts: Layouts, others: Layouts) -> Bool[Tensor, "batch height width"]:
    """The walls of ``others``, except on the cells of start and goal of ``layouts``."""
    walls = others.walls.clone()
    for cell in (layouts.start, layouts.goal):
        walls.flatten(1).scatter_(1, cell.unsqueeze(1), False)
    return walls


@torch.no_grad()
def reward_transfer(
    policy: QFunction,
    layouts: Layouts,
    *,
    walls: Bool[Tensor, "batch height width"] | None = None,
    slip: float = 0.0,
    per_transition: bool = False,
    device: str | torch.device = "cpu",
) -> TransferReturns:
    """Plans with the recovered reward of ``layouts`` on changed grids.

    Args:
        policy: a Q-function on ``device``.
        layouts: B grids that the reward is read off on; their goals stay.
        walls: walls of the grids to plan on; None for the same.
        slip: probability that a move slips to one side, see :func:`slippery_moves`.
        per_transition: r(s, a, s') instead of r(s, a).
        device: where the policy is.
    """
    gamma = policy.gamma
    layouts = Layouts(*(tensor.cpu() for tensor in layouts))
    new_walls = layouts.walls if walls is None else walls.cpu()
    q, v = action_values(policy, layouts, device)
    goal = layouts.goal
    moves = next_cells(new_walls)
    made = slippery_moves(slip)
    at_goal = (torch.arange(q.shape[1]) == goal.unsqueeze(1)).unsqueeze(2)
    distances = shortest_paths(new_walls, goal).flatten(1)
    # what cannot reach the goal is left out: nothing there depends on the reward that is judged
    decided = distances > 0
    reaches = moves == goal[:, None, None]
    ends = reaches | at_goal | (distances == UNREACHABLE).unsqueeze(2)

    # one for each pair of the intended and the made move: (B, S, 4, 4)
    true = move_rewards(reaches, torch.float64).unsqueeze(2).expand(-1, -1, 4, -1)
    if per_transition:
        recovered = q.unsqueeze(3) - gamma * _following(v, moves, ends).unsqueeze(2)
    else:
        old = next_cells(layouts.walls)
        r = q - gamma * _following(v, old, (old == goal[:, None, None]) | at_goal)
        recovered = r.unsqueeze(3).expand_as(true)

    def value(pi: Tensor) -> Tensor:
        return _evaluate(pi, true, moves, ends, made, gamma)

    planned, best = (_plan(rewards, moves, ends, made, gamma) for rewards in (recovered, true))
    uniform = torch.full_like(planned, 0.25)
    weights = decided / decided.sum(1, keepdim=True).to(torch.float64)
    return TransferReturns(*((weights * value(pi)).sum(1) for pi in (planned, best, uniform)))


def transfer_metrics(
    policy: QFunction,
    layouts: Layouts,
    others: Layouts,
    *,
    slip: float = 0.2,
    device: str | torch.device = "cpu",
) -> dict[str, dict[str, float]]:
    """:func:`reward_transfer` in each of :data:`SETTINGS`, as means over the grids.

    Args:
        policy: a Q-function on ``device``.
        layouts: B grids that the reward is read off on.
        others: B grids whose walls take the place of theirs.
        slip: probability that a move slips, where moves do.
        device: where the policy is.

    Returns:
        for each setting ``reached``, ``best`` and ``uniform`` (see :class:`TransferReturns`), ``share`` = (reached -
        uniform) / (best - uniform) of these means; ``transition_reached`` and ``transition_share``, the same with
        r(s, a, s'); and ``grids``, how many counted: where walls close the goal in there is nothing to plan.
    """
    settings = {}
    for name, (walls_change, slips) in SETTINGS.items():
        figures: dict[str, float] = {}
        for prefix, per_transition in (("", False), ("transition_", True)):
            returns = reward_transfer(
                policy,
                layouts,
                walls=other_walls(layouts, others) if walls_change else None,
                slip=slip if slips else 0.0,
                per_transition=per_transition,
                device=device,
            )
            counts = returns.best.isfinite()
            reached, best, uniform = (float(value[counts].mean()) for value in returns)
            figures |= {"best": best, "uniform": uniform, "grids": float(counts.sum())}
            figures |= {
                f"{prefix}reached": reached,
                f"{prefix}share": (reached - uniform) / (best - uniform) if best > uniform else math.nan,
            }
        settings[name] = figures
    return settings


def _following(v: Tensor, moves: Tensor, ends: Tensor) -> Float[Tensor, "batch states 4"]:
    """V where each move leads, 0 where the episode ends."""
    return v.gather(1, moves.flatten(1)).view(moves.shape).masked_fill(ends, 0.0)


def _backup(rewards: Tensor, v: Tensor, moves: Tensor, ends: Tensor, made: Tensor, gamma: float) -> Tensor:
    """Q(s, a) = sum_b P(b | a) (r(s, a, s_b) + gamma V(s_b)), b the move that is made."""
    return ((rewards + gamma * _following(v, moves, ends).unsqueeze(2)) * made).sum(3)


def _plan(rewards: Tensor, moves: Tensor, ends: Tensor, made: Tensor, gamma: float) -> Float[Tensor, "batch states 4"]:
    """The best policy, uniform among moves within rounding of the best, by policy iteration (Howard 1960)."""
    scale = max(1.0, float(rewards.abs().max()) / (1 - gamma))
    q = _backup(rewards, torch.zeros(moves.shape[:2], dtype=torch.float64), moves, ends, made, gamma)
    chosen = q.argmax(2)
    # each round improves some state or is the last; in practice there are about as many as the longest path has moves
    for _ in range(10_000):
        one_hot = torch.nn.functional.one_hot(chosen, 4).to(torch.float64)
        v = _evaluate(one_hot, rewards, moves, ends, made, gamma)
        q = _backup(rewards, v, moves, ends, made, gamma)
        better = q.amax(2) > v + 1e-10 * scale
        if not bool(better.any()):
            break
        chosen = torch.where(better, q.argmax(2), chosen)
    best = (q >= q.amax(2, keepdim=True) - 1e-8 * scale).to(torch.float64)
    return best / best.sum(2, keepdim=True)


def _evaluate(
    policy: Tensor, rewards: Tensor, moves: Int[Tensor, "batch states 4"], ends: Tensor, made: Tensor, gamma: float
) -> Float[Tensor, "batch states"]:
    """V of a policy by one linear solve."""
    batch, states, _ = moves.shape
    # probability of each move being made
    executed = policy @ made
    matrix = torch.zeros((batch, states, states), dtype=torch.float64).scatter_add_(2, moves, executed * ~ends)
    gained = (policy.unsqueeze(3) * made * rewards).sum((2, 3))
    return torch.linalg.solve(torch.eye(states, dtype=torch.float64) - gamma * matrix, gained)
