"""Runs trials, several at a time, and goes on where it was cut off."""

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import yaml

from iqlightning.analysis.experiments.trial import FilesRead, Outcome, OutcomeFile, Trial
from iqlightning.documents import read_json
from iqlightning.errors import UserError
from iqlightning.files import write_atomically

__all__ = ["Launch", "Process", "run_trials"]

# bytes of figures that are read
_LARGEST = 64 << 20

_POLL = 0.05  # seconds
_VERSION = re.compile(r"version_(\d+)\Z")


@runtime_checkable
class Process(Protocol):
    """What :class:`multiprocessing.Process` has."""

    @property
    def exitcode(self) -> int | None:
        """None while it runs."""

    def terminate(self) -> None:
        """Asks it to save and stop."""

    def join(self) -> None:
        """Waits for its end."""


@runtime_checkable
class Launch(Protocol):
    """Starts a process that runs commands in turn, as ``python -m iqlightning`` would each of them.

    It stops at the first command that fails, unless that is an ``evaluate`` that was refused. What was said goes to
    ``log``; ``statuses`` is a JSON list with ``{"status": ..., "sentence": ...}`` of each command.
    """

    def __call__(self, commands: Sequence[Sequence[str]], log: Path, statuses: Path) -> Process:
        """Starts it."""
        ...


def run_trials(
    trials: Sequence[Trial],
    folder: Path,
    launch: Launch,
    *,
    files_read: FilesRead | None = None,
    jobs: int = 1,
    advance: Callable[[int], None] = lambda count: None,
    describe: Callable[[str], None] = lambda text: None,
) -> list[Outcome]:
    """Outcomes of all trials, in their order; those already known are taken from ``folder/outcomes.jsonl``.

    Trials with equal keys have one outcome: the first of them is run.

    Args:
        trials: groups and seeds must be distinct.
        folder: of the experiment.
        launch: starts the processes.
        files_read: by ``fit`` for a configuration; see :meth:`Trial.key`.
        jobs: trials at a time.
        advance: called with the number of trials that are newly done.
        describe: called with what runs now.

    Raises:
        UserError: if two trials would share a folder.
    """
    places = [(trial.group, trial.seed) for trial in trials]
    if twice := next((place for place in places if places.count(place) > 1), None):
        raise UserError(f"the experiment lists '{twice[0]}' with seed {twice[1]} twice")
    file = OutcomeFile(folder / "outcomes.jsonl")
    keys = [trial.key(files_read) for trial in trials]
    shares = Counter(keys)
    outcomes = {key: outcome for key in shares if (outcome := file.get(key)) is not None}
    advance(sum(shares[key] for key in outcomes))
    first = dict(zip(reversed(keys), reversed(trials), strict=True))
    waiting = [(first[key], key) for key in shares if key not in outcomes]
    running: list[_Running] = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(_Running(*waiting.pop(0), folder, launch))
                describe("; ".join(each.trial.name for each in running))
            time.sleep(_POLL)
            for each in [each for each in running if each.process.exitcode is not None]:
                running.remove(each)
                outcomes[each.key] = each.outcome()
                file.add([outcomes[each.key]])
                advance(shares[each.key])
                describe("; ".join(other.trial.name for other in running))
    finally:
        for each in running:
            each.process.terminate()
        for each in running:
            each.process.join()
    # what a trial is called may have changed since it was run
    return [
        replace(outcomes[key], group=trial.group, factors=dict(trial.factors))
        for trial, key in zip(trials, keys, strict=True)
    ]


class _Running:
    """A trial whose process has been started."""

    def __init__(self, trial: Trial, key: str, folder: Path, launch: Launch) -> None:
        self.trial, self.key = trial, key
        root = folder / f"seed_{trial.seed}"
        self.place = root / trial.group
        self.log = root / f"{trial.group}.log"
        self._statuses = self.place / "statuses.json"
        self._begun = time.monotonic()
        named = {"seed_everything": trial.seed, "trainer": {"default_root_dir": str(root)}}
        write_atomically(root / f"{trial.group}.yaml", yaml.safe_dump(named).encode(), what="configuration")
        same = _read(self.place / "trial.json") == {"key": key}
        write_atomically(self.place / "trial.json", json.dumps({"key": key}).encode(), what="record of the trial")
        self._statuses.unlink(missing_ok=True)
        versions = sorted(int(matched[1]) for path in self.place.iterdir() if (matched := _VERSION.match(path.name)))
        newest = self.place / f"version_{versions[-1]}" if versions and same else None
        commands: list[list[str]] = []
        if newest is not None and (newest / "summary.json").exists():
            self.run = newest  # trained to its end; only evaluations are missing
        else:
            self.run = self.place / f"version_{versions[-1] + 1 if versions else 0}"
            commands.append(trial.fit(root))
            if newest is not None and (last := newest / "checkpoints" / "last.ckpt").exists():
                commands[0] += ["--ckpt_path", str(last)]
        self._fits = len(commands)
        checkpoint = str(self.run / "checkpoints" / f"{trial.checkpoint}.ckpt")
        for name, options in trial.evaluations.items():
            commands.append(["evaluate", checkpoint, *options, "--json", str(self._figures_of(name))])
        self.process = launch(commands, self.log, self._statuses)

    def outcome(self) -> Outcome:
        """Once the process has ended."""
        statuses = _read(self._statuses)
        statuses = statuses if isinstance(statuses, list) else []
        figures: dict[str, dict[str, Any]] = {}
        names = list(self.trial.evaluations)
        for name, ended in zip(names, statuses[self._fits :], strict=False):
            read = _read(self._figures_of(name)) if ended["status"] == 0 else {"refused": ended["sentence"]}
            figures[name] = read if isinstance(read, dict) else {}
        whole = len(statuses) == self._fits + len(names)
        trouble = None
        if not whole or self.process.exitcode != 0:
            said = statuses[-1]["sentence"] if statuses and statuses[-1]["status"] else "it was killed"
            status = f"exit status {self.process.exitcode}"
            trouble = f"{self.trial.name} failed ({status}): {said}; what it printed is in '{self.log}'"
        return Outcome(
            key=self.key,
            group=self.trial.group,
            seed=self.trial.seed,
            factors=dict(self.trial.factors),
            run=str(self.run),
            seconds=time.monotonic() - self._begun,
            figures=figures,
            trouble=trouble,
        )

    def _figures_of(self, evaluation: str) -> Path:
        return self.place / f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', evaluation)}.json"


def _read(path: Path) -> Any:
    try:
        return read_json(path, _LARGEST)
    except (OSError, UserError):
        return None
