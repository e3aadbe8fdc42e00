"""A folder that one process at a time works in."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from iqlightning.errors import UserError

__all__ = ["one_process"]


@contextlib.contextmanager
def one_process(folder: Path) -> Iterator[None]:
    """Makes the folder if it is missing, and keeps it to this process while the block runs.

    The lock goes with the process, however that ends; the file ``.lock`` that it is taken on stays.

    Raises:
        UserError: if another process works in it, or it cannot be made or written to.
    """
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"another process works in '{folder}'; wait for its end, or choose another folder with --name"
        ) from None
    except NotImplementedError:  # the disk knows no locks
        pass
    except OSError as error:
        raise UserError(f"cannot work in the folder '{folder}': {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()
