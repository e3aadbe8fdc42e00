"""Which axes of a picture are its rows and columns, and which its channels."""

import math
from typing import Literal, NamedTuple, get_args

from iqlightning.errors import UserError, unknown

__all__ = ["Channels", "Picture", "picture_of"]

Channels = Literal["auto", "first", "last"]
"""Where the channels of a picture are; ``auto`` finds out by the shape."""


class Picture(NamedTuple):
    """A picture (C, H, W) or (H, W, C), or several of them stacked along a first axis, or rows and columns alone.

    Attributes:
        channels: of all frames together.
        height: rows.
        width: columns.
        last: whether channels come last.
    """

    channels: int
    height: int
    width: int
    last: bool


def picture_of(reader: str, shape: tuple[int, ...], channels: Channels = "auto") -> Picture:
    """How observations of a shape are read as pictures.

    Two sides that are equal are height and width; where no two neighbours are, the smallest axis is that of the
    channels. What fits both ways is not guessed.

    Args:
        reader: who reads them, for messages.
        shape: (H, W), a picture of three axes, or several of these stacked.
        channels: where they are.

    Raises:
        UserError: if these are no pictures, or it does not show where the channels are.
    """
    if channels not in get_args(Channels):
        raise unknown(f"place of {reader}'s channels", channels, get_args(Channels))
    if len(shape) == 2:
        return Picture(1, *shape, last=False)
    if len(shape) not in (3, 4):
        raise UserError(
            f"{reader} reads pictures of shape (channels, height, width) or (height, width, channels), stacked or not, "
            f"not {shape}; for vectors take MLP"
        )
    a, b, c = shape[-3:]
    if channels == "auto":
        smallest = min(a, b, c) if len({a, b, c}) == 3 else None
        first, last = (b == c != a) or smallest == a, (a == b != c) or smallest == c
        if not first and not last:
            raise UserError(
                f"observations of shape {shape} do not show where {reader} finds their channels; say so with its "
                "argument channels: first or last"
            )
    else:
        last = channels == "last"
    frames = math.prod(shape[:-3])
    return Picture(frames * c, a, b, True) if last else Picture(frames * a, b, c, False)
