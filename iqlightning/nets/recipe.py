"""Networks that remember how they were built, so that a checkpoint alone is enough to build them again.

A recipe is plain data: ``{"class_path": "iqlightning.nets.encoders.mlp.MLP", "init_args": {"hidden": [150, 100]}}``.
Reading one imports no module but of this package and of those that ``--trust`` names: any other class must have been
imported by the caller already, so that a file from elsewhere cannot choose what code runs.
"""

import inspect
from abc import ABCMeta
from typing import Any, ClassVar, TypedDict

from torch import nn

from iqlightning.errors import UserError
from iqlightning.registration import current_recipe, module_for

__all__ = ["Recipe", "RecordedModule", "build"]


class Recipe(TypedDict):
    """A class by its import path and the keyword arguments to call it with (primitives and lists of them)."""

    class_path: str
    init_args: dict[str, Any]


class _RecordsArguments(ABCMeta):
    """Keeps the arguments of each construction; a metaclass, so that no subclass has to remember to do it."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        instance = super().__call__(*args, **kwargs)
        bound = inspect.signature(cls.__init__).bind(instance, *args, **kwargs)
        bound.apply_defaults()
        given = dict(list(bound.arguments.items())[1:])
        instance.recipe = Recipe(
            class_path=f"{cls.__module__}.{cls.__qualname__}",
            init_args={name: list(value) if isinstance(value, tuple) else value for name, value in given.items()},
        )
        return instance


class RecordedModule(nn.Module, metaclass=_RecordsArguments):
    """A module whose attribute ``recipe`` says how to build it again (without its weights)."""

    recipe: Recipe

    when_rebuilt: ClassVar[dict[str, Any]] = {}
    """Arguments that differ when a file is read: its weights replace whatever else would be fetched for them."""


def build(recipe: Recipe, kind: type[RecordedModule], **given: Any) -> Any:
    """Builds the module of a recipe, its weights fresh.

    Args:
        recipe: class path and arguments.
        kind: the class that the result must be an instance of.
        given: arguments that take precedence over the recipe's.

    Raises:
        UserError: if the class is unknown, of another kind, or does not take the arguments.
    """
    path, stored = current_recipe(str(recipe["class_path"]), recipe["init_args"])
    module_name, _, class_name = path.rpartition(".")
    try:
        module_class = getattr(module_for(module_name), class_name, None)
    except ModuleNotFoundError:
        package = module_name.partition(".")[0]
        raise UserError(f"this version of {package} has no module '{module_name}', which '{path}' needs") from None
    if not (isinstance(module_class, type) and issubclass(module_class, kind)):
        raise UserError(
            f"'{path}' is not a known {kind.__name__}; if it is your own, import its module first, or say --trust "
            f"{module_name.partition('.')[0]}"
        )
    # Files know lists only; the classes are annotated with tuples and sequences.
    arguments = {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}
    try:
        return module_class(**(arguments | module_class.when_rebuilt | given))
    except TypeError as error:
        raise UserError(f"'{path}' cannot be built from its stored arguments: {error}") from error
