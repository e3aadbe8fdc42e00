"""Objects that know the arguments they were built with; as plain data for files, and built again from it.

Plain data are those of YAML: ``{"class_path": "iqlightning.nets.encoders.mlp.MLP", "init_args": {"hidden": [64]}}``.
Reading them imports no module but of this package and of those that ``--trust`` names, and calls nothing but classes
that record their arguments and torch's optimizers: a file from elsewhere cannot choose what code runs.
"""

import inspect
import numbers
import re
from abc import ABCMeta
from collections.abc import Callable, Iterator
from functools import cache, partial
from importlib import import_module
from types import UnionType
from typing import Any, ClassVar, Union, get_args, get_origin, get_type_hints

import torch

from iqlightning.errors import UserError, nearest, unknown
from iqlightning.registration import FAMILIES, current_recipe, may_be_own, module_for

__all__ = [
    "Recorded",
    "RecordsArguments",
    "class_at",
    "descendants",
    "factory_of",
    "from_plain",
    "instance_of",
    "is_complete",
    "plain",
    "plain_factory",
]


class WrongArgumentError(UserError, TypeError):
    """Said in a sentence, and still what Python raises for it."""


class RecordsArguments(ABCMeta):
    """Keeps the arguments of each construction; a metaclass, so that no subclass has to remember to do it.

    Where a class passes ``**settings`` on to its base, the base's arguments count as its own, but for those that it
    names in ``fixed``. An argument annotated as an object that is recorded, or as a factory of one (or of an
    optimizer), may be given in any of the ways of :func:`instance_of` and :func:`factory_of`. Of a class that is
    ``built_later`` (an encoder waits for the shape of observations), a call without any of its required arguments makes
    a factory: ``MLP(hidden=[64])`` is ``partial(MLP, hidden=[64])``.

    In the docstring of a class, ``settings`` gives way to the base's arguments that it stands for, each with its text.
    """

    def __init__(cls: Any, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(name, bases, namespace, **kwargs)
        if cls.__doc__ and _PASSED_ON in cls.__doc__:
            cls.__doc__ = _written_out(cls)

    built_later: bool

    def __call__(cls: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: D102 - of a class this is how it is built
        signature = cls.__signature__
        kwargs = _known(cls, signature, kwargs)
        required = _required(signature)
        later = cls.built_later and not args and bool(required) and not required & kwargs.keys()
        bound = (signature.bind_partial if later else signature.bind)(*args, **kwargs)
        for name, (kind, is_factory) in _kinds(cls).items():
            if name in bound.arguments:
                choose = factory_of if is_factory else instance_of
                bound.arguments[name] = choose(kind, bound.arguments[name], name)
        if later and not inspect.isabstract(cls):
            return partial(cls, **bound.kwargs)
        instance = super().__call__(*bound.args, **bound.kwargs)
        bound.apply_defaults()
        instance.note_arguments(dict(bound.arguments))
        return instance

    @property
    def __signature__(cls) -> inspect.Signature:
        """With every argument written out, for ``inspect``, ``help`` and notebooks."""
        return inspect.Signature(list(_parameters(cls).values()))


_PASSED_ON = "\n        settings: "
_ENTRY = re.compile(r"^        (\w+): .*(?:\n {9,}.*|\n(?=\n {9}))*", re.MULTILINE)


def _written_out(cls: type) -> str:
    """The docstring with every argument of the bases that the class takes."""
    doc = cls.__doc__ or ""
    before, after = doc.split("Args:\n", 1)
    own = {match[1]: match[0] for match in _ENTRY.finditer(after)}
    known: dict[str, str] = {}
    for base in cls.__mro__[1:]:
        _, _, arguments = (base.__doc__ or "").partition("Args:\n")
        for match in _ENTRY.finditer(arguments.partition("\n\n    ")[0]):
            known.setdefault(match[1], match[0])
    wanted = [known[name] for name in _parameters(cls) if name in known and name not in own]
    return f"{before}Args:\n{after.replace(own['settings'], chr(10).join(wanted), 1)}"


@cache
def _kinds(cls: type) -> dict[str, tuple[type, bool]]:
    """By argument, the class of the object that is expected, and whether a factory of it is: where it has one."""
    hints: dict[str, Any] = {}
    for each in reversed(inspect.getmro(cls)):
        if issubclass(each, Recorded) and "__init__" in each.__dict__:
            hints |= get_type_hints(each.__init__)
    found = {name: _kind_in(hint) for name, hint in hints.items()}
    return {name: each for name, each in found.items() if each is not None}


def _kind_in(hint: Any) -> tuple[type, bool] | None:
    if isinstance(hint, type) and isinstance(hint, RecordsArguments) and not hint.built_later:
        return hint, False
    if get_origin(hint) is Callable:
        made = get_args(hint)[-1]
        is_kind = isinstance(made, RecordsArguments) or made is torch.optim.Optimizer
        return (made, True) if is_kind else None
    if get_origin(hint) in (Union, UnionType):
        return next((each for each in map(_kind_in, get_args(hint)) if each is not None), None)
    return None


def _parameters(cls: type, *, fixed_ones: bool = False) -> dict[str, inspect.Parameter]:
    """By name, those of the bases included where a class passes keywords on, on request also what it sets itself."""
    found: dict[str, inspect.Parameter] = {}
    fixed: set[str] = {"self"}
    for each in inspect.getmro(cls):
        if "__init__" not in each.__dict__:
            continue
        own = inspect.signature(each.__dict__["__init__"]).parameters.values()
        for parameter in own:
            if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL) and parameter.name not in fixed:
                # what follows an argument of a base may stand in any order: keywords only
                kind = parameter.kind if each is cls or not found else parameter.KEYWORD_ONLY
                found.setdefault(parameter.name, parameter.replace(kind=kind))
        fixed |= set() if fixed_ones else set(each.__dict__.get("fixed", ()))
        if all(parameter.kind != parameter.VAR_KEYWORD for parameter in own):
            break
    return dict(sorted(found.items(), key=lambda item: item[1].kind))


def _required(signature: inspect.Signature) -> set[str]:
    return {each.name for each in signature.parameters.values() if each.default is each.empty}


def _known(cls: type, signature: inspect.Signature, given: dict[str, Any]) -> dict[str, Any]:
    """What is given, without what a class sets itself where it is left as it is: configurations name it all the same.

    Raises:
        UserError: if there is no argument of that name.
    """
    unknown = given.keys() - signature.parameters.keys()
    if not unknown:
        return given
    names, every = list(signature.parameters), _parameters(cls, fixed_ones=True)
    for name in unknown:
        if name not in every or every[name].default != given[name]:
            near = nearest(name, names)
            hint = "valid: " if near is None else f"did you mean '{near}'? Valid: "
            raise WrongArgumentError(f"{cls.__name__} has no argument '{name}'; {hint}{', '.join(names)}")
    return {name: each for name, each in given.items() if name in signature.parameters}


class Recorded(metaclass=RecordsArguments):
    """An object whose attribute ``arguments`` says how to build it again."""

    arguments: dict[str, Any]

    fixed: ClassVar[tuple[str, ...]] = ()
    """Arguments of the base that this class sets itself."""

    built_later: ClassVar[bool] = False
    """Whether what it needs first is known only when a run begins."""

    when_rebuilt: ClassVar[dict[str, Any]] = {}
    """Arguments that differ when a file is read: its weights replace whatever else would be fetched for them."""

    def note_arguments(self, arguments: dict[str, Any]) -> None:
        """Called once it has been built."""
        self.arguments = arguments


# ---- plain data


def plain(value: Any) -> Any:
    """Primitives, lists and dictionaries only, from which :func:`from_plain` builds the same.

    Of a function nothing but the name is known: it becomes a ``class_path`` without ``init_args``.
    """
    if value is None or isinstance(value, str):
        return value if value is None else str(value)
    number: Any = value
    if isinstance(value, numbers.Real):  # NumPy's among them
        whole = isinstance(value, numbers.Integral)
        return bool(number) if isinstance(value, bool) else int(number) if whole else float(number)
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, Recorded) and hasattr(value, "arguments"):
        return _described(type(value), value.arguments)
    if isinstance(value, type):
        return _described(value, {})
    if isinstance(value, partial):
        if isinstance(value.func, type) and not value.args:
            return _described(value.func, value.keywords)
        # as jsonargparse makes them: a function that is given the class
        made = [each for each in value.args if isinstance(each, type)]
        if made:
            return _described(made[-1], value.keywords)
        value = value.func
    if (as_list := getattr(value, "tolist", None)) is not None:
        return plain(as_list())
    kind = value if hasattr(value, "__qualname__") else type(value)
    return {"class_path": f"{kind.__module__}.{kind.__qualname__}"}


def plain_factory(made: Recorded) -> dict[str, Any]:
    """Plain data of a factory that makes the same, from what another one has made."""
    later = _required(type(made).__signature__)
    given = getattr(made, "arguments", None)
    if given is None:
        return plain(made)
    return _described(type(made), {name: each for name, each in given.items() if name not in later})


def is_complete(value: Any) -> bool:
    """Whether :func:`plain` knew all that it takes to build it again."""
    if isinstance(value, dict):
        return ("class_path" in value) <= ("init_args" in value) and all(map(is_complete, value.values()))
    return all(map(is_complete, value)) if isinstance(value, list) else True


def _described(cls: type, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"class_path": f"{cls.__module__}.{cls.__qualname__}", "init_args": plain(arguments)}


def from_plain(value: Any) -> Any:
    """Inverse of :func:`plain`: objects, and factories of what is built later.

    Raises:
        UserError: if a class is unknown or may not be built, or does not take its arguments.
    """
    if isinstance(value, (list, tuple)):  # files know lists only; the classes are annotated with tuples and sequences
        return tuple(map(from_plain, value))
    if not isinstance(value, dict):
        return value
    if "class_path" not in value:
        return {name: from_plain(each) for name, each in value.items()}
    path = str(value["class_path"])
    path, stored = current_recipe(path, value.get("init_args") or {})
    cls = class_at(path, object)
    arguments = {name: from_plain(each) for name, each in stored.items()}
    if isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer):
        return partial(cls, **arguments)
    if not isinstance(cls, RecordsArguments):
        raise UserError(f"'{path}' is no class that a setting can be of")
    again: dict[str, Any] = getattr(cls, "when_rebuilt", {})
    return cls(**(arguments | again))


def class_at(path: str, kind: type) -> Any:
    """The class of a path, of a module that may be imported or has been.

    Raises:
        UserError: if there is none of this kind.
    """
    module_name, _, class_name = path.rpartition(".")
    try:
        found = getattr(module_for(module_name), class_name, None)
    except ModuleNotFoundError:
        package = module_name.partition(".")[0]
        raise UserError(f"this version of {package} has no module '{module_name}', which '{path}' needs") from None
    if not (isinstance(found, type) and issubclass(found, kind)):
        known, package = "class" if kind is object else kind.__name__, module_name.partition(".")[0]
        own = f"; if it is your own, import its module first, or say --trust {package}" if may_be_own(package) else ""
        raise UserError(f"'{path}' is not a known {known}{own}")
    return found


# ---- settings as they are given in Python


def factory_of(kind: type, value: Any, name: str) -> Callable[..., Any] | None:
    """What builds a setting later, however it was given.

    Args:
        kind: class of what is built.
        value: a factory (a class among them), the name of a class, plain data, or None.
        name: of the setting, for sentences.

    Raises:
        UserError: if there is no such class, or it is of another kind.
    """
    if value is None:
        return None
    if isinstance(value, str):
        value = _named(kind, value, name)
    elif isinstance(value, dict) and "class_path" in value:
        path = str(value["class_path"])
        if "." not in path:
            cls = _named(kind, path, name)
            value = value | {"class_path": f"{cls.__module__}.{cls.__qualname__}"}
        value = from_plain(value)
    if isinstance(value, type) and not issubclass(value, kind):
        raise UserError(f"{name} must be of the kind {kind.__name__}, and {value.__name__} is not; {_valid(kind)}")
    if isinstance(value, kind):
        raise UserError(
            f"{name} is a {type(value).__name__} that is built already, and a run builds its own: give the class, its "
            f"name, or a factory such as {type(value).__name__}(...) without what only the run knows"
        )
    if not callable(value):
        raise UserError(f"{name} must be of the kind {kind.__name__}, and {value!r:.60} is not; {_valid(kind)}")
    return value


def instance_of(kind: type, value: Any, name: str) -> Any:
    """A setting, however it was given: as an object, a class or another factory, the name of a class, or plain data.

    Raises:
        UserError: if there is no such class, or it is of another kind.
    """
    if isinstance(value, dict) and "." in str(value.get("class_path", "")):
        value = from_plain(value)
    if value is None or isinstance(value, kind):
        return value
    arguments = from_plain(value.get("init_args") or {}) if isinstance(value, dict) else {}
    if isinstance(value, dict):
        value = value.get("class_path", value)
    made = factory_of(kind, value, name)
    assert made is not None
    result = made(**arguments)
    if not isinstance(result, kind):
        raise UserError(f"{name} must be of the kind {kind.__name__}, not {type(result).__name__}; {_valid(kind)}")
    return result


def descendants(cls: type) -> Iterator[type]:
    """A class and all that inherit from it, the newest of each first: a notebook defines a class again and again."""
    yield cls
    for child in reversed(type.__subclasses__(cls)):
        yield from descendants(child)


def _named(kind: type, name: str, setting: str) -> type:
    if "." in name:
        return class_at(name, kind)
    for package in FAMILIES.get(kind.__name__, ()):
        import_module(package)
    classes = _classes(kind)
    if name not in classes:
        raise unknown(setting, name, sorted(classes))
    return classes[name]


def _classes(kind: type) -> dict[str, type]:
    found: dict[str, type] = {}
    for each in descendants(kind):
        if not (each.__name__.startswith("_") or inspect.isabstract(each) or each is torch.optim.Optimizer):
            found.setdefault(each.__name__, each)
    return found


def _valid(kind: type) -> str:
    return f"valid: {', '.join(sorted(_classes(kind)))}"
