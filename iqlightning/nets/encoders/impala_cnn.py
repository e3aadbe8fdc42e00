"""The residual network of IMPALA for pictures."""

import itertools
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from iqlightning.nets.encoders.encoder import Encoder
from iqlightning.nets.encoders.picture_planes import PicturePlanes
from iqlightning.pictures import Channels

__all__ = ["ImpalaCNN"]


class _Block(nn.Module):
    """h + conv(relu(conv(relu(h))))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, h: Float[Tensor, "batch width rows columns"]) -> Float[Tensor, "batch width rows columns"]:
        return h + self.second(F.relu(self.first(F.relu(h))))


class ImpalaCNN(Encoder):
    """Sections of convolution, pooling and two residual blocks (Espeholt et al. 2018, arXiv 1802.01561, figure 3).

        h <- maxpool(conv(h)), h <- h + conv(relu(conv(relu(h)))) twice, for each width; then relu -> linear -> relu

    Each section halves height and width, rounded up. It learns from fewer pictures than NatureCNN in most games, at
    several times the cost of an update.

    Args:
        observation_shape: pictures in any layout.
        widths: channels of the sections.
        hidden: width of the features.
        channels: where they are, ``first``, ``last`` or, where the shape tells, ``auto``.

    Shapes:
        observations (B, *shape) to features (B, hidden).

    Raises:
        UserError: if observations are no pictures.
    """

    def __init__(
        self,
        observation_shape: tuple[int, ...],
        widths: Sequence[int] = (16, 32, 32),
        hidden: int = 256,
        channels: Channels = "auto",
    ) -> None:
        super().__init__()
        self.planes = PicturePlanes("ImpalaCNN", observation_shape, channels)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise([self.planes.picture.channels, *widths]):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.MaxPool2d(3, 2, padding=1)]
            layers += [_Block(after), _Block(after)]
        self.layers = nn.Sequential(*layers, nn.ReLU())
        self.linear = nn.Linear(self.planes.width_after(self.layers), hidden)
        self.feature_shape = (hidden,)

    def forward(self, observations: Tensor) -> Float[Tensor, "batch hidden"]:
        """(B, *shape) to (B, hidden)."""
        return F.relu(self.linear(self.layers(self.planes(observations)).flatten(1)))
