"""What encoders need to be the same function in an exported program as here, at any size of the grid.

``torch.export`` records operations for sizes that are symbols: it unrolls no loop whose length is one, divides by none,
and takes no branch that depends on values.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch._higher_order_ops.while_loop import while_loop

__all__ = ["player_cell", "repeat", "until_it_stays"]


def player_cell(plane: Float[Tensor, "batch height width"]) -> tuple[Int[Tensor, " batch"], Int[Tensor, " batch"]]:
    """Row and column of the largest entry, the first one where there are several in a plane of zeros and ones."""
    if torch.compiler.is_exporting():
        return plane.amax(2).argmax(1), plane.amax(1).argmax(1)
    cell, width = plane.flatten(1).argmax(1), plane.shape[2]
    return cell // width, cell % width


def repeat(iterate: Callable[[Tensor], Tensor], h: Tensor, times: int | torch.SymInt) -> Tensor:
    """``iterate`` applied so many times to h, whose shape it keeps: a loop in a program where ``times`` is a symbol."""
    if isinstance(times, int):
        for _ in range(times):
            h = iterate(h)
        return h
    total = torch.scalar_tensor(times, dtype=torch.int64)
    begin = (torch.zeros((), dtype=torch.int64), h)
    _, h = while_loop(lambda count, _: count < total, lambda count, cells: (count + 1, iterate(cells)), begin)
    return h


def until_it_stays(iterate: Callable[[Tensor], Tensor], h: Tensor, longest: int | torch.SymInt) -> Tensor:
    """``iterate`` applied to h until that changes nothing, ``longest`` times at most; for exported programs."""
    most = torch.scalar_tensor(longest, dtype=torch.int64)

    def goes_on(count: Tensor, changed: Tensor, _: Tensor) -> Tensor:
        return changed & (count < most)

    def step(count: Tensor, _: Tensor, cells: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        after = iterate(cells)
        return count + 1, (after != cells).any(), after

    begin = (torch.zeros((), dtype=torch.int64), torch.ones((), dtype=torch.bool), h)
    return while_loop(goes_on, step, begin)[2]
