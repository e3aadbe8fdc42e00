"""Commands of ``iqlightning`` in children of a server that has imported everything: one second each instead of six.

Each command is a process of its own that can be killed, and a fault can be planted in it before it begins: a function
that changes something in the child, and in the child only.
"""

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only

__all__ = ["Command", "Commands", "plant", "preload"]

_FAMILIES = ("algorithms", "callbacks", "data", "envs", "losses", "nets")
_OTHERS = ("pytest", "torch.utils.tensorboard", "tensorboard.summary.writer.event_file_writer", "matplotlib.pyplot")

# torch is imported there but nothing is computed, so that there are no threads to be lost in a fork
_server = multiprocessing.get_context("forkserver")

Fault = Callable[[], object]


def preload() -> None:
    """Lets the server import everything before its first child; of no effect once it runs."""
    names = ["iqlightning.cli.main", "iqlightning.cli.training", "iqlightning.cli.collect", *_OTHERS]
    for family in _FAMILIES:
        package = import_module(f"iqlightning.{family}")
        names += [module.name for module in walk_packages(package.__path__, f"{package.__name__}.")]
    _server.set_forkserver_preload(names)


class Command:
    """A running command.

    Attributes:
        said: what it has written to its terminal so far.
    """

    def __init__(self, process: Any, output: Path) -> None:
        self._process, self._output = process, output

    @property
    def said(self) -> str:
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, signum: int) -> None:
        """Sends a signal to this process alone; nothing happens if it is over."""
        if self._process.exitcode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signum)

    def wait(self, seconds: float = 120) -> int:
        """The exit status, as a shell gives it: 128 and the number of the signal for one that was killed."""
        self._process.join(seconds)
        status = self._process.exitcode
        if status is None:
            self.send(signal.SIGKILL)
            raise AssertionError(f"still running after {seconds} s; it said:\n{self.said}")
        return 128 - status if status < 0 else status


class Commands:
    """Runs commands in a folder.

    Args:
        folder: their working directory.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._count = 0
        preload()

    def start(
        self, *arguments: object, fault: Fault | None = None, environment: Mapping[str, object] | None = None
    ) -> Command:
        """Starts a command; ``fault`` is called in its process before it begins."""
        self._count += 1
        output = self.folder / f"said-{self._count}.txt"
        variables = {name: str(value) for name, value in (environment or {}).items()}
        # read in the child once it writes to ``output``, so that a fault that cannot be read says so there
        planted = pickle.dumps(fault)
        process: Any = _server.Process(  # pyright: ignore[reportAttributeAccessIssue]
            target=_run, args=([str(each) for each in arguments], str(self.folder), str(output), variables, planted)
        )
        process.start()
        return Command(process, output)

    def run(self, *arguments: object, fault: Fault | None = None, status: int = 0) -> str:
        """Runs a command that has to end with ``status``; what it said."""
        command = self.start(*arguments, fault=fault)
        ended = command.wait()
        assert ended == status, f"status {ended}, not {status}, of {arguments}:\n{command.said}"
        return command.said

    def refused(self, *arguments: object, fault: Fault | None = None) -> str:
        """The one sentence with which a command ends that has to be refused."""
        said = self.run(*arguments, fault=fault, status=2)
        assert "Traceback" not in said, said
        sentences = [line for line in said.splitlines() if line.startswith("iqlightning: ")]
        assert len(sentences) == 1, said
        return sentences[0]


def _run(arguments: list[str], folder: str, output: str, environment: dict[str, str], planted: bytes) -> None:
    terminal = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(terminal, 1)
    os.dup2(terminal, 2)
    # a shell starts what runs in the background with Ctrl-C ignored, and children inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    for name in ("IQLIGHTNING_TRUST", "IQLIGHTNING_RUN_FOLDER", "PL_GLOBAL_SEED"):
        os.environ.pop(name, None)
    os.environ.update(environment)
    # set when Lightning is imported, which was before there was a rank
    rank_zero_only.__dict__["rank"] = int(environment.get("RANK", 0))
    os.setsid()
    sys.argv = ["iqlightning", *arguments]
    from iqlightning.cli.main import main

    fault: Fault | None = pickle.loads(planted)
    if fault is not None:
        fault()
    sys.exit(main(arguments))


def plant(owner: Any, name: str, act: Callable[..., object], *, after: bool = False) -> None:
    """Has ``act`` called with the arguments of ``owner.name`` before each call of it, or ``after``."""
    original = getattr(owner, name)

    def planted(*arguments: Any, **named: Any) -> Any:
        if not after:
            act(*arguments, **named)
        result = original(*arguments, **named)
        if after:
            act(*arguments, **named)
        return result

    setattr(owner, name, planted)


def until(holds: Callable[[], object], seconds: float = 60) -> None:
    """Waits until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)
