"""Grids as one integer a row, one bit a column: a whole batch spreads by a cell in a handful of shifts.

Rows are signed because torch has no unsigned arithmetic. The arithmetic right shift copies the sign bit, which only
ever adds a cell that was set already, so the topmost column needs no special case.
"""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

__all__ = ["flood", "full", "has_cell", "pack", "row_dtype", "single", "spread", "unpack"]

#: Steps between two looks at whether anything still changes: a look reads memory and stalls a GPU.
LOOK_EVERY = 4


def row_dtype(width: int) -> torch.dtype:
    """The narrowest integer with a bit for each column; narrow rows are what makes this fast."""
    return torch.int16 if width <= 16 else torch.int32 if width <= 32 else torch.int64


def _columns(width: int, device: torch.device) -> Tensor:
    return torch.arange(width, dtype=row_dtype(width), device=device)


def pack(cells: Bool[Tensor, "batch height width"]) -> Int[Tensor, "batch height"]:
    """Bits of each row: column c is bit c."""
    width = cells.shape[2]
    dtype = row_dtype(width)
    return (cells.to(dtype) << _columns(width, cells.device)).sum(2, dtype=dtype)


def unpack(rows: Int[Tensor, "batch height"], width: int) -> Bool[Tensor, "batch height width"]:
    """Inverse of :func:`pack`."""
    return (rows.unsqueeze(2) >> _columns(width, rows.device)).bitwise_and_(1).to(torch.bool)


def full(batch: int, height: int, width: int, device: torch.device) -> Int[Tensor, "batch height"]:
    """Every cell set."""
    bits = torch.iinfo(row_dtype(width)).bits
    return torch.full((batch, height), -1 if width == bits else (1 << width) - 1, dtype=row_dtype(width), device=device)


def single(cell: Int[Tensor, "batch count"], height: int, width: int) -> Int[Tensor, "batch height"]:
    """The given flat cells set; those of one grid must differ."""
    dtype = row_dtype(width)
    bits = torch.ones_like(cell, dtype=dtype) << (cell % width).to(dtype)
    rows = torch.zeros((cell.shape[0], height), dtype=dtype, device=cell.device)
    return rows.scatter_add_(1, cell // width, bits)


def has_cell(rows: Int[Tensor, "batch height"], cell: Int[Tensor, " batch"], width: int) -> Bool[Tensor, " batch"]:
    """Whether the flat cell of each grid is set."""
    row = rows.gather(1, (cell // width).unsqueeze(1)).squeeze(1)
    return ((row >> (cell % width).to(rows.dtype)) & 1).to(torch.bool)


def spread(rows: Int[Tensor, "batch height"]) -> Int[Tensor, "batch height"]:
    """The cells and their four neighbours; columns beyond the width may be set and are for the caller to mask."""
    return _spread(rows.t()).t()


def _spread(rows: Int[Tensor, "height batch"]) -> Int[Tensor, "height batch"]:
    # The batch comes last, so that a row above or below is one stretch of memory.
    grown = rows + rows
    grown |= rows >> 1
    grown |= rows
    grown[1:] |= rows[:-1]
    grown[:-1] |= rows[1:]
    return grown


def flood(seed: Int[Tensor, "batch height"], free: Int[Tensor, "batch height"]) -> Int[Tensor, "batch height"]:
    """All free cells that are connected with the seed."""
    free = free.t().contiguous()
    reached = seed.t().contiguous().bitwise_and_(free)
    while True:
        before = reached
        for _ in range(LOOK_EVERY):
            reached = _spread(reached).bitwise_and_(free)
        if torch.equal(before, reached):
            return reached.t().contiguous()
