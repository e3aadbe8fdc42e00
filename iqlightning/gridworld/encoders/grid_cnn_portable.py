"""GridCNN written for export: the same function in operations that ``torch.export`` and ONNX can express.

The training form looks up repeated grids and packs them into one line of cells, both of which depend on the values of
a batch. Here each grid is an image, neighbours are shifted images, and the readout is a sum over the player's plane.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iqlightning.gridworld.encoders.planes import neighbours
from iqlightning.gridworld.encoders.propagation import CLOSED, propagate

__all__ = ["portable_features"]


def portable_features(
    observations: Tensor, stem: nn.Linear, weight: Tensor, readout: nn.Linear, iterations: int | None
) -> Tensor:
    """The equation of :class:`~iqlightning.gridworld.encoders.grid_cnn.GridCNN` for traced tensors.

    Args:
        observations: (B, 3, H, W) floats; B, H and W may be symbolic.
        stem: K of the equation.
        weight: [A B], (C, 2 C).
        readout: M and m.
        iterations: None for H + W, which becomes a loop in the exported program where H or W is symbolic.

    Returns:
        (B, 4, hidden).
    """
    batch, _, height, width = observations.shape
    walls, player, goal = observations.unbind(1)
    x = torch.stack([walls, goal, torch.ones_like(walls)], dim=1)
    closed = (1 - walls < 0.5).unsqueeze(1)
    z = F.conv2d(x, stem.weight[:, :, None, None], stem.bias).masked_fill(closed, CLOSED)
    h = propagate(z, weight, height + width if iterations is None else iterations)
    cells = torch.cat([h, x], dim=1)
    # a division by a symbolic width cannot be expressed, so the player's cell is picked out by a mask
    chosen = torch.arange(player[0].numel(), device=h.device) == player.flatten(1).argmax(1, keepdim=True)
    mask = chosen.to(h.dtype).view(batch, 1, height, width)
    own, *others = ((shifted * mask).sum((2, 3)) for shifted in (cells, *neighbours(cells)))
    pairs = [torch.cat([own, other], dim=1) for other in others]
    return F.relu(readout(torch.stack(pairs, dim=1)))
