"""TensorBoard events with all figures of a moment in one record, in groups that begin with what matters."""

from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Any

import numpy as np
from jaxtyping import UInt8
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from tensorboard.compat.proto.summary_pb2 import (
    DATA_CLASS_BLOB_SEQUENCE,  # type: ignore[attr-defined]
    DATA_CLASS_SCALAR,  # type: ignore[attr-defined]
    Summary,  # type: ignore[attr-defined]
)
from tensorboard.plugins.image.metadata import create_summary_metadata as image_metadata
from tensorboard.plugins.scalar.metadata import create_summary_metadata as scalar_metadata

from iqlightning.evaluation.video import Animation

__all__ = ["EventLogger", "show_animation", "show_picture", "tag_of"]

#: First parts of this package's own figures; those that are in no group go to the last one.
_OWN = frozenset({"train", "val", "test", "stability", "truth"})
_LAST = "9 more"


class EventLogger(TensorBoardLogger):
    """Lightning's logger, but scalars that come together are written together, in groups, with descriptions.

    One record for each of a dozen figures costs as much as the update of a small network; TensorBoard reads both alike.
    It opens the first two of its groups, which are sorted by name, so that their names begin with a number
    (:meth:`arrange`). The epoch is left out: the step says how far a run is.
    """

    def __init__(self, *args: Any, prefix: str = "", **kwargs: Any) -> None:
        super().__init__(*args, prefix=prefix, **kwargs)
        self.plain = not prefix
        self._groups: dict[str, str] = {}
        self._descriptions: dict[str, str] = {}
        self._described: set[str] = set()

    def arrange(self, groups: Mapping[str, str], descriptions: Mapping[str, str]) -> None:
        """Sets in which group a figure or picture is shown, and what is said of it, by its name."""
        self._groups, self._descriptions = dict(groups), dict(descriptions)

    def tag_of(self, name: str) -> str:
        """What a figure or picture is called in TensorBoard: its group, if groups were arranged, and its name."""
        group = self._groups.get(name)
        if group is None and self._groups and name.partition("/")[0] in _OWN:
            group = _LAST
        return name if group is None else f"{group}/{name}"

    def description_of(self, name: str) -> str:
        """What is said of a figure or picture."""
        return self._descriptions.get(name, "")

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Writes plain numbers as one event, anything else as Lightning does."""
        metrics = {name: value for name, value in metrics.items() if name != "epoch"}
        numbers = {name: value for name, value in metrics.items() if self.plain and isinstance(value, (int, float))}
        if numbers:
            values = [self._value(name, number) for name, number in numbers.items()]
            self.experiment._get_file_writer().add_summary(Summary(value=values), step)  # type: ignore[union-attr]
        rest = {self.tag_of(name): value for name, value in metrics.items() if name not in numbers}
        if rest:
            super().log_metrics(rest, step)

    def _value(self, name: str, number: int | float) -> Summary.Value:
        """The first one of a tag bears its description."""
        value = Summary.Value(tag=self.tag_of(name), simple_value=number)
        if name not in self._described:
            self._described.add(name)
            value.metadata.CopyFrom(scalar_metadata(display_name="", description=self.description_of(name)))
            value.metadata.data_class = DATA_CLASS_SCALAR  # without it, TensorBoard makes metadata of its own
        return value


def tag_of(board: TensorBoardLogger, name: str) -> str:
    """What a figure or picture is called by a logger of TensorBoard."""
    return board.tag_of(name) if isinstance(board, EventLogger) else name


def show_picture(
    boards: Iterable[TensorBoardLogger], name: str, picture: UInt8[np.ndarray, "height width rgb"], step: int
) -> None:
    """Logs an RGB array."""
    written = BytesIO()
    Image.fromarray(picture).save(written, "PNG")
    _show(boards, name, Animation(written.getvalue(), *picture.shape[:2]), step)


def show_animation(boards: Iterable[TensorBoardLogger], name: str, shown: Animation, step: int) -> None:
    """Logs an animated GIF, which TensorBoard shows as it is; its own add_video would need another package."""
    _show(boards, name, shown, step)


def _show(boards: Iterable[TensorBoardLogger], name: str, encoded: Animation, step: int) -> None:
    content, height, width = encoded
    image = Summary.Image(encoded_image_string=content, height=height, width=width, colorspace=3)
    for board in boards:
        said = board.description_of(name) if isinstance(board, EventLogger) else ""
        value = Summary.Value(tag=tag_of(board, name), image=image)
        value.metadata.CopyFrom(image_metadata(display_name="", description=said, converted_to_tensor=True))
        value.metadata.data_class = DATA_CLASS_BLOB_SEQUENCE
        board.experiment._get_file_writer().add_summary(Summary(value=[value]), step)
