"""The rules of the game, once: where a move leads, what it earns and when an episode ends.

Whatever plays, plans or judges GridWorld calls these functions. Cells are flat, ``row * width + column``, row 0 on top.
"""

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

__all__ = [
    "ACTIONS",
    "GOAL_REWARD",
    "MOVE_REWARD",
    "STEPS",
    "cell_steps",
    "edge_table",
    "endings",
    "episode_returns",
    "move_players",
    "move_rewards",
    "next_cells",
    "next_cells_from",
    "transition_rewards",
]

#: The actions by number, and what each adds to (row, column).
ACTIONS = ("up", "right", "down", "left")
STEPS = ((-1, 0), (0, 1), (1, 0), (0, -1))

#: Reward of the move that reaches the goal, and of any other.
GOAL_REWARD, MOVE_REWARD = 10.0, -1.0

_BAD_ACTION = "actions must be 0 (up), 1 (right), 2 (down) or 3 (left)"


def cell_steps(stride: int) -> tuple[int, ...]:
    """What each action adds to a flat cell of a map whose rows are ``stride`` cells apart."""
    return tuple(down * stride + right for down, right in STEPS)


def edge_table(height: int, width: int, device: torch.device | str = "cpu") -> Int[Tensor, "cells 4"]:
    """Where each move leads on a grid without walls; over the edge the player stays."""
    cells = torch.arange(height * width, device=device).unsqueeze(1)
    down, right = torch.tensor(STEPS, device=device).unbind(1)
    row, column = cells // width + down, cells % width + right
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return torch.where(inside, row * width + column, cells)


def move_players(
    player: Int[Tensor, " batch"],
    actions: Int[Tensor, " given"],
    edges: Int[Tensor, " table"],
    walls: Bool[Tensor, " cells_of_all_grids"],
    grids: Int[Tensor, " batch"],
    *,
    out: Int[Tensor, " batch"] | None = None,
) -> Int[Tensor, " batch"]:
    """One move of each player; into a wall or over the edge, the player stays where it is.

    Args:
        player: flat cells.
        actions: one each.
        edges: :func:`edge_table` of the grids' size, flattened.
        walls: of all grids, one after the other.
        grids: where in ``walls`` the grid of each player begins.
        out: what the result is written to; may be ``player``.

    Raises:
        ValueError: if an action is not 0, 1, 2 or 3, or there is not one for each player; nothing has moved then.
    """
    if actions.shape != player.shape:
        raise ValueError(f"actions of shape {tuple(actions.shape)} do not fit {len(player)} players")
    lowest, highest = torch.aminmax(actions)
    if lowest < 0 or highest > 3:
        raise ValueError(_BAD_ACTION)
    target = edges.index_select(0, torch.add(actions, player, alpha=4))
    blocked = walls.index_select(0, target + grids)
    return torch.where(blocked, player, target, out=out)


def next_cells(walls: Bool[Tensor, "batch height width"]) -> Int[Tensor, "batch cells 4"]:
    """Where each move leads from each cell; a move into a wall or over the edge, and any move from a wall, stays."""
    batch, height, width = walls.shape
    edges = edge_table(height, width, walls.device)
    flat = walls.reshape(batch, -1)
    here = torch.arange(height * width, device=walls.device).unsqueeze(1)
    blocked = flat[:, edges.flatten()].view(batch, -1, 4) | flat.unsqueeze(2)
    return torch.where(blocked, here, edges)


def next_cells_from(walls: Bool[Tensor, "batch height width"], player: Int[Tensor, " batch"]) -> Int[Tensor, "batch 4"]:
    """:func:`next_cells` at one free cell of each grid."""
    ahead = edge_table(walls.shape[1], walls.shape[2], walls.device)[player]
    return torch.where(walls.flatten(1).gather(1, ahead), player.unsqueeze(1), ahead)


def move_rewards(reaches_goal: Bool[Tensor, "*moves"], dtype: torch.dtype = torch.float32) -> Float[Tensor, "*moves"]:
    """What moves earn, by whether they reach the goal."""
    return torch.where(reaches_goal, GOAL_REWARD, MOVE_REWARD).to(dtype)


def transition_rewards(
    next_states: Int[Tensor, "batch cells 4"], goal: Int[Tensor, " batch"]
) -> tuple[Float[Tensor, "batch cells 4"], Bool[Tensor, "batch cells 4"]]:
    """What every move from every cell earns (float64) and which of them end the episode.

    The goal itself is absorbing: from there every move is worth 0 and ends.
    """
    cells = torch.arange(next_states.shape[1], device=next_states.device).view(1, -1, 1)
    at_goal = (cells == goal.view(-1, 1, 1)).expand_as(next_states)
    terminal = at_goal | (next_states == goal.view(-1, 1, 1))
    return move_rewards(terminal, torch.float64).masked_fill_(at_goal, 0.0), terminal


def endings(
    player: Int[Tensor, " batch"], goal: Int[Tensor, " batch"], moves: Int[Tensor, " batch"], move_limit: int
) -> tuple[Bool[Tensor, " batch"], Bool[Tensor, " batch"]]:
    """(terminated, truncated) after ``moves`` moves: at the goal, or out of moves without it."""
    terminated = player == goal
    return terminated, (moves >= move_limit).bitwise_and_(~terminated)


def episode_returns(moves: Int[Tensor, " batch"], reached_goal: Shaped[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Undiscounted sum of the rewards of whole episodes."""
    return (MOVE_REWARD * moves + (GOAL_REWARD - MOVE_REWARD) * reached_goal).to(torch.float32)
