"""Any classification backbone of torchvision, on RGB pictures."""

from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from iqlightning.errors import UserError, unknown
from iqlightning.nets.encoders.encoder import Encoder

__all__ = ["TorchvisionBackbone", "without_classifier"]

_FAMILIES = ("resnet", "resnext", "wide_resnet", "regnet", "shufflenet", "mobilenet", "efficientnet", "convnext")


class TorchvisionBackbone(Encoder):
    """A torchvision network without its classifier, for observations that are pictures.

    Args:
        observation_shape: (3, H, W), red, green and blue; these networks halve the resolution up to five times.
        name: ``resnet18`` or a relative (any resnet, resnext, regnet, mobilenet, efficientnet, ... of torchvision).
        weights: name of pretrained weights that torchvision knows, such as ``DEFAULT``; None starts at random.

    Shapes:
        observations (B, 3, H, W) to features (B, F), F the backbone's (512 for resnet18).
    """

    when_rebuilt: ClassVar[dict[str, Any]] = {"weights": None}

    def __init__(self, observation_shape: tuple[int, ...], name: str = "resnet18", weights: str | None = None) -> None:
        super().__init__()
        if len(observation_shape) != 3 or observation_shape[0] != 3:
            raise UserError(
                f"TorchvisionBackbone needs observations of shape (3, height, width), not {tuple(observation_shape)}"
            )
        self.backbone, width = without_classifier(name, weights)
        self.feature_shape = (width,)

    def forward(self, observations: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch features"]:
        """Features before the classifier."""
        return self.backbone(observations)


def without_classifier(name: str, weights: str | None) -> tuple[nn.Module, int]:
    """A network of torchvision that ends in its features, and how many there are.

    Raises:
        UserError: if there is no such network.
    """
    from torchvision import models  # heavy, and needed here only

    names = [known for known in models.list_models(module=models) if known.startswith(_FAMILIES)]
    if name not in names:
        raise unknown("torchvision backbone", name, names)
    backbone = models.get_model(name, weights=weights)
    last = "fc" if hasattr(backbone, "fc") else "classifier"
    linear = next(layer for layer in getattr(backbone, last).modules() if isinstance(layer, nn.Linear))
    # ConvNeXt flattens inside its classifier; a flatten is harmless to the others.
    setattr(backbone, last, nn.Flatten())
    return backbone, linear.in_features
