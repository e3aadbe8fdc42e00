"""What is there, wherever it is: local patterns of an image, found anywhere in it."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from iqlightning.errors import UserError
from iqlightning.nets.encoders.encoder import Encoder

__all__ = ["LocalCNN"]


class LocalCNN(Encoder):
    """A convolution, a mixture of its channels, and the maximum of each over all places.

        f = max over places of relu(M relu(K * x + k) + m)

    It tells which patterns of ``kernel`` cells occur, not where: enough to see which action was taken, because most
    actions change something in one place. One look at a pattern teaches it everywhere, where an MLP would have to see
    it in each cell. As the encoder of a policy it is blind to where things lie.

    Args:
        observation_shape: (planes, H, W), any number of planes and any size.
        channels: of the convolution.
        hidden: of the mixture.
        kernel: side of the convolution, odd.

    Shapes:
        observations (B, planes, H, W) to features (B, hidden).
    """

    def __init__(
        self, observation_shape: tuple[int, ...], channels: int = 32, hidden: int = 64, kernel: int = 3
    ) -> None:
        super().__init__()
        if len(observation_shape) != 3:
            raise UserError(
                f"LocalCNN reads images of shape (planes, height, width), not {tuple(observation_shape)}; for vectors "
                "take MLP"
            )
        if kernel < 1 or kernel % 2 == 0:
            raise UserError(f"LocalCNN.kernel must be odd and positive, not {kernel}")
        self.patterns = nn.Conv2d(observation_shape[0], channels, kernel, padding=kernel // 2)
        self.mixture = nn.Conv2d(channels, hidden, 1)
        self.feature_shape = (hidden,)

    def forward(self, observations: Float[Tensor, "batch planes height width"]) -> Float[Tensor, "batch hidden"]:
        """The maxima."""
        return torch.amax(F.relu(self.mixture(F.relu(self.patterns(observations)))), dim=(2, 3))
