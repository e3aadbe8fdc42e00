"""Finds ``null`` where a class takes something else."""

import types
import typing
from collections.abc import Mapping
from typing import Any

from jsonargparse import Namespace

from iqlightning.cli.signatures import imported, types_of_arguments
from iqlightning.errors import UserError

__all__ = ["refuse_nulls"]

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def refuse_nulls(config: Namespace, classes: Mapping[str, type]) -> None:
    """Refuses ``null`` where a class takes something else: jsonargparse takes it for a value that was not given.

    Args:
        config: what was parsed.
        classes: of the sections that are not chosen by ``class_path``.

    Raises:
        UserError: naming the first such setting.
    """
    for key, value in vars(config).items():
        if key in classes and isinstance(value, Namespace):
            _refuse_nulls_of(classes[key], value, key)
        else:
            _refuse_nulls_in(value, key)


def _refuse_nulls_in(value: Any, key: str) -> None:
    if isinstance(value, list):
        for item in value:
            _refuse_nulls_in(item, key)
    elif isinstance(value, Namespace) and "class_path" in value:
        cls, arguments = imported(value.class_path), value.get("init_args")
        if isinstance(cls, type) and isinstance(arguments, Namespace):
            _refuse_nulls_of(cls, arguments, key)


def _refuse_nulls_of(cls: type, arguments: Namespace, key: str) -> None:
    hints = types_of_arguments(cls)
    for name, value in vars(arguments).items():
        if value is not None:
            _refuse_nulls_in(value, f"{key}.{name}")
        elif name in hints and not _takes_none(hints[name]):
            expected = _WORDS.get(hints[name], str(hints[name]))
            raise UserError(f"{key}.{name} must be {expected}, not null")


def _takes_none(annotation: Any) -> bool:
    if annotation in (None, type(None), Any):
        return True
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return is_union and any(_takes_none(part) for part in typing.get_args(annotation))
