"""What to say when a run cannot write any more: the disk is full, read-only or gone."""

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from iqlightning.errors import UserError

__all__ = ["disk_trouble", "heard_once"]

# never anybody's bug
_ALWAYS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO, errno.ESTALE}
# the disk's fault only where the run itself writes
_IN_THE_RUN = {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM}


def disk_trouble(error: OSError, run: Path | None) -> UserError | None:
    """The sentence for an error from writing; None if it is about something else."""
    file = None if error.filename is None else Path(os.fsdecode(error.filename))
    ours = run is not None and file is not None and file.absolute().is_relative_to(run.absolute())
    if error.errno not in _ALWAYS and not (ours and error.errno in _IN_THE_RUN):
        return None
    what = f"the file '{file}'" if file is not None else f"to the folder of the run '{run}'"
    saved = (
        ""
        if run is None or not (run / "checkpoints" / "last.ckpt").is_file()
        else f"; when that is mended, continue with --ckpt_path {run / 'checkpoints' / 'last.ckpt'}"
    )
    return UserError(f"cannot write {what}: {error.strerror}{saved}")


@contextmanager
def heard_once() -> Iterator[None]:
    """Keeps a thread that writes events from printing the error that it hands to the main thread, which says it."""
    before = threading.excepthook

    def hook(raised: threading.ExceptHookArgs) -> None:
        handed_on = getattr(raised.thread, "exception", None) is raised.exc_value
        if not (handed_on and isinstance(raised.exc_value, OSError)):
            before(raised)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before
