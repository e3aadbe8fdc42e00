"""Pictures beside other numbers, as dictionaries and tuples of observations hold them."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from iqlightning.errors import UserError
from iqlightning.nets.encoders.encoder import Encoder
from iqlightning.nets.encoders.mlp import MLP
from iqlightning.nets.q_network import EncoderFactory

__all__ = ["Joined", "joined"]


class Joined(Encoder):
    """An encoder for each picture in a row of numbers, and one for all other numbers.

        f = relu(W [encoder_1(picture_1), ..., others(the rest)] + b)

    It is made by the agent, where observations are a ``Dict`` or ``Tuple`` with pictures; ``encoder`` then names what
    reads each of them.

    Args:
        observation_shape: (F,), of the row.
        pictures: first number in the row, channels, height and width of each picture.
        encoders: of the pictures, in that order.
        others: of the numbers that are no picture's, in their order; None where there are none.
        hidden: numbers of f.

    Raises:
        UserError: if an encoder of pictures has features of each action, which there is no joining.
    """

    def __init__(
        self,
        observation_shape: tuple[int, ...],
        pictures: Sequence[Sequence[int]],
        encoders: Sequence[Encoder],
        others: Encoder | None = None,
        hidden: int = 128,
    ) -> None:
        super().__init__()
        self.pictures = [(int(start), (int(c), int(h), int(w))) for start, c, h, w in pictures]
        self.encoders = nn.ModuleList(encoders)
        self.others = others
        shapes = [each.feature_shape for each in [*encoders, *([] if others is None else [others])]]
        if any(len(shape) != 1 for shape in shapes):
            raise UserError(
                f"{type(encoders[0]).__name__} has features of each action, and these observations have numbers beside "
                "their pictures: take an encoder of the whole picture, or MLP"
            )
        rest = torch.ones(math.prod(observation_shape), dtype=torch.bool)
        for start, shape in self.pictures:
            rest[start : start + math.prod(shape)] = False
        self.register_buffer("rest", rest.nonzero().squeeze(1), persistent=False)
        self.mixture = nn.Linear(sum(shape[0] for shape in shapes), hidden)
        self.feature_shape = (hidden,)

    def forward(self, observations: Float[Tensor, "batch numbers"]) -> Float[Tensor, "batch hidden"]:
        """(B, F) to (B, hidden)."""
        features = [
            encoder(observations[:, start : start + math.prod(shape)].unflatten(1, shape))
            for encoder, (start, shape) in zip(self.encoders, self.pictures, strict=True)
        ]
        if self.others is not None:
            features.append(self.others(observations.index_select(1, self.get_buffer("rest"))))
        return F.relu(self.mixture(torch.cat(features, 1)))


def joined(observation_shape: tuple[int, ...], pictures: Sequence[Sequence[int]], encoder: EncoderFactory) -> Joined:
    """:class:`Joined`, with an encoder for each picture and an MLP of one layer for the rest."""
    rest = math.prod(observation_shape) - sum(c * h * w for _, c, h, w in pictures)
    others = MLP((rest,), hidden=(64,)) if rest else None
    return Joined(observation_shape, pictures, [encoder((c, h, w)) for _, c, h, w in pictures], others)
