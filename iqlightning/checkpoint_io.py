"""Makes Lightning save and load through :mod:`iqlightning.checkpoint_files`."""

from pathlib import Path
from typing import Any

from lightning.fabric.plugins import CheckpointIO

from iqlightning.checkpoint_files import read_checkpoint, write_checkpoint
from iqlightning.files import path_of

__all__ = ["VerifiedCheckpointIO"]


class VerifiedCheckpointIO(CheckpointIO):
    """Checkpoints that are whole or absent, sealed with a checksum, and never unpickled.

    Lightning's own plugin writes to the system's temporary folder and moves the file from there without flushing it: a
    crash can leave a torn file.

    >>> from lightning.pytorch import Trainer
    >>> trainer = Trainer(plugins=[VerifiedCheckpointIO()], accelerator="cpu", logger=False)
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """See :func:`~iqlightning.checkpoint_files.write_checkpoint`."""
        if storage_options is not None:
            raise TypeError("storage_options are for remote file systems; checkpoints are written to local ones")
        write_checkpoint(checkpoint, path)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """See :func:`~iqlightning.checkpoint_files.read_checkpoint`; ``weights_only`` is always on."""
        return read_checkpoint(path, "cpu" if map_location is None else map_location)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Removes the file if it is there."""
        path_of(path).unlink(missing_ok=True)
