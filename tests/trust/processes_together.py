"""Several processes of one run as a launcher such as ``torchrun`` starts them, with none that cleans up after them."""

import socket
import time
from collections.abc import Sequence
from pathlib import Path

from forked_commands import Command, Commands, Fault

__all__ = ["left_over", "start_together", "wait_for_all"]


def start_together(
    commands: Commands, *arguments: object, faults: Sequence[Fault | None] = (None, None)
) -> list[Command]:
    """Starts a process for each fault, planted or None, in the order of ranks."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    count = len(faults)
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    shared |= {"GROUP_RANK": 0, "TORCHELASTIC_RUN_ID": "test"}
    distributed = ("--trainer.devices", count, "--trainer.strategy", "ddp")
    return [
        commands.start(*arguments, *distributed, fault=fault, environment={**shared, "RANK": rank, "LOCAL_RANK": rank})
        for rank, fault in enumerate(faults)
    ]


def wait_for_all(processes: Sequence[Command], seconds: float) -> list[int]:
    """Exit statuses; all have to end within ``seconds`` from now."""
    end = time.monotonic() + seconds
    return [process.wait(max(0.1, end - time.monotonic())) for process in processes]


def left_over(processes: Sequence[Command]) -> list[str]:
    """Processes that these have started and that are still there; each of these has a session of its own."""
    sessions, found = {str(process.pid) for process in processes}, []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            # the name in brackets may hold blanks
            state, _, _, session = status.read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if session in sessions and state != "Z":
            found.append(status.parent.name)
    return found
