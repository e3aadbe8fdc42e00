"""Any classification backbone of torchvision, on rendered images."""

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from iqlightning.errors import UserError, unknown
from iqlightning.nets.encoders.encoder import Encoder

__all__ = ["TorchvisionBackbone"]

# floor, wall, player, goal: the study's colours, in [0, 1]
_COLOURS = ((0.95, 0.95, 0.93), (0.22, 0.24, 0.28), (0.85, 0.20, 0.20), (0.96, 0.80, 0.20))
_FAMILIES = ("resnet", "resnext", "wide_resnet", "regnet", "shufflenet", "mobilenet", "efficientnet", "convnext")


class TorchvisionBackbone(Encoder):
    """A torchvision network without its classifier, on the grid rendered in colour.

    Grid planes (3, H, W) of 0 and 1 are drawn as an RGB image with ``cell_pixels`` pixels a cell; where the observation
    is an image already, ``rendered=False`` passes it through.

    Args:
        observation_shape: (3, H, W).
        name: ``resnet18`` or a relative (any resnet, resnext, regnet, mobilenet, efficientnet, ... of torchvision).
        cell_pixels: pixels a cell; these networks halve the resolution up to five times.
        rendered: draw the planes; False if observations are RGB images.
        weights: name of pretrained weights that torchvision knows, such as ``DEFAULT``; None starts at random.

    Shapes:
        observations (B, 3, H, W) to features (B, F), F the backbone's (512 for resnet18).
    """

    when_rebuilt: ClassVar[dict[str, Any]] = {"weights": None}

    def __init__(
        self,
        observation_shape: tuple[int, ...],
        name: str = "resnet18",
        cell_pixels: int = 8,
        rendered: bool = True,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        from torchvision import models  # heavy, and needed here only

        if len(observation_shape) != 3 or observation_shape[0] != 3:
            raise UserError(
                f"TorchvisionBackbone needs observations of shape (3, height, width), not {observation_shape}"
            )
        names = [known for known in models.list_models(module=models) if known.startswith(_FAMILIES)]
        if name not in names:
            raise unknown("torchvision backbone", name, names)
        self.cell_pixels = cell_pixels
        self.rendered = rendered
        self.backbone = models.get_model(name, weights=weights)
        last = "fc" if hasattr(self.backbone, "fc") else "classifier"
        classifier = getattr(self.backbone, last)
        linear = next(layer for layer in classifier.modules() if isinstance(layer, nn.Linear))
        # ConvNeXt flattens inside its classifier; a flatten is harmless to the others.
        setattr(self.backbone, last, nn.Flatten())
        self.feature_shape = (linear.in_features,)
        self.register_buffer("colours", torch.tensor(_COLOURS), persistent=False)
        self.colours: Tensor

    def render(self, planes: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 rows columns"]:
        """Planes walls, player, goal to an RGB image in [0, 1]; the player is drawn over the goal."""
        floor, wall, player, goal = self.colours.to(planes.dtype)[:, None, :, None, None]
        walls, players, goals = planes.split(1, dim=1)
        image = floor + walls * (wall - floor)
        image = image + goals * (goal - image)
        image = image + players * (player - image)
        return image.repeat_interleave(self.cell_pixels, 2).repeat_interleave(self.cell_pixels, 3)

    def forward(self, observations: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch features"]:
        """Features before the classifier."""
        return self.backbone(self.render(observations) if self.rendered else observations)
