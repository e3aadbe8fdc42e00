import pytest
import torch

from iqlightning.gridworld.game import bitboards


@pytest.mark.parametrize("width", [1, 8, 10, 16, 20, 32, 33, 64])
def test_cells_of_a_row_are_counted(width):
    cells = torch.rand((50, 7, width), generator=torch.Generator().manual_seed(width)) < 0.5
    assert torch.equal(bitboards.count(bitboards.pack(cells)).to(torch.int64), cells.sum(2))
