"""Any classification backbone of torchvision, on pictures of any number of channels."""

from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from iqlightning.errors import UserError, unknown
from iqlightning.nets.encoders.encoder import Encoder
from iqlightning.nets.encoders.picture_planes import PicturePlanes
from iqlightning.pictures import Channels

__all__ = ["TorchvisionBackbone", "without_classifier"]

_FAMILIES = ("resnet", "resnext", "wide_resnet", "regnet", "shufflenet", "mobilenet", "efficientnet", "convnext")


class TorchvisionBackbone(Encoder):
    """A torchvision network without its classifier, for observations that are pictures.

    One channel is shown three times. More than three, as of stacked frames, are read by a first layer made for them,
    which no pretrained weights fit.

    Args:
        observation_shape: pictures in any layout; these networks halve the resolution up to five times.
        name: ``resnet18`` or a relative (any resnet, resnext, regnet, mobilenet, efficientnet, ... of torchvision).
        weights: name of pretrained weights that torchvision knows, such as ``DEFAULT``; None starts at random.
        channels: where they are, ``first``, ``last`` or, where the shape tells, ``auto``.

    Shapes:
        observations (B, *shape) to features (B, F), F the backbone's (512 for resnet18).

    Raises:
        UserError: if observations are no pictures, pretrained weights do not fit, or there is no such network.
    """

    when_rebuilt: ClassVar[dict[str, Any]] = {"weights": None}

    def __init__(
        self,
        observation_shape: tuple[int, ...],
        name: str = "resnet18",
        weights: str | None = None,
        channels: Channels = "auto",
    ) -> None:
        super().__init__()
        self.planes = PicturePlanes("TorchvisionBackbone", observation_shape, channels)
        planes = self.planes.picture.channels
        if weights is not None and planes not in (1, 3):
            raise UserError(
                f"pretrained weights of TorchvisionBackbone read pictures of 1 or 3 channels, not {planes}; leave out "
                "weights"
            )
        self.backbone, width = without_classifier(name, weights)
        if planes not in (1, 3):
            _read_channels(self.backbone, planes)
        self.feature_shape = (width,)

    def forward(self, observations: Tensor) -> Float[Tensor, "batch features"]:
        """Features before the classifier."""
        planes = self.planes(observations)
        return self.backbone(planes.expand(-1, 3, -1, -1) if planes.shape[1] == 1 else planes)


def _read_channels(backbone: nn.Module, channels: int) -> None:
    """Replaces the first convolution by one of as many channels, its weights fresh."""
    path, first = next((path, each) for path, each in backbone.named_modules() if isinstance(each, nn.Conv2d))
    owner, _, name = path.rpartition(".")
    kind = {"stride": first.stride, "padding": first.padding, "bias": first.bias is not None}
    new = nn.Conv2d(channels, first.out_channels, first.kernel_size, **kind)  # type: ignore[arg-type]
    setattr(backbone.get_submodule(owner), name, new)


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
