"""Which families of layouts there are and how many cells they leave free: numbers only, no tensors."""

__all__ = ["FAMILIES", "dividers", "free_cells", "smallest_side"]

#: Families of layouts: walls anywhere, perfect mazes, rooms with one door between two neighbours.
FAMILIES = ("random", "maze", "rooms")

#: Cells of a side for each room, its wall included.
_ROOM = 6


def smallest_side(family: str) -> int:
    """The shortest side on which the family has walls of its kind."""
    return {"random": 2, "maze": 3, "rooms": 5}[family]


def dividers(side: int) -> int:
    """Walls from end to end that divide a side into rooms."""
    return max(1, (side + 1) // _ROOM)


def free_cells(family: str, height: int, width: int) -> int:
    """Cells without a wall on every grid of ``maze`` or ``rooms``."""
    if family == "maze":
        return 2 * ((height + 1) // 2) * ((width + 1) // 2) - 1  # the lattice, and a passage for each edge of its tree
    across, down = dividers(height), dividers(width)
    doors = across * (down + 1) + down * (across + 1)
    return (height - across) * (width - down) + doors
