"""TensorBoard events with all figures of a moment in one record."""

from collections.abc import Mapping
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[attr-defined]

__all__ = ["EventLogger"]


class EventLogger(TensorBoardLogger):
    """Lightning's logger, but scalars that come together are written together.

    One record for each of a dozen figures costs as much as the update of a small network; TensorBoard reads both alike.
    """

    def __init__(self, *args: Any, prefix: str = "", **kwargs: Any) -> None:
        super().__init__(*args, prefix=prefix, **kwargs)
        self.plain = not prefix

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Writes plain numbers as one event, anything else as Lightning does."""
        numbers = {name: value for name, value in metrics.items() if self.plain and isinstance(value, (int, float))}
        if numbers:
            values = [Summary.Value(tag=name, simple_value=value) for name, value in numbers.items()]
            self.experiment._get_file_writer().add_summary(Summary(value=values), step)  # type: ignore[union-attr]
        rest = {name: value for name, value in metrics.items() if name not in numbers}
        if rest:
            super().log_metrics(rest, step)
