"""A classification backbone of torchvision that sees the grid as a picture."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from iqlightning.gridworld.encoders.planes import require_grid
from iqlightning.gridworld.game.palette import FLOOR, GOAL, PLAYER, WALL, rgb
from iqlightning.nets.encoders.encoder import Encoder
from iqlightning.nets.encoders.torchvision_backbone import without_classifier

__all__ = ["RenderedBackbone"]

_COLOURS = tuple(tuple(part / 255 for part in rgb(colour)) for colour in (FLOOR, WALL, PLAYER, GOAL))


class RenderedBackbone(Encoder):
    """The planes drawn in colour, then a torchvision network without its classifier.

        f = backbone(floor, walls over it, the goal over that, the player over all)

    It shows what a network for pictures of things makes of a grid: it reads no cell by itself, and knows the player's
    place only as well as it tells places apart.

    Args:
        observation_shape: (3, H, W).
        name: ``resnet18`` or a relative, as in
            :class:`~iqlightning.nets.encoders.torchvision_backbone.TorchvisionBackbone`.
        cell_pixels: pixels a cell; these networks halve the resolution up to five times.
        weights: name of pretrained weights that torchvision knows, such as ``DEFAULT``; None starts at random.
        colours: red, green and blue in [0, 1] of floor, wall, player and goal.

    Shapes:
        observations (B, 3, H, W) to features (B, F), F the backbone's (512 for resnet18).
    """

    when_rebuilt: ClassVar[dict[str, Any]] = {"weights": None}
    reads_planes = True

    def __init__(
        self,
        observation_shape: tuple[int, ...],
        name: str = "resnet18",
        cell_pixels: int = 8,
        weights: str | None = None,
        colours: Sequence[Sequence[float]] = _COLOURS,
    ) -> None:
        super().__init__()
        require_grid(self, observation_shape)
        self.cell_pixels = cell_pixels
        self.backbone, width = without_classifier(name, weights)
        self.feature_shape = (width,)
        # a setting, not a weight: it comes back with the arguments, and is no part of the state
        self.register_buffer("colours", torch.tensor(colours), persistent=False)
        self.colours: Tensor

    def render(self, planes: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 rows columns"]:
        """Planes walls, player, goal to an RGB picture in [0, 1]; the player is drawn over the goal."""
        floor, wall, player, goal = self.colours.to(planes.dtype)[:, None, :, None, None]
        walls, players, goals = planes.split(1, dim=1)
        picture = floor + walls * (wall - floor)
        picture = picture + goals * (goal - picture)
        picture = picture + players * (player - picture)
        return picture.repeat_interleave(self.cell_pixels, 2).repeat_interleave(self.cell_pixels, 3)

    def forward(self, observations: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch features"]:
        """Features before the classifier."""
        return self.backbone(self.render(observations))
