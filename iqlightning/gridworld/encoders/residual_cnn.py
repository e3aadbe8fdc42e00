"""A residual convolutional network, read out at the player."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from iqlightning.gridworld.encoders.planning_encoder import PlanningEncoder

__all__ = ["ResidualCNN"]


class ResidualCNN(PlanningEncoder):
    """h <- relu(h + conv(relu(conv(h)))), block after block, each with weights of its own (He et al. 2016, 1512.03385).

    The plain answer to "a CNN might help", with one thing that makes it work: the player's place is where the map is
    read, not a plane in it. It runs on any size, but sees no further than 2 blocks + 1 cells: on larger grids, or
    around long walls, it cannot know the way.

    Args:
        observation_shape: (3, H, W).
        channels: C of the maps.
        blocks: residual blocks of two 3x3 convolutions.
        hidden: width of the features of each action.
    """

    def __init__(
        self, observation_shape: tuple[int, ...], channels: int = 32, blocks: int = 8, hidden: int = 64
    ) -> None:
        super().__init__(observation_shape, channels, hidden)
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.first = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(blocks))
        self.second = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(blocks))
        for last in self.second:
            assert isinstance(last, nn.Conv2d)
            nn.init.normal_(last.weight, std=0.1 / (9 * channels) ** 0.5)  # blocks begin close to doing nothing

    def plan(self, x: Float[Tensor, "grids 3 height width"]) -> Float[Tensor, "grids channels height width"]:
        """The maps after the last block."""
        h = F.relu(self.stem(x))
        for first, second in zip(self.first, self.second, strict=True):
            h = F.relu(h + second(F.relu(first(h))))
        return h
