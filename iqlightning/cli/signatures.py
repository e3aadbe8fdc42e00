"""What the classes that a configuration can name look like: which there are, and what they take."""

import inspect
import sys
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from jsonargparse import Namespace

from iqlightning.errors import UserError
from iqlightning.recorded import descendants

__all__ = [
    "classes_for",
    "defaults_of",
    "imported",
    "names_of_arguments",
    "refuse_null_values",
    "types_of_arguments",
]

_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def classes_for(annotation: Any) -> dict[str, type]:
    """Short name to class of everything that a configuration can name where ``annotation`` is expected.

    Classes of this package alone if there are any, otherwise all that have been imported.
    """
    classes: dict[str, type] = {}
    for base in _bases(annotation):
        for each in descendants(base):
            hidden = each.__name__.startswith("_") or "<locals>" in each.__qualname__
            if not (hidden or inspect.isabstract(each) or each.__module__.startswith("iqlightning.cli.")):
                classes.setdefault(each.__name__, each)
    ours = {name: each for name, each in classes.items() if each.__module__.startswith("iqlightning.")}
    return ours or classes


def names_of_arguments(cls: Any) -> list[str]:
    """Names of the arguments of a class, those of its bases included where it passes them on."""
    names: list[str] = []
    for each in inspect.getmro(cls) if isinstance(cls, type) else [cls]:
        function = each.__dict__.get("__init__") if isinstance(each, type) else each
        if function is None:
            continue
        parameters = list(inspect.signature(function).parameters.values())
        names += [each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
        if all(each.kind != each.VAR_KEYWORD for each in parameters):
            break
    return [name for name in dict.fromkeys(names) if name != "self"]


def defaults_of(cls: Any) -> dict[str, Any]:
    """Argument to default, of those that have one."""
    if cls is None:
        return {}
    parameters = inspect.signature(cls).parameters.values()
    return {each.name: each.default for each in parameters if each.default is not each.empty}


def types_of_arguments(cls: type) -> dict[str, Any]:
    """Argument to type, those of its bases included; nothing where the types cannot be resolved."""
    hints: dict[str, Any] = {}
    try:
        if hasattr(cls, "__dataclass_fields__"):
            return typing.get_type_hints(cls)
        for each in reversed(inspect.getmro(cls)):
            if "__init__" in each.__dict__ and each is not object:
                hints |= typing.get_type_hints(each.__init__)
    except (NameError, TypeError):
        return {}
    return {name: hint for name, hint in hints.items() if name in names_of_arguments(cls)}


def imported(path: str) -> Any:
    """A class that was named, from what has been imported already."""
    module, _, name = path.rpartition(".")
    return getattr(sys.modules.get(module), name, None)


def _bases(annotation: Any) -> Iterable[type]:
    """Classes inside a type hint; of a factory, those that it returns."""
    if isinstance(annotation, type) and not typing.get_args(annotation):
        if annotation not in (type(None), str, int, float, bool, object, list, dict, tuple):
            yield annotation
        return
    for part in typing.get_args(annotation):
        # the arguments of a Callable come as a list, which is skipped: only what it returns can be named
        if not isinstance(part, list):
            yield from _bases(part)


def refuse_null_values(config: Namespace, classes: Mapping[str, type]) -> None:
    """Refuses ``null`` where a class takes something else: jsonargparse takes it for a value that was not given.

    Raises:
        UserError: naming the first such setting.
    """
    for key, value in vars(config).items():
        if key in classes and isinstance(value, Namespace):
            _refuse_null_values_of(classes[key], value, key)
        else:
            _refuse_null_values_in(value, key)


def _refuse_null_values_in(value: Any, key: str) -> None:
    if isinstance(value, list):
        for item in value:
            _refuse_null_values_in(item, key)
    elif isinstance(value, Namespace) and "class_path" in value:
        cls, arguments = imported(value.class_path), value.get("init_args")
        if isinstance(cls, type) and isinstance(arguments, Namespace):
            _refuse_null_values_of(cls, arguments, key)


def _refuse_null_values_of(cls: type, arguments: Namespace, key: str) -> None:
    hints = types_of_arguments(cls)
    for name, value in vars(arguments).items():
        if value is not None:
            _refuse_null_values_in(value, f"{key}.{name}")
        elif name in hints and not _takes_none(hints[name]):
            expected = _KINDS.get(hints[name], str(hints[name]))
            raise UserError(f"{key}.{name} must be {expected}, not null")


def _takes_none(annotation: Any) -> bool:
    if annotation in (None, type(None), Any):
        return True
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return is_union and any(_takes_none(part) for part in typing.get_args(annotation))
