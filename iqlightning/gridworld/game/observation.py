"""GridWorld observations: three planes of zeros and ones (walls, player, goal), and back again."""

import torch
from jaxtyping import Bool, Int, Shaped, UInt8
from torch import Tensor

__all__ = ["GOAL", "PLAYER", "WALLS", "observe", "parse"]

#: Planes of an observation.
WALLS, PLAYER, GOAL = 0, 1, 2


def observe(
    walls: Bool[Tensor, "batch height width"], player: Int[Tensor, " batch"], goal: Int[Tensor, " batch"]
) -> UInt8[Tensor, "batch 3 height width"]:
    """The observation of a player and a goal at these flat cells; where they meet, both planes hold 1."""
    batch, height, width = walls.shape
    planes = torch.zeros((batch, 3, height * width), dtype=torch.uint8, device=walls.device)
    planes[:, WALLS] = walls.flatten(1)
    planes[:, PLAYER].scatter_(1, player.unsqueeze(1), 1)
    planes[:, GOAL].scatter_(1, goal.unsqueeze(1), 1)
    return planes.view(batch, 3, height, width)


def parse(
    observations: Shaped[Tensor, "batch 3 height width"],
) -> tuple[Bool[Tensor, "batch height width"], Int[Tensor, " batch"], Int[Tensor, " batch"]]:
    """Walls, player and goal of observations of any real dtype, with a little noise on them if need be."""
    flat = observations.flatten(2)
    return observations[:, WALLS] > 0.5, flat[:, PLAYER].argmax(1), flat[:, GOAL].argmax(1)
