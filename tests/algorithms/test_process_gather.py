"""Two processes hand each other vectors: through shared memory, by message where that cannot be, never for ever."""

import copy
import os
import subprocess
import sys
import textwrap

import pytest
import torch
from torch import Tensor

from iqlightning.algorithms import process_gather
from iqlightning.algorithms.process_gather import SharedMemoryGather

_BEGIN = """
import os, sys
import torch
from iqlightning.algorithms import process_gather
from iqlightning.algorithms.process_gather import SharedMemoryGather, average, gather_by_message, gather_over_processes

rank = int(sys.argv[1])
torch.set_num_threads(1)
torch.distributed.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
"""


def _two(folder, body: str) -> list[tuple[int, str]]:
    """Exit status and output of each of two processes that run the same lines."""
    program = _BEGIN + textwrap.dedent(body) + "torch.distributed.destroy_process_group()\n"
    begun = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(rank), str(folder / "meet")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in begun]
    return [(process.returncode, output) for process, output in zip(begun, outputs, strict=True)]


def _require_that_both_end_well(ended: list[tuple[int, str]]) -> None:
    assert [status for status, _ in ended] == [0, 0], "".join(output for _, output in ended)


needs_shared_memory = pytest.mark.skipif(
    len(process_gather._cores()) < 2, reason="two cores of an x86 processor and /dev/shm are needed"
)


@needs_shared_memory
def test_every_process_reads_what_all_have_written_in_this_very_call(tmp_path):
    body = """
    reserve, names = process_gather._reserved, []
    process_gather._reserved = lambda size: names.append(reserve(size)) or names[-1]
    gather = gather_over_processes(torch.zeros(5000, dtype=torch.float64))
    assert isinstance(gather, SharedMemoryGather), gather
    assert len(names) == 1 - rank, names
    assert not any(os.path.exists(name) for name in names), "a run that is killed would leave its memory behind"
    draws = torch.Generator().manual_seed(rank)
    for call in range(2000):
        length = 1 + call % 5000
        if torch.rand((), generator=draws) < 0.01:  # now one is ahead, now the other
            sum(range(int(1e5 * torch.rand((), generator=draws))))
        found = gather(torch.full((length,), 10.0 * call + rank, dtype=torch.float64))
        wanted = torch.tensor([10.0 * call, 10.0 * call + 1], dtype=torch.float64)[:, None].expand(2, length)
        assert torch.equal(found, wanted), (call, found, wanted)
    """
    _require_that_both_end_well(_two(tmp_path, body))


def test_where_one_process_cannot_share_memory_all_send_messages(tmp_path):
    body = """
    vectors = torch.arange(4.0) + rank, torch.arange(3, dtype=torch.float64) - rank
    if len(process_gather._cores()) > 1:  # what is too long or of another type
        gather = gather_over_processes(torch.zeros(3))
        assert isinstance(gather, SharedMemoryGather), gather
        for vector in vectors:
            found = gather(vector)
            assert found.dtype == vector.dtype, found
            assert torch.equal(found[rank], vector), found
            assert torch.equal(found, gather_by_message(vector)), found
    process_gather._cores = lambda: {0}  # as if both shared one
    gather = gather_over_processes(torch.zeros(3))
    assert gather is gather_by_message, gather
    assert gather(torch.tensor([rank + 0.5])).tolist() == [[0.5], [1.5]]
    process_gather._cores = lambda: {rank}
    if rank:  # as if on another machine
        SharedMemoryGather._on = classmethod(lambda *arguments: None)
    gather = gather_over_processes(torch.zeros(3))
    assert gather is gather_by_message, gather
    process_gather._reserved = lambda size: None
    gather = gather_over_processes(torch.zeros(3))
    assert gather is gather_by_message, gather
    mean = torch.tensor([rank + 0.5])
    average(mean, gather)
    assert mean.tolist() == [1.0], mean
    """
    _require_that_both_end_well(_two(tmp_path, body))


@needs_shared_memory
def test_a_process_that_waits_for_one_that_was_killed_ends(tmp_path):
    body = """
    gather = gather_over_processes(torch.zeros(3))
    gather(torch.zeros(3))
    assert isinstance(gather, SharedMemoryGather), gather
    if rank:
        os.kill(os.getpid(), 9)
    gather(torch.zeros(3))
    """
    (status, output), (killed, _) = _two(tmp_path, body)
    assert killed == -9
    assert status == 1, output
    assert "process 1 ended while process 0 waited for it" in output


def test_no_room_in_shared_memory_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr(process_gather, "_SHARED", tmp_path)
    monkeypatch.setattr(os, "posix_fallocate", _full)
    assert process_gather._reserved(1 << 20) is None
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(process_gather, "_SHARED", tmp_path / "missing")
    assert process_gather._reserved(1 << 20) is None


def _full(descriptor: int, offset: int, size: int) -> None:
    raise OSError(28, "No space left on device")


def test_the_copy_of_a_module_shares_its_memory(tmp_path):
    file = tmp_path / "memory"
    file.touch()
    one = SharedMemoryGather(torch.zeros(2, 1, 4), torch.zeros(1, 8, dtype=torch.int64), 0, os.open(file, os.O_RDWR))

    copied: SharedMemoryGather = copy.deepcopy(one)
    found: Tensor = copied(torch.tensor([1.0, 2.0]))
    assert copied is one
    assert found.tolist() == [[1.0, 2.0]]
