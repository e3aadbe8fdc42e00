"""Kernels that turn and mirror with the grid, so that what is learned of one direction holds for all four.

Maps are scalar (one number a channel and cell, the same from every side) or directed (one for each of the directions
up, right, down, left, as the actions). A layer whose kernels are made here commutes with the 8 symmetries of a square:
turned input, turned output (Cohen and Welling 2016, arXiv 1602.07576; for value iteration networks Zhao et al. 2022,
arXiv 2206.03674). Directed channels lie direction by direction, C for up, C for right, and so on.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from iqlightning.gridworld.game.rules import ACTIONS

__all__ = ["DIRECTIONS", "directed_kernel", "facing", "scalar_kernel"]

DIRECTIONS = len(ACTIONS)


def scalar_kernel(kernel: Float[Tensor, "out in 3 3"]) -> Float[Tensor, "out in 3 3"]:
    """Scalar to scalar: the mean over all turned and mirrored versions of a kernel."""
    mirrored = (kernel + kernel.flip(3)) / 2
    return (mirrored + mirrored.rot90(1, (2, 3)) + mirrored.rot90(2, (2, 3)) + mirrored.rot90(3, (2, 3))) / 4


def directed_kernel(kernel: Tensor) -> Float[Tensor, "four_out in 3 3"]:
    """To directed maps, from scalar or directed ones.

    Args:
        kernel: what the direction up takes in: (out, in, 3, 3) from scalar maps; (out, in, 4, 3, 3) from directed
            ones, by their direction relative to the one that takes them in: same, right of it, opposite, left of it.

    Returns:
        For all directions, (4 out, in, 3, 3) or (4 out, 4 in, 3, 3).
    """
    scalar = kernel.dim() == 4
    own = kernel[:, :, None] if scalar else kernel
    # in a mirror up stays up, and right is left
    mirrored = own.flip(4) if scalar else own[:, :, [0, 3, 2, 1]].flip(4)
    own = (own + mirrored) / 2
    turned = [own.roll(turns, 2).rot90(-turns, (3, 4)).transpose(1, 2).flatten(1, 2) for turns in range(DIRECTIONS)]
    return torch.cat(turned)


def facing(cells: Float[Tensor, "batch 4 held"], channels: int) -> Float[Tensor, "batch 4 read"]:
    """What each action reads of a cell that holds ``channels`` for each direction first: its own and all that follow.

    Args:
        cells: for each action the cell it reads, directed channels first.
        channels: of each direction.
    """
    directed = cells[..., : DIRECTIONS * channels].unflatten(-1, (DIRECTIONS, channels))
    own = directed.diagonal(dim1=1, dim2=2).transpose(1, 2)
    return torch.cat([own, cells[..., DIRECTIONS * channels :]], dim=-1)
