"""Checkpoint files with a right seal around any content, as an attacker could make them."""

import io

from iqlightning.checkpoint_files import _Sealed

__all__ = ["sealed"]


def sealed(archive: bytes) -> bytes:
    """The archive as a checkpoint file."""
    file = io.BytesIO()
    sealing = _Sealed(file)
    sealing.write(archive)
    sealing.finish()
    return file.getvalue()
