"""Families of layouts: walls anywhere, spanning-tree mazes, rooms with doors; and the walls of the latter two.

Every free cell of a maze or of rooms can reach every other. All grids of a batch are made at once; the walls of a
grid are a function of its key alone, and their number is a function of height and width alone.
"""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from iqlightning.keyed import Stream, hash_keys, integers

__all__ = ["FAMILIES", "family_walls", "free_cells", "smallest_side"]

#: Families of layouts: walls anywhere, perfect mazes, rooms with one door between two neighbours.
FAMILIES = ("random", "maze", "rooms")

#: Cells of a side for each room, its wall included.
_ROOM = 6


def smallest_side(family: str) -> int:
    """The shortest side on which the family has walls of its kind."""
    return {"random": 2, "maze": 3, "rooms": 5}[family]


def _dividers(side: int) -> int:
    """Walls from end to end that divide a side into rooms."""
    return max(1, (side + 1) // _ROOM)


def free_cells(family: str, height: int, width: int) -> int:
    """Cells without a wall on every grid of ``maze`` or ``rooms``."""
    if family == "maze":
        return 2 * ((height + 1) // 2) * ((width + 1) // 2) - 1  # the lattice, and a passage for each edge of its tree
    across, down = _dividers(height), _dividers(width)
    doors = across * (down + 1) + down * (across + 1)
    return (height - across) * (width - down) + doors


def family_walls(
    family: str, keys: Int[Tensor, " batch"], height: int, width: int
) -> Bool[Tensor, "batch height width"]:
    """The walls of ``maze`` or ``rooms``, one grid a key."""
    return {"maze": _maze, "rooms": _rooms}[family](keys, height, width)


def _maze(keys: Tensor, height: int, width: int) -> Tensor:
    """Cells with even row and column are free; the passages between them are those of a random spanning tree.

    The tree is the minimum spanning tree for random weights of the edges. On a side of even length the last row or
    column is wall.
    """
    rows, columns = (height + 1) // 2, (width + 1) // 2
    nodes = torch.arange(rows * columns, device=keys.device).view(rows, columns)
    ends = torch.cat(
        [
            torch.stack([nodes[:, :-1].flatten(), nodes[:, 1:].flatten()]),
            torch.stack([nodes[:-1].flatten(), nodes[1:].flatten()]),
        ],
        dim=1,
    )
    numbers = hash_keys(Stream.PATH, keys.unsqueeze(1), torch.arange(ends.shape[1], device=keys.device))
    chosen = _spanning_tree(ends, numbers.argsort(1).argsort(1), rows * columns)
    walls = torch.ones((len(keys), height, width), dtype=torch.bool, device=keys.device)
    walls[:, ::2, ::2] = False
    across = rows * (columns - 1)
    walls[:, 0 : 2 * rows : 2, 1 : 2 * columns - 1 : 2] = ~chosen[:, :across].reshape(-1, rows, columns - 1)
    walls[:, 1 : 2 * rows - 1 : 2, 0 : 2 * columns : 2] = ~chosen[:, across:].reshape(-1, rows - 1, columns)
    return walls


def _spanning_tree(ends: Tensor, ranks: Tensor, nodes: int) -> Tensor:
    """(B, edges) bool: the minimum spanning tree for edges ``ends`` (2, edges) of all different ``ranks`` (B, edges).

    Boruvka 1926: every tree of the forest takes the lightest edge that leaves it, until one is left. Their number at
    least halves each time, for all graphs of the batch at once.
    """
    batch, edges = ranks.shape
    tree = torch.arange(nodes, device=ranks.device).expand(batch, -1)  # of each node, named after one of its nodes
    chosen = torch.zeros_like(ranks, dtype=torch.bool)
    while True:
        one, other = tree[:, ends[0]], tree[:, ends[1]]
        weights = ranks.masked_fill(one == other, edges)
        lightest = torch.full((batch, nodes), edges, dtype=ranks.dtype, device=ranks.device)
        lightest.scatter_reduce_(1, one, weights, "amin").scatter_reduce_(1, other, weights, "amin")
        if bool((lightest == edges).all()):
            return chosen
        from_one = (weights < edges) & (lightest.gather(1, one) == weights)
        from_other = (weights < edges) & (lightest.gather(1, other) == weights)
        chosen = chosen | from_one | from_other
        # Each tree is hung below the one across its edge; where two hang below each other, the first is the root.
        names = torch.arange(nodes, device=ranks.device).expand(batch, -1)
        above = torch.cat([names, names[:, :1]], dim=1).contiguous()  # one more place, for what is not to be written
        above.scatter_(1, torch.where(from_one, one, nodes), other)
        above.scatter_(1, torch.where(from_other, other, nodes), one)
        above = above[:, :nodes]
        above = torch.where((above.gather(1, above) == names) & (names < above), names, above)
        while not torch.equal(higher := above.gather(1, above), above):
            above = higher
        tree = above.gather(1, tree)


def _rooms(keys: Tensor, height: int, width: int) -> Tensor:
    """Walls from end to end, evenly spaced but for a cell or so, and one door wherever two rooms share a wall."""
    batch, device = len(keys), keys.device
    across, down = _lines(keys, 0, height), _lines(keys, 1, width)
    row, column = torch.arange(height, device=device), torch.arange(width, device=device)
    horizontal = (row == across.unsqueeze(2)).any(1)
    vertical = (column == down.unsqueeze(2)).any(1)
    walls = horizontal.unsqueeze(2) | vertical.unsqueeze(1)
    grid = torch.arange(batch, device=device)
    for lines, gaps, first_key, side, upright in (
        (across, _gaps(down, width), 2, width, False),
        (down, _gaps(across, height), 3, height, True),
    ):
        starts, lengths = gaps
        for line in range(lines.shape[1]):
            for gap in range(starts.shape[1]):
                key = hash_keys(Stream.PATH, keys, first_key, line * (side + 1) + gap)
                door = starts[:, gap] + integers(key, bound=lengths[:, gap])
                at = (door, lines[:, line]) if upright else (lines[:, line], door)
                walls[grid, at[0], at[1]] = False
    return walls


def _lines(keys: Tensor, axis: int, side: int) -> Tensor:
    """(B, dividers) where the walls across a side stand, with at least one cell between two and before the ends."""
    count = _dividers(side)
    line = torch.arange(count, device=keys.device)
    middle = (line + 1) * (side + 1) // (count + 1) - 1
    slack = max(0, ((side + 1) // (count + 1) - 2) // 2)
    return middle + integers(Stream.PATH, keys.unsqueeze(1), axis, line, bound=2 * slack + 1) - slack


def _gaps(lines: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """(B, dividers + 1) first cell and length of what lies between the walls across a side."""
    before = torch.full_like(lines[:, :1], -1)
    bounds = torch.cat([before, lines, torch.full_like(before, side)], dim=1)
    return bounds[:, :-1] + 1, bounds[:, 1:] - bounds[:, :-1] - 1
