"""Processes for the runs of an experiment: each runs commands in turn, and starts with everything imported."""

import json
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path

from iqlightning.analysis.experiments.runner import Process
from iqlightning.cli.main import main
from iqlightning.files import write_atomically

__all__ = ["Launcher"]


class Launcher:
    """Starts processes from a server that has imported everything once, which otherwise takes seconds each.

    All runs of an experiment thus have the same code, also when a file of the package is changed meanwhile.
    """

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["iqlightning.cli.preload"])

    def __call__(self, commands: Sequence[Sequence[str]], log: Path, statuses: Path) -> Process:
        """See :class:`iqlightning.analysis.experiments.runner.Launch`."""
        arguments = ([list(command) for command in commands], str(log), str(statuses), os.getcwd())
        process = self._context.Process(target=_run, args=arguments)
        process.start()
        return process


def _run(commands: list[list[str]], log: str, statuses: str, folder: str) -> None:
    # Ctrl-C reaches all processes of the terminal's group; here it would come before the parent's request to save and
    # stop, which would then be the second and end the run unsaved
    os.setsid()
    _stop_with_the_parent()
    os.chdir(folder)
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    # a new file: what an earlier attempt said is not what this one says
    with open(log, "w", encoding="utf-8") as file:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    ended: list[dict[str, object]] = []
    for command in commands:
        begun = Path(log).stat().st_size
        status = _status(command)
        sys.stdout.flush()
        sys.stderr.flush()
        ended.append({"status": status, "sentence": _sentence(Path(log).read_bytes()[begun:]) if status else ""})
        write_atomically(statuses, json.dumps(ended).encode())
        if status and not (status == 2 and command[0] == "evaluate"):
            sys.exit(status)


def _stop_with_the_parent() -> None:
    """Asks this process to save and stop should the parent be killed: a later call would train the same run again."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _status(command: list[str]) -> int:
    print(f"$ iqlightning {' '.join(command)}", flush=True)
    try:
        return main(command)
    except SystemExit as request:
        return request.code if isinstance(request.code, int) else 1
    except Exception:  # whatever it is, its last line is what the list of failed trials says
        traceback.print_exc()
        return 1


def _sentence(said: bytes) -> str:
    lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
    sentences = [line.removeprefix("iqlightning: ") for line in lines if line.startswith("iqlightning: ")]
    return (sentences or lines)[-1]
