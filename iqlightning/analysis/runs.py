"""Runs on disk: their settings, curves and final tables; and which of them are the same experiment with other seeds."""

import csv
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from iqlightning.documents import read_json, read_yaml
from iqlightning.errors import UserError
from iqlightning.files import size_in_words

__all__ = [
    "Group",
    "Run",
    "class_named",
    "differing_settings",
    "find_runs",
    "flat_settings",
    "group_runs",
    "read_run",
    "read_summary",
    "settings_of_some",
]

# settings that tell runs of one experiment apart without making them another one
_SEEDS = ("seed_everything", "model.seed", "data.seed")
_VERSION = re.compile(r"version_\d+")
_STEP = re.compile(r"[0-9]{1,18}", re.ASCII)

# bytes that are read of a run's files
_LARGEST_CURVES, _LARGEST_SUMMARY = 256 << 20, 16 << 20

_LARGEST_NUMBER = 1e300

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
        made: what made it, see :mod:`iqlightning.provenance`; None for runs of earlier versions.
    """

    folder: Path
    settings: dict[str, Any]
    curves: dict[str, list[tuple[int, float]]]
    summary: dict[str, Any] | None
    checkpoint: Path | None
    made: dict[str, Any] | None = None

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


def find_runs(paths: Sequence[str | Path], left_out: Callable[[str], None] | None = None) -> list[Run]:
    """The runs in these folders, each a run's own or any folder above some.

    Args:
        paths: the folders.
        left_out: called with a sentence for each run that cannot be read, each folder that looks like a run and is
            none, and each path without any; None: the first of them is an error, but for what only looks like a run.

    Raises:
        UserError: if a folder does not exist or holds no run, or none that can be read.
    """
    runs: dict[Path, Run] = {}
    troubles: list[UserError] = []

    def leave_out(error: UserError) -> None:
        if left_out is None:
            raise error
        troubles.append(error)

    for path in map(Path, paths):
        if not path.exists():
            raise UserError(f"there is no folder '{path}'; give folders of runs, such as logs/cnn_iq/version_0 or logs")
        below = [] if _is_run(path) else sorted(_folders(path), key=_order)
        inside = [path] if _is_run(path) else [each for each in below if _is_run(each)]
        if not inside:
            leave_out(UserError(f"'{path}' holds no run: a run's folder has the files config.yaml and metrics.csv"))
        elif left_out is not None:
            for each in below:
                if _VERSION.fullmatch(each.name) and not _is_run(each):
                    leave_out(UserError(f"'{each}' is no run: it lacks {' and '.join(_lacking(each))}"))
        for folder in inside:
            try:
                runs.setdefault(folder.resolve(), read_run(folder))
            except UserError as error:
                leave_out(error)
    if not runs and troubles:
        raise troubles[0]
    if left_out is not None:
        for error in troubles:
            left_out(f"{error}; it is left out")
    return list(runs.values())


def read_run(folder: Path) -> Run:
    """Reads a run's files.

    Raises:
        UserError: if its settings cannot be read. Figures that cannot be are left out: a run may still be writing.
    """
    try:
        config = read_yaml(folder / "config.yaml", "record of the run")
    except (OSError, UserError) as error:
        problem = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read the settings of the run '{folder}': {problem}") from error
    if not isinstance(config, dict):
        raise UserError(f"'{folder / 'config.yaml'}' is not the record of a run")
    if (size := (folder / "metrics.csv").stat().st_size) > _LARGEST_CURVES:
        most = size_in_words(_LARGEST_CURVES)
        raise UserError(f"'{folder / 'metrics.csv'}' has {size_in_words(size)}, and at most {most} are read")
    checkpoints = [folder / "checkpoints" / f"{name}.ckpt" for name in ("best", "last")]
    return Run(
        folder=folder,
        settings=dict(flat_settings(config)),
        curves=_curves(folder / "metrics.csv"),
        summary=read_summary(folder / "summary.json"),
        made=_record(folder / "run.json"),
        checkpoint=next((path for path in checkpoints if path.is_file()), None),
    )


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Puts together what differs in seeds alone, in the order of first appearance."""
    groups: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        kept = {key: value for key, value in run.settings.items() if not _is_incidental(key) and key not in _SEEDS}
        groups[run.name, _canonical(kept)].append(run)
    together = [sorted(group, key=lambda run: str(run.seed).zfill(9)) for group in groups.values()]
    names = [group[0].name for group in together]
    labels = list(names)
    for name in {name for name in names if names.count(name) > 1}:
        alike = [index for index, other in enumerate(names) if other == name]
        apart = differing_settings([together[index][0] for index in alike])
        telling = _fewest(apart)
        for place, index in enumerate(alike if telling else []):
            labels[index] = f"{name} ({', '.join(f'{_short(k)}={_brief(v[place])}' for k, v in telling.items())})"
        for index in alike:  # what was left out of long values
            same = [other for other in alike if labels[other] == labels[index]]
            for number, other in enumerate(same if len(same) > 1 else [], 1):
                labels[other] = f"{labels[other]} #{number}"
    return [Group(label, group) for label, group in zip(labels, together, strict=True)]


# Letters of a value in a label.
_LONGEST_VALUE = 20


def _fewest(apart: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Of some settings with their values in each run, few that suffice to tell the runs apart, in their order."""
    chosen: set[str] = set()
    rows: list[tuple[str, ...]] = [()] * len(next(iter(apart.values()), []))
    while len(apart) > len(chosen):
        values = {key: [(*row, value) for row, value in zip(rows, apart[key], strict=True)] for key in apart}
        best = max((key for key in apart if key not in chosen), key=lambda key: len(set(values[key])))
        if len(set(values[best])) == len(set(rows)):
            break  # no setting tells more of them apart
        chosen.add(best)
        rows = values[best]
    return {key: values for key, values in apart.items() if key in chosen}


def _brief(value: str) -> str:
    """The value, its middle left out where it is long."""
    half = _LONGEST_VALUE // 2
    return value if len(value) <= _LONGEST_VALUE else f"{value[:half]}…{value[1 - half :]}"


def differing_settings(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Settings that are not the same in all runs, with each run's value as text; seeds and places aside.

    Where a run has another class, the arguments of that class are shown only if both have them: what sets two
    encoders apart is first of all that they are two encoders.
    """
    chosen = {}
    for key in _telling_keys(runs):
        if all(key in run.settings for run in runs):
            values = [_text(run.settings[key]) for run in runs]
            if len(set(values)) > 1:
                chosen[key] = values
    return chosen


def settings_of_some(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Settings that not all runs have, such as the arguments of a class that some have; "" where a run has none.

    With :func:`differing_settings` and those that are the same in all runs these are all; seeds and places aside. A
    class stands beside what others have in its place, under the same key.
    """
    chosen = {}
    for key in _telling_keys(runs):
        if not all(key in run.settings for run in runs):
            name = key.removesuffix(".class_path")
            alike = (f"{name}.class_path", name)
            chosen[name] = [
                next((_text(run.settings[each]) for each in alike if each in run.settings), "") for run in runs
            ]
    return chosen


def _telling_keys(runs: Sequence[Run]) -> list[str]:
    parts = ("model", "data", "trainer")
    keys = {key for run in runs for key in run.settings if not _is_incidental(key) and key not in _SEEDS}
    return sorted(keys, key=lambda key: (_place(key, parts), key))


def _canonical(settings: Mapping[str, Any]) -> str:
    try:
        return json.dumps(settings, sort_keys=True, default=str)
    except (TypeError, ValueError):  # keys that are no texts
        return repr(sorted(settings.items()))


def _short(key: str) -> str:
    return key.removesuffix(".class_path").rpartition(".")[2]


def _place(key: str, parts: Sequence[str]) -> int:
    part = key.partition(".")[0]
    return parts.index(part) if part in parts else len(parts)


def _is_run(folder: Path) -> bool:
    return not _lacking(folder)


def _lacking(folder: Path) -> list[str]:
    """Files that a run's folder has, and this one has not."""
    return [name for name in ("config.yaml", "metrics.csv") if not (folder / name).is_file()]


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


def flat_settings(settings: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys as on the command line (without ``init_args``) to values; see :func:`class_named`."""
    if not isinstance(settings, Mapping) or not settings:
        yield prefix, class_named(settings) if prefix.rpartition(".")[2] == "class_path" else settings
        return
    for key, value in settings.items():
        yield from flat_settings(value, prefix if key == "init_args" else f"{prefix}.{key}" if prefix else str(key))


def class_named(path: Any) -> Any:
    """One path of a class of this package, of the several that lead to it: a run wrote whichever was shortest then."""
    root, _, rest = path.partition(".") if isinstance(path, str) else ("", "", "")
    return f"{root}.{rest.rpartition('.')[2]}" if root == "iqlightning" else path


def _text(value: Any) -> str:
    """A setting as it is written on the command line; a class by its last name."""
    if isinstance(value, str) and "." in value and "/" not in value and value.replace(".", "").isidentifier():
        return value.rpartition(".")[2]
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _curves(path: Path) -> dict[str, list[tuple[int, float]]]:
    curves: dict[str, list[tuple[int, float]]] = defaultdict(list)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                number = row.get("step") or ""
                if not _STEP.fullmatch(number):
                    continue
                # Lightning numbers what callbacks log by the last update before it, from 0
                step = int(number) + (1 if row.get("epoch") else 0)
                for name, text in row.items():
                    if name not in ("step", "epoch") and isinstance(text, str) and text:
                        try:
                            value = float(text)
                        except ValueError:
                            continue
                        if _is_number(value):
                            curves[name].append((step, value))
    except (OSError, csv.Error, UnicodeDecodeError):
        return {}
    return dict(curves)


def read_summary(path: Path) -> dict[str, Any] | None:
    """The final table of a run; None if there is none that can be read, or it is none.

    Of its rows only what figures are is kept: numbers, their intervals, and which policy they are of.
    """
    try:
        summary = read_json(path, _LARGEST_SUMMARY)
    except (OSError, UserError):
        return None
    if not isinstance(summary, dict) or not isinstance(summary.get("rows"), list):
        return None
    if not all(_is_number(summary.get(name, 0)) for name in ("episodes", "seed")):
        return None
    rows = [row for row in summary["rows"] if isinstance(row, dict)]
    return summary | {"rows": [{key: value for key, value in row.items() if _is_figure(key, value)} for row in rows]}


def _record(path: Path) -> dict[str, Any] | None:
    try:
        record = read_json(path, _LARGEST_SUMMARY)
    except (OSError, UserError):
        return None
    return record if isinstance(record, dict) else None


def _is_figure(key: str, value: Any) -> bool:
    if key == "policy":
        return isinstance(value, str)
    if key.endswith("_ci95"):
        return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))
    return _is_number(value)


def _is_number(value: Any) -> bool:
    # a whole number may be too large for a float, and then cannot be asked whether it is finite
    return isinstance(value, int | float) and -_LARGEST_NUMBER < value < _LARGEST_NUMBER
