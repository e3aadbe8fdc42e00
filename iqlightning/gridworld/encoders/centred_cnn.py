"""A convolutional network on the map as the player sees it: the player is always in the middle."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from iqlightning.errors import UserError
from iqlightning.gridworld.encoders.planes import require_grid
from iqlightning.nets.encoders.encoder import Encoder

__all__ = ["CentredCNN"]


class CentredCNN(Encoder):
    r"""Shift the map so that the player is in the middle, then convolve and flatten.

    With x the planes walls, goal and inside, in a window of (2 H - 1) x (2 W - 1) cells around the player::

        h = relu(conv(relu(conv(window(x)))))       3x3, the second with stride 2, twice
        f = relu(M flatten(h) + m)

    What lies two cells above is always in the same place of the window, wherever the player is, so that nothing about
    places has to be learnt more than once. It plays grids up to the size it was built for, and no larger: there is one
    weight for each place of the window.

    Args:
        observation_shape: (3, H, W).
        channels: of the convolutions.
        hidden: width of the features.

    Shapes:
        observations (B, 3, h, w) with h <= H and w <= W to features (B, hidden).
    """

    reads_planes = True

    def __init__(self, observation_shape: tuple[int, ...], channels: int = 32, hidden: int = 128) -> None:
        super().__init__()
        require_grid(self, observation_shape)
        self.height, self.width = observation_shape[1:]
        self.convolutions = nn.Sequential(
            nn.Conv2d(3, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, stride=2),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
        )
        self.readout = nn.Linear(channels * self.height * self.width, hidden)
        self.feature_shape = (hidden,)

    def forward(self, observations: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch hidden"]:
        """Features of the state.

        Raises:
            UserError: if the grid is larger than the one the encoder was built for.
        """
        return F.relu(self.readout(self.convolutions(self.window(observations)).flatten(1)))

    def window(self, observations: Tensor) -> Tensor:
        """(B, 3, 2 H - 1, 2 W - 1): walls, goal and inside around the player."""
        height, width = observations.shape[-2:]
        if height > self.height or width > self.width:
            raise UserError(
                f"this CentredCNN plays grids up to {self.height}x{self.width}, not {height}x{width}: it has one "
                "weight for each place around the player; for any size take GridCNN or LogPlanner"
            )
        rows, columns = self.height - 1, self.width - 1
        x = torch.cat([observations[:, ::2], torch.ones_like(observations[:, :1])], dim=1)
        x = F.pad(x, (columns, columns, rows, rows))
        player = observations[:, 1].flatten(1).argmax(1)
        row = (player // width)[:, None] + torch.arange(2 * rows + 1, device=x.device)
        column = (player % width)[:, None] + torch.arange(2 * columns + 1, device=x.device)
        which = torch.arange(x.shape[0], device=x.device)[:, None, None]
        return x.permute(0, 2, 3, 1)[which, row[:, :, None], column[:, None]].permute(0, 3, 1, 2)
