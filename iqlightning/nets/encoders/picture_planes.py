"""What encoders of pictures begin with: any layout in, planes in the fastest order of memory out."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from iqlightning.errors import UserError
from iqlightning.pictures import Channels, picture_of

__all__ = ["PicturePlanes"]


class PicturePlanes(nn.Module):
    """Observations (B, *shape) to (B, C, H, W).

    Pictures come as (C, H, W), (H, W, C) or (H, W), or several of them stacked along a first axis, whose channels then
    lie side by side. On a CPU the channels of a place lie together in memory (``torch.channels_last``), in which
    convolutions of large pictures are faster there; results do not depend on it.

    Args:
        reader: the encoder's name, for messages.
        observation_shape: of a picture, or of several stacked.
        channels: ``first``, ``last``, or ``auto`` where the shape tells.
        least: the smallest height and width that the encoder takes.
        most: the largest, if there is one.
        otherwise: what to take for other sizes.
        together: whether the channels of a place lie together on a CPU.

    Raises:
        UserError: if observations are no pictures, or of a size that the encoder cannot take.
    """

    def __init__(
        self,
        reader: str,
        observation_shape: tuple[int, ...],
        channels: Channels = "auto",
        *,
        least: int = 1,
        most: int | None = None,
        otherwise: str = "",
        together: bool = True,
    ) -> None:
        super().__init__()
        self._together = together
        self.shape = tuple(observation_shape)
        self.picture = picture_of(reader, self.shape, channels)
        sides = (self.picture.height, self.picture.width)
        wrong = f"at least {least}" if min(sides) < least else ""
        if most is not None and max(sides) > most:
            wrong = f"at most {most}"
        if wrong:
            raise UserError(
                f"{reader} reads pictures of {wrong} pixels a side, not {sides[0]} x {sides[1]}; take {otherwise}"
            )

    def forward(self, observations: Tensor) -> Float[Tensor, "batch channels height width"]:
        """The planes."""
        last, planes = self.picture.last, observations
        if planes.ndim == 5:
            planes = planes.movedim(1, 3).flatten(3) if last else planes.flatten(1, 2)
        elif planes.ndim == 3:
            planes = planes.unsqueeze(1)
        planes = planes.movedim(3, 1) if last else planes
        together = self._together and planes.device.type == "cpu"
        return planes.contiguous(memory_format=torch.channels_last if together else torch.contiguous_format)

    @torch.no_grad()
    def width_after(self, layers: nn.Module) -> int:
        """How many numbers the layers make of an observation."""
        return layers(self(torch.zeros(1, *self.shape))).numel()
