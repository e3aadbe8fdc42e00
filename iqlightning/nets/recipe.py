"""Networks that remember how they were built, so that a checkpoint alone is enough to build them again.

A recipe is plain data: ``{"class_path": "iqlightning.nets.encoders.mlp.MLP", "init_args": {"hidden": [150, 100]}}``.
Reading one imports no module but of this package and of those that ``--trust`` names: any other class must have been
imported by the caller already, so that a file from elsewhere cannot choose what code runs.
"""

from typing import Any, TypedDict

from torch import nn

from iqlightning.errors import UserError
from iqlightning.recorded import Recorded, class_at, plain
from iqlightning.registration import current_recipe

__all__ = ["Recipe", "RecordedModule", "build"]


class Recipe(TypedDict):
    """A class by its import path and the keyword arguments to call it with (primitives and lists of them)."""

    class_path: str
    init_args: dict[str, Any]


class RecordedModule(nn.Module, Recorded):
    """A module whose attribute ``recipe`` says how to build it again (without its weights)."""

    recipe: Recipe

    built_later = True

    def note_arguments(self, arguments: dict[str, Any]) -> None:
        """Makes plain data of them."""
        super().note_arguments(arguments)
        self.recipe = plain(self)


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
    module_class = class_at(path, kind)
    # Files know lists only; the classes are annotated with tuples and sequences.
    arguments = {name: _rebuilt(value) for name, value in stored.items() if name not in given}
    try:
        return module_class(**(arguments | module_class.when_rebuilt | given))
    except TypeError as error:
        raise UserError(f"'{path}' cannot be built from its stored arguments: {error}") from error


def _rebuilt(value: Any) -> Any:
    """Inverse of :func:`~iqlightning.recorded.plain`, but for primitives, which stay."""
    if isinstance(value, dict) and value.keys() == Recipe.__annotations__.keys():
        return build(value, RecordedModule)  # type: ignore[arg-type]
    return tuple(_rebuilt(each) for each in value) if isinstance(value, list) else value
