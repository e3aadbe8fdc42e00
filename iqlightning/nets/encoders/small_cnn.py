"""A small convolutional network for grids whose cells are told by any number of planes."""

import itertools
from collections.abc import Sequence
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from iqlightning.nets.encoders.encoder import Encoder
from iqlightning.nets.encoders.picture_planes import PicturePlanes
from iqlightning.pictures import Channels

__all__ = ["SmallCNN"]

_MOST = 40  # cells a side, each of which the hidden layer has weights of its own for


class SmallCNN(Encoder):
    """Convolutions of 3 x 3, then one hidden layer that knows each cell's place.

    For MinAtar (10 x 10 x 4 to 10; Young and Tian 2019, arXiv 1903.03176, use one convolution of 16 channels without
    padding and 128 hidden units), MiniGrid (7 x 7 x 3, or one-hot) and other grids.

    Args:
        observation_shape: grids in any layout, of at most 40 cells a side.
        widths: channels of the convolutions.
        hidden: width of the features.
        channels: where they are, ``first``, ``last`` or, where the shape tells, ``auto``.
        padding: cells of 0 around what a convolution reads: 1 keeps the size, 0 takes two rows and columns off.

    Shapes:
        observations (B, *shape) to features (B, hidden).

    Raises:
        UserError: if observations are no grids of such a size.
    """

    def __init__(
        self,
        observation_shape: tuple[int, ...],
        widths: Sequence[int] = (16, 32),
        hidden: int = 128,
        channels: Channels = "auto",
        padding: Literal[0, 1] = 1,
    ) -> None:
        super().__init__()
        self.planes = PicturePlanes(
            "SmallCNN",
            observation_shape,
            channels,
            least=1 if padding else 2 * len(widths) + 1,
            most=_MOST,
            otherwise="padding 1 for smaller ones, NatureCNN or ImpalaCNN for larger ones",
            together=False,  # to flatten them costs more than is gained by such convolutions
        )
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise([self.planes.picture.channels, *widths]):
            layers += [nn.Conv2d(before, after, 3, padding=padding), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.linear = nn.Linear(self.planes.width_after(self.layers), hidden)
        self.feature_shape = (hidden,)

    def forward(self, observations: Tensor) -> Float[Tensor, "batch hidden"]:
        """(B, *shape) to (B, hidden)."""
        return F.relu(self.linear(self.layers(self.planes(observations)).flatten(1)))
