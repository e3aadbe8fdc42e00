"""Recordings in tables, one row for each transition: CSV, and Parquet (the optional extra ``parquet``).

Columns are ``episode``, ``obs_*``, ``action_*`` (or a single ``action``), ``reward``, ``terminated``, ``truncated``
and, where it is known, ``next_obs_*``. A column of Parquet may hold lists of one length.
"""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from iqlightning.data.named_columns import recording_of_columns
from iqlightning.data.recording import Recording
from iqlightning.errors import UserError

__all__ = ["read_csv", "read_parquet"]

_USUAL = {
    "observations": ("obs_*", "obs"),
    "actions": ("action_*", "action"),
    "next_observations": ("next_obs_*", "next_obs"),
    "rewards": ("reward",),
    "episode_starts": (),
    "episode_ends": (),
}


def read_csv(path: str | Path, names: Mapping[str, str] | None = None) -> Recording:
    """The rows of a text file with a line of names, separated by commas, semicolons or tabs.

    Args:
        path: the file, in UTF-8.
        names: of columns, as in :func:`~iqlightning.data.named_columns.recording_of_columns`.

    Raises:
        UserError: if the file is missing or no such table; if its columns do not make a recording.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            head = file.readline()
            file.seek(0)
            separator = max(",;\t", key=head.count)
            header, *rows = [row for row in csv.reader(file, delimiter=separator, strict=True) if row] or [[]]
    except FileNotFoundError as error:
        raise UserError(f"there is no file '{path}'") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"'{path}' cannot be read as a table of text (CSV): {error}") from error
    header = [each.strip() for each in header]
    if twice := [each for number, each in enumerate(header) if each in header[:number]]:
        raise UserError(f"'{path}' has more than one column '{twice[0]}'")
    for number, row in enumerate(rows):
        if len(row) != len(header):
            raise UserError(
                f"row {number} of '{path}' has {len(row)} cells, and its first line names {len(header)} columns"
            )
    columns = [_parsed([cell.strip() for cell in column]) for column in zip(*rows, strict=True)]
    if not columns:
        raise UserError(f"'{path}' holds no transition: it has no row of numbers below a line of names")
    return recording_of_columns(str(path), dict(zip(header, columns, strict=True)), _USUAL, names)


def read_parquet(path: str | Path, names: Mapping[str, str] | None = None) -> Recording:
    """The rows of a Parquet file.

    Args:
        path: the file.
        names: of columns, as in :func:`~iqlightning.data.named_columns.recording_of_columns`.

    Raises:
        UserError: as :func:`read_csv`; if PyArrow is not installed.
    """
    try:
        import pyarrow  # pyright: ignore[reportMissingImports]
        import pyarrow.parquet  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UserError(
            f"Parquet files need the extra parquet: pip install 'iqlightning[parquet]' ({error})"
        ) from error
    try:
        table = pyarrow.parquet.ParquetFile(path).read()
    except FileNotFoundError as error:
        raise UserError(f"there is no file '{path}'") from error
    except (OSError, pyarrow.ArrowException, ValueError) as error:
        raise UserError(f"'{path}' is not a Parquet file that can be read: {error}") from error
    columns = {}
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        kind = column.type
        if pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind) or pyarrow.types.is_fixed_size_list(kind):
            lengths = set(column.value_lengths().to_pylist()) if len(column) else {1}
            if len(lengths) == 1 and None not in lengths:
                columns[name] = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
        elif pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind):
            columns[name] = np.array([str(each) for each in column.to_pylist()])
        elif not pyarrow.types.is_nested(kind):
            columns[name] = column.to_numpy(zero_copy_only=False)
    return recording_of_columns(str(path), columns, _USUAL, names)


def _parsed(cells: list[str]) -> np.ndarray:
    """Whole numbers, numbers, truths, or words where they are none of these."""
    truths = {"true": True, "false": False}
    for kind in (int, float, lambda cell: truths[cell.lower()]):
        try:
            return np.array([kind(cell) for cell in cells])
        except (ValueError, KeyError, OverflowError):
            continue
    return np.array(cells)
