"""Planning in whole batches of GridWorlds: shortest paths, exact soft value iteration, policies by linear solves.

Notation: S states are the flat cells, A = 4 actions, moves are deterministic. ``next_states`` (B, S, A) is where a move
leads, ``terminal`` (B, S, A) whether the episode ends with it. The goal is absorbing and worth 0 from there on.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from iqlightning.gridworld.game import bitboards
from iqlightning.gridworld.game.rules import next_cells, transition_rewards

__all__ = [
    "UNREACHABLE",
    "evaluate_policy",
    "manhattan_distance",
    "occupancy",
    "optimal_actions",
    "optimal_values",
    "shortest_moves",
    "shortest_paths",
    "soft_value_iteration",
]

#: The distance of walls and of cells that do not lead to the goal.
UNREACHABLE = -1

_TOLERANCE = 1e-10  # of values


def shortest_paths(
    walls: Bool[Tensor, "batch height width"], goal: Int[Tensor, " batch"]
) -> Int[Tensor, "batch height width"]:
    """Moves from every cell to the goal, int32; :data:`UNREACHABLE` on walls and where no way leads to it.

    Breadth-first from the goals of all grids at once, on bitboards: step k adds the cells at distance k, whose number
    is written bit by bit into as many bitboards as it has digits, so that a step costs a few operations on (B, H)
    integers.
    """
    _, height, width = walls.shape
    free = ~bitboards.pack(walls)
    free &= bitboards.full(1, height, width, walls.device)
    frontier = bitboards.single(goal.unsqueeze(1), height, width) & free
    unseen = free & ~frontier
    digits: list[Tensor] = []
    step = 0
    while step % bitboards.LOOK_EVERY or bool(frontier.any()):
        step += 1
        frontier = bitboards.spread(frontier).bitwise_and_(unseen)
        unseen ^= frontier
        for digit in range(step.bit_length()):
            if digit == len(digits):
                digits.append(torch.zeros_like(frontier))
            if step >> digit & 1:
                digits[digit] |= frontier
    reached = bitboards.unpack(free & ~unseen, width)
    distances = torch.zeros(walls.shape, dtype=torch.int16, device=walls.device)
    for digit, rows in enumerate(digits):
        distances += bitboards.unpack(rows, width).to(torch.int16) << digit
    return distances.masked_fill_(~reached, UNREACHABLE).to(torch.int32)


def shortest_moves(
    walls: Bool[Tensor, "batch height width"], start: Int[Tensor, " batch"], goal: Int[Tensor, " batch"]
) -> Int[Tensor, " batch"]:
    """Moves from start to goal, int64: :func:`shortest_paths` at one cell, several times as fast."""
    _, height, width = walls.shape
    free = ~bitboards.pack(walls)
    free &= bitboards.full(1, height, width, walls.device)
    reached = bitboards.single(goal.unsqueeze(1), height, width) & free
    arrived = bitboards.has_cell(reached, start, width)
    moves = torch.zeros_like(start)
    while True:
        before = reached
        for _ in range(bitboards.LOOK_EVERY):
            moves += ~arrived
            reached = bitboards.spread(reached).bitwise_and_(free)
            arrived = bitboards.has_cell(reached, start, width)
        if bool(arrived.all()) or torch.equal(before, reached):
            return moves.masked_fill_(~arrived, UNREACHABLE)


def manhattan_distance(start: Int[Tensor, "..."], goal: Int[Tensor, "..."], width: int) -> Int[Tensor, "..."]:
    """|rows| + |columns| between flat cells: the moves from one to the other were there no walls."""
    return (start // width - goal // width).abs() + (start % width - goal % width).abs()


def optimal_actions(
    distances: Int[Tensor, "batch height width"], walls: Bool[Tensor, "batch height width"]
) -> Bool[Tensor, "batch cells 4"]:
    """The moves that lead one step nearer to the goal; none at the goal, on walls and where no way leads to it."""
    flat = distances.flatten(1)
    moves = next_cells(walls)
    ahead = flat.gather(1, moves.flatten(1)).view(moves.shape)
    return (ahead == flat.unsqueeze(2) - 1) & (flat > 0).unsqueeze(2)


def soft_value_iteration(
    rewards: Float[Tensor, "batch states actions"],
    next_states: Int[Tensor, "batch states actions"],
    terminal: Bool[Tensor, "batch states actions"],
    gamma: float,
    temperature: float,
) -> tuple[Float[Tensor, "batch states actions"], Float[Tensor, "batch states"]]:
    """The optimal soft values Q* and V* of any rewards, in float64.

    Q(s, a) = r(s, a) + gamma (1 - terminal(s, a)) V(s'),  V(s) = temperature log sum_a exp(Q(s, a) / temperature)

    (Haarnoja et al. 2017, arXiv 1702.08165, eq. 4 and 5); temperature 0 is the hard maximum. Each sweep contracts by
    gamma; it stops when V is within 1e-10 of V*.

    Raises:
        ValueError: if gamma is outside [0, 1] or the temperature is negative.
        ArithmeticError: if gamma is 1 and the values grow without end.
    """
    if not 0.0 <= gamma <= 1.0 or temperature < 0.0:
        raise ValueError(f"gamma must be in [0, 1] and temperature at least 0, not {gamma} and {temperature}")
    rewards = rewards.to(torch.float64)
    discount = gamma * (~terminal).to(torch.float64)
    flat = next_states.flatten(1)
    largest = max(float(rewards.abs().max()) + temperature * math.log(rewards.shape[2]), _TOLERANCE)
    if gamma == 0.0:
        sweeps, enough = 1, math.inf
    elif gamma < 1.0:
        sweeps = math.ceil(math.log(_TOLERANCE * (1.0 - gamma) / largest) / math.log(gamma)) + 1
        enough = _TOLERANCE * (1.0 - gamma) / gamma
    else:
        sweeps, enough = 10 * rewards.shape[1] + 10_000, _TOLERANCE
    v = torch.zeros(rewards.shape[:2], dtype=torch.float64, device=rewards.device)
    change = math.inf
    for _ in range(max(sweeps, 1)):
        before = v
        v = _soft_maximum(rewards + discount * v.gather(1, flat).view(rewards.shape), temperature)
        change = float((v - before).abs().max())
        if change <= enough:
            break
    if gamma == 1.0 and change > enough:
        raise ArithmeticError(f"undiscounted values at temperature {temperature} grow without end; use a gamma below 1")
    q = rewards + discount * v.gather(1, flat).view(rewards.shape)
    return q, _soft_maximum(q, temperature)


def optimal_values(
    walls: Bool[Tensor, "batch height width"], goal: Int[Tensor, " batch"], gamma: float, temperature: float
) -> tuple[Float[Tensor, "batch cells 4"], Float[Tensor, "batch cells"]]:
    """Exact Q* and V* of the game itself, float64: 0 at the goal, NaN on walls and where no way leads to the goal."""
    moves = next_cells(walls)
    rewards, terminal = transition_rewards(moves, goal)
    cut_off = (shortest_paths(walls, goal) == UNREACHABLE).flatten(1)
    # Nobody is ever there, and undiscounted the values there would have no bound.
    q, v = soft_value_iteration(rewards, moves, terminal | cut_off.unsqueeze(2), gamma, temperature)
    v.scatter_(1, goal.unsqueeze(1), 0.0)
    return q.masked_fill_(cut_off.unsqueeze(2), math.nan), v.masked_fill_(cut_off, math.nan)


def _soft_maximum(q: Tensor, temperature: float) -> Tensor:
    return q.amax(2) if temperature == 0.0 else temperature * torch.logsumexp(q / temperature, 2)


def _bellman_matrix(policy: Tensor, next_states: Tensor, terminal: Tensor, gamma: float) -> Tensor:
    """I - gamma P_pi, (B, S, S) float64, P_pi the probability of going from one state on to another."""
    batch, states, _ = policy.shape
    p = torch.zeros((batch, states, states), dtype=torch.float64, device=policy.device)
    p.scatter_add_(2, next_states, policy.to(torch.float64) * ~terminal)
    return torch.eye(states, dtype=torch.float64, device=policy.device) - gamma * p


def evaluate_policy(
    policy: Float[Tensor, "batch states actions"],
    rewards: Float[Tensor, "batch states actions"],
    next_states: Int[Tensor, "batch states actions"],
    terminal: Bool[Tensor, "batch states actions"],
    gamma: float,
    temperature: float = 0.0,
) -> Float[Tensor, "batch states"]:
    """V of a policy by one linear solve, float64: V = r_pi + temperature H(pi) + gamma P_pi V.

    With gamma 1 every state must end with certainty, or there is no solution.
    """
    policy = policy.to(torch.float64)
    gained = (policy * rewards.to(torch.float64)).sum(2) - temperature * torch.special.xlogy(policy, policy).sum(2)
    return torch.linalg.solve(_bellman_matrix(policy, next_states, terminal, gamma), gained)


def occupancy(
    policy: Float[Tensor, "batch states actions"],
    start: Float[Tensor, "batch states"],
    next_states: Int[Tensor, "batch states actions"],
    terminal: Bool[Tensor, "batch states actions"],
    gamma: float,
) -> Float[Tensor, "batch states actions"]:
    """How often a policy visits each pair: rho(s, a) = (1 - gamma) pi(a|s) sum_t gamma^t P(s_t = s), float64.

    As in Garg et al. 2021 (arXiv 2106.12142, section 3), by one linear solve; what comes after an episode's end does
    not count. ``start`` is the distribution of s_0.

    Raises:
        ValueError: if gamma is not below 1.
    """
    if not 0.0 <= gamma < 1.0:
        raise ValueError(f"gamma must be in [0, 1), not {gamma}")
    matrix = _bellman_matrix(policy, next_states, terminal, gamma)
    visits = torch.linalg.solve(matrix.transpose(1, 2), start.to(torch.float64))
    return (1.0 - gamma) * visits.unsqueeze(2) * policy.to(torch.float64)
