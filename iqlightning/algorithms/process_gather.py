"""Small vectors of all processes of a run: gradients and figures."""

import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from iqlightning.errors import LostProcessError

__all__ = ["Gather", "SharedMemoryGather", "average", "gather_by_message", "gather_over_processes"]

Gather = Callable[[Tensor], Tensor]
"""A vector of this process to those of all, (processes, numbers), by rank; good until the next call."""

_SHARED = Path("/dev/shm")  # memory that looks like a folder; a container may have little of it, or none
_CACHE_LINE = 8  # numbers of 8 bytes; processes that write into one line of the cache slow each other

# How a process waits: it looks at once and again so many times, a fifth of a millisecond; then it lets others have the
# processor between two looks, and after so many seconds for longer. It may be another's checkpoint that it waits for.
_LOOKS_AT_ONCE = 2000
_NAPS_AFTER, _NAP = 0.05, 0.0005
# Seconds between two looks whether the other still lives. Lightning kills the first process soon after one of the
# others has died; it should have said why by then.
_ALIVE_EVERY = 0.02
_PATIENCE = 1800.0  # seconds; as long as torch.distributed waits by default


def gather_over_processes(longest: Tensor) -> Gather:
    """How the processes of this run hand each other vectors up to the length of ``longest``; all have to ask.

    Through memory that they share, where all are on one machine and each has a core of its own; by message otherwise.
    """
    return (SharedMemoryGather.of_all(longest) if longest.device.type == "cpu" else None) or gather_by_message


def average(vector: Float[Tensor, " numbers"], gather: Gather) -> None:
    """Replaces a vector by the mean over processes, added up in the order of the ranks where ``gather`` is cheap."""
    if isinstance(gather, SharedMemoryGather):
        torch.mean(gather(vector), 0, out=vector)
    else:
        torch.distributed.all_reduce(vector)
        vector.div_(torch.distributed.get_world_size())


def gather_by_message(vector: Float[Tensor, " numbers"]) -> Float[Tensor, "processes numbers"]:
    """With torch.distributed."""
    everybody = vector.new_empty(torch.distributed.get_world_size(), *vector.shape)
    torch.distributed.all_gather(list(everybody), vector)
    return everybody


class SharedMemoryGather:
    """Processes of one machine hand each other vectors by writing into memory that they share and watching it.

    A message of 16 kB between two processes wakes several threads and takes a millisecond; here nobody sleeps, and it
    takes a fortieth of that. At call t the process of rank r writes into slot (t mod 2, r) and then t into its counter,
    and waits until every counter is at least t. Two slots are enough: slot t mod 2 is written anew at t + 2, after
    every counter has reached t + 1, and a process that begins call t + 1 is done with what call t has given it.

    Args:
        slots: (2, processes, numbers), shared.
        counters: (processes, cache line), whole numbers, shared; column 0 counts.
        rank: this process's number.
        lock: a descriptor of the shared file, of which each living process keeps the byte with its rank locked.

    Raises:
        LostProcessError: when it is called, if another process has ended, or keeps this one waiting for half an hour.
    """

    def __init__(self, slots: Tensor, counters: Tensor, rank: int, lock: int) -> None:
        self._slots, self._counters, self._rank, self._lock = slots, counters.numpy()[:, 0], rank, lock
        self._others = [other for other in range(len(counters)) if other != rank]
        self._calls = 0

    def __call__(self, vector: Float[Tensor, " numbers"]) -> Float[Tensor, "processes numbers"]:
        """A vector of another type or of more numbers than there is room for goes by message."""
        room = self._slots.shape[2]
        if vector.dtype != self._slots.dtype or len(vector) > room:
            return gather_by_message(vector)
        self._calls += 1
        slots = self._slots[self._calls % 2, :, : len(vector)]
        slots[self._rank].copy_(vector)
        self._counters[self._rank] = self._calls
        for other in self._others:
            if self._counters[other] < self._calls:
                self._wait_for(other)
        return slots

    def __deepcopy__(self, memo: dict) -> "SharedMemoryGather":
        return self  # the copy of what uses it is in the same process

    def __del__(self) -> None:
        os.close(self._lock)

    def _wait_for(self, other: int) -> None:
        counters, calls = self._counters, self._calls
        for _ in range(_LOOKS_AT_ONCE):
            if counters[other] >= calls:
                return
        began = looked = time.monotonic()
        while counters[other] < calls:
            now = time.monotonic()
            time.sleep(_NAP if now - began > _NAPS_AFTER else 0)
            if now - looked > _ALIVE_EVERY:
                looked = now
                # It may have come between the last look and its end.
                if self._has_ended(other) and counters[other] < calls:
                    raise LostProcessError(f"process {other} ended while process {self._rank} waited for it")
                if now - began > _PATIENCE:
                    raise LostProcessError(f"process {self._rank} waited {now - began:.0f} s for process {other}")

    def _has_ended(self, other: int) -> bool:
        """Its lock is free then: the system lets go of it however a process ends."""
        try:
            _lock(self._lock, other, os.F_TEST)
        except OSError:
            return False
        return True

    @classmethod
    def of_all(cls, longest: Tensor) -> "SharedMemoryGather | None":
        """One for the processes of this run, all of which have to ask; None, for all of them, where one cannot."""
        rank, processes = torch.distributed.get_rank(), torch.distributed.get_world_size()
        cores: list[set[int]] = [set()] * processes
        torch.distributed.all_gather_object(cores, _cores())
        if not all(cores) or len(set[int]().union(*cores)) < processes:
            return None
        size = processes * (8 * _CACHE_LINE + 2 * longest.numel() * longest.element_size())
        names: list[str | None] = [_reserved(size) if rank == 0 else None]
        try:
            torch.distributed.broadcast_object_list(names)
            found = None if names[0] is None else cls._on(names[0], rank, processes, longest.dtype)
            everywhere = torch.tensor(int(found is not None))
            torch.distributed.all_reduce(everywhere, op=torch.distributed.ReduceOp.MIN)
        finally:
            if rank == 0 and names[0] is not None:
                os.unlink(names[0])  # the memory itself stays until the last process has ended
        return found if everywhere else None

    @classmethod
    def _on(cls, name: str, rank: int, processes: int, dtype: torch.dtype) -> "SharedMemoryGather | None":
        """One on a reserved file; None where there is none, as on another machine, or it may not be opened."""
        if not os.access(name, os.R_OK | os.W_OK):
            return None
        memory = torch.from_file(name, shared=True, size=os.stat(name).st_size, dtype=torch.uint8)
        head = 8 * processes * _CACHE_LINE
        counters = memory[:head].view(torch.int64).view(processes, _CACHE_LINE)
        slots = memory[head:].view(dtype).view(2, processes, -1)
        lock = os.open(name, os.O_RDWR)  # after the mapping: to close any descriptor of a file gives its locks back
        _lock(lock, rank, os.F_TLOCK)
        return cls(slots, counters, rank, lock)


def _lock(descriptor: int, byte: int, command: int) -> None:
    os.lseek(descriptor, byte, os.SEEK_SET)
    os.lockf(descriptor, command, 1)


def _cores() -> set[int]:
    """Those that this process may run on; none where memory cannot be shared in this way."""
    # Other processors than x86 may show others the counter before the numbers that it announces.
    if platform.machine() not in ("x86_64", "AMD64") or not _SHARED.is_dir() or not hasattr(os, "sched_getaffinity"):
        return set()
    return os.sched_getaffinity(0)


def _reserved(size: int) -> str | None:
    """The name of a new file of zeros in shared memory; None if there is not as much."""
    try:
        descriptor, name = tempfile.mkstemp(prefix="iqlightning-", dir=_SHARED)
    except OSError:
        return None
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError:
        os.unlink(name)
        return None
    finally:
        os.close(descriptor)
    return name
