"""Grids for tests of what reads them: planes of walls, player and goal, with no rule behind them."""

import torch

__all__ = ["random_observations"]


def random_observations(count: int, height: int, width: int) -> torch.Tensor:
    """A fifth of the cells are walls; player and goal are anywhere, even there."""
    generator = torch.Generator().manual_seed(0)
    cells, rows = height * width, torch.arange(count)
    planes = torch.zeros(count, 3, cells)
    planes[:, 0] = (torch.rand(count, cells, generator=generator) < 0.2).float()
    for plane in (1, 2):
        planes[rows, plane, torch.randint(cells, (count,), generator=generator)] = 1
    return planes.view(count, 3, height, width)
