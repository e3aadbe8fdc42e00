"""Which column or array of a file is what: by the names that its format uses, or by those that a user gives."""

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import numpy as np

from iqlightning.data.recording import Recording, recording_of_rows
from iqlightning.errors import UserError, unknown

__all__ = ["PARTS", "recording_of_columns"]

#: What a file of rows can hold; the first two are needed.
PARTS = (
    "observations",
    "actions",
    "next_observations",
    "rewards",
    "terminated",
    "truncated",
    "episode",
    "episode_starts",
    "episode_ends",
)


def recording_of_columns(
    name: str,
    columns: Mapping[str, np.ndarray],
    usual: Mapping[str, Sequence[str]],
    names: Mapping[str, str] | None = None,
    kind: str = "column",
) -> Recording:
    """A recording of the columns of a table, or the arrays of an archive.

    Args:
        name: of the file.
        columns: (N, ...) each; words where they are no numbers.
        usual: for parts of :data:`PARTS` what the format calls them, the first that is there counts; ``obs_*`` stands
            for all columns that begin so, in the order of their numbers.
        names: the same for some parts, by the user, one each.
        kind: what the message calls a column.

    Raises:
        UserError: if a column that is needed or named is not there, holds words, or columns are numbered with gaps; as
            :func:`~iqlightning.data.recording.recording_of_rows`.
    """
    names = names or {}
    for part in names:
        if part not in PARTS:
            raise unknown("part of a recording", part, PARTS)
    found: dict[str, np.ndarray] = {}
    used: set[str] = set()
    for part in PARTS:
        patterns = [names[part]] if part in names else usual.get(part, (part,))
        matches = next((each for pattern in patterns if (each := _matching(name, kind, columns, pattern))), [])
        if not matches and part in names:
            raise unknown(f"{kind} of '{name}' called", names[part], columns)
        if not matches and part in PARTS[:2]:
            raise UserError(
                f"'{name}' has no {kind} '{patterns[0]}'; it has {', '.join(columns) or 'none'}; another name is given "
                f"as {part}=NAME"
            )
        if matches:
            used.update(matches)
            arrays = [_numbers(name, kind, each, columns[each], part) for each in matches]
            # a pattern makes rows even where it meets one column
            found[part] = arrays[0] if matches[0] in patterns else np.stack(arrays, axis=1)
    recording = recording_of_rows(name, found.pop("observations"), found.pop("actions"), **found)
    if unused := [each for each in columns if each not in used]:
        recording.notes.append(f"not read: {', '.join(unused[:8])}{', ...' if len(unused) > 8 else ''}")
    return recording


def _matching(name: str, kind: str, columns: Mapping[str, np.ndarray], pattern: str) -> list[str]:
    if pattern in columns:
        return [pattern]
    matches = [each for each in columns if fnmatchcase(each, pattern)]
    numbers = [re.search(r"(\d+)\D*$", each) for each in matches]
    if len(matches) < 2 or not all(numbers):
        return matches
    order = sorted((int(number[1]), each) for number, each in zip(numbers, matches, strict=True) if number)
    first = order[0][0]
    for number, (own, each) in enumerate(order, first):
        if own != number or first > 1:
            missing = number if first <= 1 else 0
            raise UserError(
                f"the {kind}s '{pattern}' of '{name}' are numbered, and number {missing} is missing before '{each}'"
            )
    return [each for _, each in order]


def _numbers(name: str, kind: str, column: str, values: np.ndarray, part: str) -> np.ndarray:
    """Columns of words can only tell episodes apart."""
    if values.dtype.kind != "U":
        return values
    if part == "episode":
        return np.unique(values, return_inverse=True)[1]
    words = ((row, word) for row, own in enumerate(values.reshape(len(values), -1)) for word in own)
    first = next(((row, word) for row, word in words if not _is_number(word)), None)
    if first is None:
        return values.astype(np.float64)
    row, wrong = first
    raise UserError(f"{kind} '{column}' of '{name}' has '{wrong}' at row {row}, which is no number")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
