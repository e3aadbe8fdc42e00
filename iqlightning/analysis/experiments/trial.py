"""A trial: one run and its evaluations; its outcome; and the file that keeps outcomes."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from iqlightning.errors import UserError
from iqlightning.files import write_atomically

__all__ = ["FilesRead", "Outcome", "OutcomeFile", "Trial"]

FilesRead = Callable[[Sequence[str]], Sequence[str]]
"""Configurations to all files that a run with them reads, in order."""


@dataclass(frozen=True)
class Trial:
    """One run and what is asked of its checkpoint.

    Attributes:
        group: names the runs' folder; trials of a group differ in their seeds alone.
        config: configuration file.
        seed: of the run.
        settings: dotted key to value, as on the command line.
        evaluations: name to options of ``evaluate``, without checkpoint and ``--json``.
        factors: what the experiment varies, for tables and figures.
        checkpoint: ``best`` or ``last``.
    """

    group: str
    config: str
    seed: int
    settings: Mapping[str, str] = field(default_factory=dict)
    evaluations: Mapping[str, Sequence[str]] = field(default_factory=dict)
    factors: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: str = "best"

    @property
    def name(self) -> str:
        """Group and seed."""
        return f"{self.group}, seed {self.seed}"

    def key(self, files_read: FilesRead | None = None) -> str:
        """Changes with anything that the outcome depends on, be it in a configuration or a file of demonstrations.

        Args:
            files_read: by ``fit`` for a configuration; None: that one alone.

        Raises:
            UserError: if a configuration cannot be read.
        """
        files = [self.config] if files_read is None else files_read([self.config])
        texts = [self._text(file) for file in files]
        shown: Any = None
        for path in (*map(_demonstrations, texts), *map(self.settings.get, ("data.path", "data.init_args.path"))):
            shown = path or shown
        parts = [texts, self.seed, dict(self.settings), {k: list(v) for k, v in self.evaluations.items()}]
        text = json.dumps([*parts, self.checkpoint, None if shown is None else _digest_of(shown)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _text(self, config: str) -> str:
        try:
            return Path(config).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read the configuration '{config}' of the trial '{self.name}'") from error

    def fit(self, root: Path) -> list[str]:
        """Arguments of ``fit``; the run is called as the group, whatever its configuration is called."""
        options = [f"--{key}={value}" for key, value in self.settings.items()]
        return ["fit", "--config", self.config, "--config", str(root / f"{self.group}.yaml"), *options]


@lru_cache(maxsize=64)
def _demonstrations(config: str) -> str | None:
    """The file that ``data.path`` names in the text of a configuration."""
    try:
        data = yaml.safe_load(config)["data"]
        path = (data.get("init_args") or data)["path"]
    except (yaml.YAMLError, LookupError, TypeError, AttributeError):
        return None  # without data, or wrong, which is for fit to say
    return path if isinstance(path, str) else None


def _digest_of(path: str) -> str | None:
    """Checksum of a file's content; None if there is none, as of a name that is no file."""
    try:
        status = Path(path).stat()
        return _digest(path, status.st_size, status.st_mtime_ns)
    except OSError:
        return None


@lru_cache(maxsize=64)  # many trials learn from one file, which may be large; size and time tell whether it is the same
def _digest(path: str, size: int, changed: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Outcome:
    """What became of a trial, or how a policy without training does on an evaluation.

    Attributes:
        key: of the trial.
        group: of the trial.
        seed: of the trial.
        factors: of the trial.
        run: the run's folder; None for a policy that was not trained.
        seconds: wall time of training and evaluations.
        figures: evaluation to what ``evaluate --json`` wrote; ``{"refused": sentence}`` where it was refused.
        trouble: a sentence, if the trial failed.
    """

    key: str
    group: str
    seed: int
    factors: dict[str, Any]
    run: str | None
    seconds: float
    figures: dict[str, dict[str, Any]]
    trouble: str | None = None


class OutcomeFile:
    """Outcomes as JSON lines, written whole and put in place at once.

    Raises:
        UserError: if there is one that cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept: dict[str, Outcome] = {}
        if path.exists():
            try:
                for line in path.read_text(encoding="utf-8").splitlines():
                    outcome = Outcome(**json.loads(line))
                    self._kept[outcome.key] = outcome
            except (OSError, ValueError, TypeError) as error:
                raise UserError(
                    f"the outcomes in '{path}' cannot be read: {str(error).splitlines()[0]}; move the file away to "
                    "begin the experiment anew"
                ) from error

    def get(self, key: str) -> Outcome | None:
        """The outcome of a trial that did not fail."""
        outcome = self._kept.get(key)
        return outcome if outcome is not None and outcome.trouble is None else None

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Keeps these too."""
        self._kept |= {outcome.key: outcome for outcome in outcomes}
        lines = (json.dumps(asdict(outcome), sort_keys=True) for outcome in self._kept.values())
        write_atomically(self.path, ("\n".join(lines) + "\n").encode(), what="file of outcomes")
