"""Runs on disk: their settings, curves and final tables; and which of them are the same experiment with other seeds."""

import csv
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from iqlightning.errors import UserError

__all__ = ["Group", "Run", "differing_settings", "find_runs", "group_runs", "read_run"]

# settings that tell runs of one experiment apart without making them another one
_SEEDS = ("seed_everything", "model.seed", "data.seed")
# where and how a run was made, not what it is
_INCIDENTAL = (
    "trainer.default_root_dir",
    "trainer.logger",
    "trainer.callbacks",
    "trainer.plugins",
    "trainer.enable_",
    "trainer.devices",
    "trainer.accelerator",
    "trainer.profiler",
    "data.directory",
    "data.updates_per_step",
    "checkpoint.dirpath",
    "model.log_every",
    "threads",
)


@dataclass(frozen=True)
class Run:
    """One run folder.

    Attributes:
        folder: ``logs/NAME/version_N``.
        settings: dotted key, as on the command line, to value.
        curves: figure to its points (updates, value).
        summary: the final table, or None for a run that did not reach its end.
        checkpoint: the best one, else the last, or None.
    """

    folder: Path
    settings: dict[str, Any]
    curves: dict[str, list[tuple[int, float]]]
    summary: dict[str, Any] | None
    checkpoint: Path | None

    @property
    def name(self) -> str:
        """NAME of the folder: the configuration's."""
        return self.folder.resolve().parent.name

    @property
    def seed(self) -> Any:
        """Of the run."""
        return self.settings.get("seed_everything")


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seeds alone.

    Attributes:
        label: the configuration's name, and what sets it apart from others of that name.
        runs: at least one, by seed.
    """

    label: str
    runs: list[Run] = field(default_factory=list)

    @property
    def shown(self) -> Run | None:
        """The run whose pictures stand for the group: the first seed that has a checkpoint."""
        return next((run for run in self.runs if run.checkpoint is not None), None)


def find_runs(paths: Sequence[str | Path]) -> list[Run]:
    """The runs in these folders, each a run's own or any folder above some.

    Raises:
        UserError: if a folder does not exist or holds no run.
    """
    runs: dict[Path, Run] = {}
    for path in map(Path, paths):
        if not path.exists():
            raise UserError(f"there is no folder '{path}'; give folders of runs, such as logs/cnn_iq/version_0 or logs")
        inside = [path] if _is_run(path) else sorted((f for f in _folders(path) if _is_run(f)), key=_order)
        if not inside:
            raise UserError(f"'{path}' holds no run: a run's folder has the files config.yaml and metrics.csv")
        for folder in inside:
            runs.setdefault(folder.resolve(), read_run(folder))
    return list(runs.values())


def read_run(folder: Path) -> Run:
    """Reads a run's files.

    Raises:
        UserError: if its settings cannot be read. Figures that cannot be are left out: a run may still be writing.
    """
    try:
        config = yaml.safe_load((folder / "config.yaml").read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the settings of the run '{folder}': {_first_line(error)}") from error
    if not isinstance(config, dict):
        raise UserError(f"'{folder / 'config.yaml'}' is not the record of a run")
    checkpoints = [folder / "checkpoints" / f"{name}.ckpt" for name in ("best", "last")]
    return Run(
        folder=folder,
        settings=dict(_flat(config)),
        curves=_curves(folder / "metrics.csv"),
        summary=_summary(folder / "summary.json"),
        checkpoint=next((path for path in checkpoints if path.is_file()), None),
    )


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Puts together what differs in seeds alone, in the order of first appearance."""
    groups: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        kept = {key: value for key, value in run.settings.items() if not _is_incidental(key) and key not in _SEEDS}
        groups[run.name, json.dumps(kept, sort_keys=True, default=str)].append(run)
    together = [sorted(group, key=lambda run: str(run.seed).zfill(9)) for group in groups.values()]
    names = [group[0].name for group in together]
    labels = list(names)
    for name in {name for name in names if names.count(name) > 1}:
        alike = [index for index, other in enumerate(names) if other == name]
        apart = differing_settings([together[index][0] for index in alike])
        for place, index in enumerate(alike):
            labels[index] = f"{name} ({', '.join(f'{short(k)}={v[place]}' for k, v in apart.items())})"
    return [Group(label, group) for label, group in zip(labels, together, strict=True)]


def differing_settings(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Settings that are not the same in all runs, with each run's value as text; seeds and places aside.

    Where a run has another class, the arguments of that class are shown only if both have them: what sets two
    encoders apart is first of all that they are two encoders.
    """
    parts = ("model", "data", "trainer")
    keys = sorted({key for run in runs for key in run.settings}, key=lambda key: (_place(key, parts), key))
    chosen = {}
    for key in keys:
        if _is_incidental(key) or key in _SEEDS or any(key not in run.settings for run in runs):
            continue
        values = [_text(run.settings[key]) for run in runs]
        if len(set(values)) > 1:
            chosen[key] = values
    return chosen


def short(key: str) -> str:
    """The last part of a key, with the one before where that alone says nothing."""
    parts = key.removesuffix(".class_path").split(".")
    return parts[-1]


def _place(key: str, parts: Sequence[str]) -> int:
    part = key.partition(".")[0]
    return parts.index(part) if part in parts else len(parts)


def _is_run(folder: Path) -> bool:
    return (folder / "config.yaml").is_file() and (folder / "metrics.csv").is_file()


def _folders(path: Path) -> Iterator[Path]:
    # runs lie at logs/NAME/version_N, those of an experiment at logs/EXPERIMENT/seed_S/NAME/version_N: four levels down
    # is enough, and a whole disk is not searched by mistake
    for pattern in ("*", "*/*", "*/*/*", "*/*/*/*"):
        yield from (folder for folder in path.glob(pattern) if folder.is_dir())


def _order(folder: Path) -> tuple[str, int, str]:
    number = folder.name.removeprefix("version_")
    return (str(folder.parent), int(number) if number.isdigit() else -1, folder.name)


def _is_incidental(key: str) -> bool:
    return key.startswith(_INCIDENTAL)


def _flat(settings: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(settings, Mapping) or not settings:
        yield prefix, settings
        return
    for key, value in settings.items():
        yield from _flat(value, prefix if key == "init_args" else f"{prefix}.{key}" if prefix else str(key))


def _text(value: Any) -> str:
    """A setting as it is written on the command line; a class by its last name."""
    if isinstance(value, str) and "." in value and "/" not in value and value.replace(".", "").isidentifier():
        return value.rpartition(".")[2]
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _curves(path: Path) -> dict[str, list[tuple[int, float]]]:
    curves: dict[str, list[tuple[int, float]]] = defaultdict(list)
    try:
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                if not (row.get("step") or "").isdigit():
                    continue
                # Lightning numbers what callbacks log by the last update before it, from 0
                step = int(row["step"]) + (1 if row.get("epoch") else 0)
                for name, text in row.items():
                    if name not in ("step", "epoch") and isinstance(text, str) and text:
                        try:
                            value = float(text)
                        except ValueError:
                            continue
                        if math.isfinite(value):
                            curves[name].append((step, value))
    except (OSError, csv.Error, UnicodeDecodeError):
        return {}
    return dict(curves)


def _summary(path: Path) -> dict[str, Any] | None:
    try:
        summary = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return summary if isinstance(summary, dict) and isinstance(summary.get("rows"), list) else None


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
