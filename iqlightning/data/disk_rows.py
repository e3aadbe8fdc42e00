"""Rows of an array that stays in its file: read when they are wanted, ahead of time where the disk is slow.

Rows are read by position and not through a mapping of the file into memory. Both come from the system's cache of the
file, but the pages of a mapping count as the process's own, up to the whole file after a few hundred random batches,
and giving them back costs more than reading.
"""

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from io import FileIO
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from iqlightning.errors import UserError

__all__ = ["DiskRows", "ReadAhead"]

#: Bytes of a block of batches that are read together, and of a piece of the whole file.
_AT_ONCE = 1 << 24

#: Seconds for one stretch of rows beyond which they come from the disk and not from the system's cache.
_SLOW = 50e-6

#: Threads that wait for a slow disk.
_THREADS = 8


class _Wanted(NamedTuple):
    """Stretches of neighbouring rows that cover what is wanted, and where each wanted row lies in them."""

    lengths: list[int]
    offsets: list[int]
    where: Tensor


class DiskRows:
    """An array (N, *row) in a file.

    The file is open from the first reading on until :meth:`close`, and again when something is read after that.

    Args:
        path: the file.
        offset: of the array's first byte.
        shape: (N, *row).
        dtype: of its numbers, in the machine's byte order.

    Raises:
        UserError: when it is read, if the file cannot be, or is another one than at first.
    """

    def __init__(self, path: str | Path, offset: int, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        self.path, self.shape, self.dtype = Path(path), torch.Size(shape), dtype
        self._offset = offset
        self._row_bytes = math.prod(shape[1:]) * dtype.itemsize
        self._file: FileIO | None = None
        self._seen: tuple[int, int] | None = None

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def row_bytes(self) -> int:
        """Size of a row."""
        return self._row_bytes

    def is_floating_point(self) -> bool:
        """As of a tensor."""
        return self.dtype.is_floating_point

    def pieces(self) -> Iterator[Tensor]:
        """The whole array in order, a few rows at a time; a single number as one row."""
        return self.ranges([0], [self.shape[0] if self.shape else 1])

    def read(self, indices: Int[Tensor, " wanted"]) -> Tensor:
        """The rows at these indices, in any order."""
        wanted = self.plan(indices)
        return self.fetched(self.fetch(wanted.lengths, wanted.offsets), wanted).index_select(0, wanted.where)

    def ranges(self, firsts: Sequence[int], lasts: Sequence[int]) -> Iterator[Tensor]:
        """The rows from each first to before its last, one after the other."""
        rows = max(1, _AT_ONCE // max(self._row_bytes, 1))
        for first, last in zip(firsts, lasts, strict=True):
            for start in range(first, last, rows):
                count = min(rows, last - start)
                yield self._as_rows(self._read(count * self._row_bytes, self._offset + start * self._row_bytes), count)

    def expect_scattered(self) -> None:
        """Tells the system that neighbours of what is read from now on are not wanted."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._opened().fileno(), 0, 0, os.POSIX_FADV_RANDOM)

    def close(self) -> None:
        """Closes the file; no other thread may be reading."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def plan(self, indices: Int[Tensor, " wanted"]) -> _Wanted:
        """What to read for these rows: each once, neighbours together, in the order of the file."""
        rows, where = indices.unique(return_inverse=True)
        first = torch.cat([rows.new_zeros(1), (rows.diff() != 1).nonzero().squeeze(1) + 1])
        lengths = torch.cat([first, first.new_tensor([len(rows)])]).diff() * self._row_bytes
        offsets = rows[first] * self._row_bytes + self._offset
        return _Wanted(lengths.tolist(), offsets.tolist(), where)

    def fetch(self, lengths: list[int], offsets: list[int]) -> bytes:
        """The bytes of some stretches."""
        read = self._read
        return b"".join([read(length, offset) for length, offset in zip(lengths, offsets, strict=True)])

    def fetched(self, content: bytes, wanted: _Wanted) -> Tensor:
        """The rows that were read, each once."""
        return self._as_rows(content, sum(wanted.lengths) // self._row_bytes)

    def _as_rows(self, content: bytes, count: int) -> Tensor:
        if len(content) != count * self._row_bytes:
            raise UserError(f"'{self.path}' has become shorter while it was read; make it again")
        return torch.frombuffer(bytearray(content), dtype=self.dtype).view(count, *self.shape[1:])

    def _read(self, length: int, offset: int) -> bytes:
        file = self._opened()
        try:
            if hasattr(os, "pread"):
                return os.pread(file.fileno(), length, offset)
            file.seek(offset)
            return file.read(length)
        except OSError as error:
            raise UserError(f"cannot read '{self.path}': {error.strerror or error}") from error

    def _opened(self) -> FileIO:
        if self._file is None:
            try:
                file = self.path.open("rb", buffering=0)
            except OSError as error:
                raise UserError(f"cannot read '{self.path}': {error.strerror or error}") from error
            found = os.fstat(file.fileno())
            seen = found.st_size, found.st_mtime_ns
            if self._seen not in (None, seen):
                file.close()
                raise UserError(f"'{self.path}' has changed since it was checked; start again")
            self._file, self._seen = file, seen
        return self._file


class ReadAhead:
    """Batches of rows, a block of them at a time; the next block is read meanwhile once the disk turns out to be slow.

    From the system's cache a stretch takes a microsecond, and threads would only be in each other's way.

    Args:
        rows: from which to read.
        width: rows of a batch.
        most: batches of a block, at most; a power of 2.
        indices: a batch's rows, (width,), by its number.
    """

    def __init__(self, rows: DiskRows, width: int, most: int, indices: Callable[[int], Tensor]) -> None:
        self._rows, self._width, self._indices = rows, width, indices
        rows.expect_scattered()
        self._size = most
        while self._size > 1 and self._size * width * rows.row_bytes > _AT_ONCE:
            self._size //= 2
        self._block, self._content, self._where = -1, torch.empty(0), torch.empty(0)
        self._threads: ThreadPoolExecutor | None = None
        self._pending: tuple[int, _Wanted, list[Future[bytes]]] | None = None

    def batch(self, number: int) -> Tensor:
        """(width, *row)."""
        block, within = divmod(number, self._size)
        if block != self._block:
            self._load(block)
        return self._content.index_select(0, self._where[within])

    def close(self) -> None:
        """Ends the threads that read ahead, if there are any; a further batch starts them again."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
        self._threads = self._pending = None

    def _load(self, block: int) -> None:
        if self._pending is not None and self._pending[0] == block:
            _, wanted, parts = self._pending
            content = b"".join([part.result() for part in parts])
        else:
            wanted, started = self._plan(block), time.perf_counter()
            content = self._rows.fetch(wanted.lengths, wanted.offsets)
            slow = time.perf_counter() - started > _SLOW * len(wanted.lengths)
            if slow and self._threads is None:
                self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="demonstrations")
        self._content = self._rows.fetched(content, wanted)
        self._where, self._block, self._pending = wanted.where.view(-1, self._width), block, None
        if self._threads is not None:
            ahead = self._plan(block + 1)
            step = -(-len(ahead.lengths) // _THREADS)
            parts = [
                self._threads.submit(
                    self._rows.fetch, ahead.lengths[first : first + step], ahead.offsets[first : first + step]
                )
                for first in range(0, len(ahead.lengths), step)
            ]
            self._pending = block + 1, ahead, parts

    def _plan(self, block: int) -> _Wanted:
        numbers = range(block * self._size, (block + 1) * self._size)
        return self._rows.plan(torch.cat([self._indices(number) for number in numbers]))
