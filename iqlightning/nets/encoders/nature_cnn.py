"""The network of Mnih et al. (2015) for pictures of games."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from iqlightning.nets.encoders.encoder import Encoder
from iqlightning.nets.encoders.picture_planes import PicturePlanes
from iqlightning.pictures import Channels

__all__ = ["NatureCNN"]

_LEAST = 36  # the third convolution then still has a place


class NatureCNN(Encoder):
    """Convolutions of 32, 64 and 64 channels, then one hidden layer (Mnih et al. 2015, Nature 518, p. 529, methods).

        8 x 8, stride 4 -> 4 x 4, stride 2 -> 3 x 3, stride 1, each with ReLU -> linear -> ReLU

    Args:
        observation_shape: pictures in any layout, of at least 36 pixels a side; the paper's are 84 x 84 x 4.
        hidden: width of the features.
        channels: where they are, ``first``, ``last`` or, where the shape tells, ``auto``.

    Shapes:
        observations (B, *shape) to features (B, hidden).

    Raises:
        UserError: if observations are no pictures of such a size.
    """

    def __init__(self, observation_shape: tuple[int, ...], hidden: int = 512, channels: Channels = "auto") -> None:
        super().__init__()
        self.planes = PicturePlanes(
            "NatureCNN", observation_shape, channels, least=_LEAST, otherwise="SmallCNN or ImpalaCNN"
        )
        self.layers = nn.Sequential(
            nn.Conv2d(self.planes.picture.channels, 32, 8, 4),
            nn.ReLU(),
            nn.Conv2d(32, 64, 4, 2),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, 1),
            nn.ReLU(),
        )
        self.linear = nn.Linear(self.planes.width_after(self.layers), hidden)
        self.feature_shape = (hidden,)

    def forward(self, observations: Tensor) -> Float[Tensor, "batch hidden"]:
        """(B, *shape) to (B, hidden)."""
        return F.relu(self.linear(self.layers(self.planes(observations)).flatten(1)))
