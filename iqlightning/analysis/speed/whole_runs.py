"""What only a whole process can show: start-up, memory, several processes, the time until a task is learnt.

On the clock, not in processor time; to be read on a machine that does nothing else.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from iqlightning.analysis.speed.bench import Bench
from iqlightning.analysis.speed.measure import Result

__all__ = ["FASTEST", "memory", "peak_memory", "processes", "start", "time_to_success"]

#: The configuration that reaches 99% first.
FASTEST = "planner"

_LONG = 1800  # seconds after which a process is given up


class _Ended(dict[str, float]):
    """What a process has noticed of itself, and its ``seconds`` and ``megabytes`` as its parent saw them."""


def _process(arguments: Sequence[str], folder: Path) -> _Ended:
    log = folder / "output.txt"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("IQLIGHTNING_")}
    environment |= {"OMP_NUM_THREADS": "1"}
    started = time.time()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            env=environment,
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}: {log.read_text()[-2000:]}")
    # kilobytes on Linux, bytes on macOS
    megabytes = usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
    return _Ended(seconds=time.time() - started, megabytes=megabytes)


def _fit(config: Path, folder: Path, stop: str, *options: str) -> _Ended:
    """A run of ``fit``, with what it noticed of itself."""
    file = folder / "noticed.json"
    file.unlink(missing_ok=True)
    watched = ["-m", "iqlightning.cli.timed_process", str(file), str(time.time()), stop]
    ended = _process([*watched, "fit", "--config", str(config), *options], folder)
    return _Ended(ended | json.loads(file.read_text()))


def start(bench: Bench) -> list[Result]:
    """Seconds until the help and until the first update, files and compiled modules already in the system's cache."""
    shown, first = [], []
    with tempfile.TemporaryDirectory() as name:
        for repeat in range(bench.repeats + 1):
            helped = _process(["-m", "iqlightning", "--help"], Path(name))
            bench.progress(1)
            update = _fit(bench.config("cnn_iq"), Path(name), "first_update", "--trainer.max_steps", "8")
            bench.progress(1)
            if repeat:
                shown.append(helped["seconds"])
                first.append(update["first_update"])
    return [
        Result("start", "python -m iqlightning --help", "s", tuple(shown), 2.0, 1.0, more_is_better=False),
        Result("start", "fit, process start to first update", "s", tuple(first), 10.0, 5.0, more_is_better=False),
    ]


def memory(bench: Bench) -> list[Result]:
    """Memory of a whole run above that of a process which only imports torch and Lightning."""
    values = []
    with tempfile.TemporaryDirectory() as name:
        for repeat in range(bench.repeats + 1):
            bare = _process(["-c", "import torch, lightning.pytorch"], Path(name))["megabytes"]
            bench.progress(1)
            whole = _fit(bench.config("cnn_iq"), Path(name), "end", *bench.steps(400))["megabytes"]
            bench.progress(1)
            if repeat:
                values.append(whole - bare)
    what = "memory of fit, cnn_iq, above importing torch and Lightning"
    return [Result("memory", what, "MB", tuple(values), 400.0, 200.0, more_is_better=False)]


def peak_memory(config: Mapping[str, Any], updates: int) -> float:
    """Resident memory of a whole run at the most, in MB, the program itself included."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "run.yaml"
        path.write_text(yaml.safe_dump(dict(config)))
        options = ["--trainer.max_steps", str(updates), "--trainer.callbacks", "null"]
        return _fit(path, Path(name), "end", *options, "--checkpoint.monitor", "null")["megabytes"]


def processes(bench: Bench) -> list[Result]:
    """Updates a second of two processes with one thread each against one.

    Beside it, what the machine leaves of two processes that know nothing of each other, each with half the batch: the
    work that does not shrink with the batch, and all that two cores share.
    """
    options = ["--trainer.limit_val_batches", "0", "--data.updates_per_epoch", "1000000", "--trainer.callbacks", "null"]
    options += ["--trainer.accelerator", "cpu", *bench.steps(400)]
    whole, half = ["--data.batch_size", "512"], ["--data.batch_size", "256"]
    two = ["--trainer.devices", "2", "--trainer.strategy", "ddp"]
    rates: dict[str, list[float]] = {"one process": [], "two processes": [], "two that exchange nothing": []}
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(2) as side_by_side:
        folders = [Path(name) / each for each in "ab"]
        for folder in folders:
            folder.mkdir()

        def rate(folder: Path, *more: str) -> float:
            return _fit(bench.config("cnn_iq"), folder, "end", *options, *more)["updates_per_second"]

        for repeat in range(bench.repeats + 1):
            one = rate(folders[0], *whole)
            bench.progress(1)
            both = rate(folders[0], *whole, *two)
            bench.progress(1)
            apart = list(side_by_side.map(lambda folder: rate(folder, *half), folders))
            bench.progress(1)
            if repeat:
                for found, each in zip(rates.values(), (one, both, min(apart)), strict=True):
                    found.append(each)
    medians = {name: statistics.median(found) for name, found in rates.items()}
    what = "GridCNN, global batch 512, two processes (gloo) / one"
    bound = "two of half the batch that exchange nothing, the slower / one"

    def against_one(name: str) -> tuple[float, ...]:
        return tuple(each / one for each, one in zip(rates[name], rates["one process"], strict=True))

    return [
        Result("processes", what, "x", against_one("two processes"), 1.6, 1.9, rates=medians),
        Result("processes", bound, "x", against_one("two that exchange nothing")),
    ]


def time_to_success(bench: Bench) -> list[Result]:
    """From the start of the process, demonstrations made, to the first validation with 99% of 500 grids solved."""
    results = []
    for config, must, aim in (("cnn_iq", 120.0, 30.0), (FASTEST, 30.0, 12.0)):
        values = []
        for seed in range(bench.repeats):
            with tempfile.TemporaryDirectory() as name:
                options = ["--seed_everything", str(seed), "--data.episodes", "450"]
                ended = _fit(bench.config(config), Path(name), "success", *options)
            values.append(ended.get("success", float(_LONG)))
            bench.progress(1)
        what = f"{config}, 450 demonstrations, process start to 99% success"
        results.append(Result("learnt", what, "s", tuple(values), must, aim, more_is_better=False))
    return results
