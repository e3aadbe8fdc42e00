"""Which environments there are: for Gymnasium by id, for files and checkpoints by kind; imports nothing heavy.

It also says what has taken the place of the classes whose old names stand in stored checkpoints.
"""

import re
import sys
from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module, metadata
from types import ModuleType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

import gymnasium

from iqlightning.errors import UserError, unknown

if TYPE_CHECKING:
    from iqlightning.types import EnvConfig

__all__ = [
    "FAMILIES",
    "KINDS",
    "KIND_OF_ID",
    "MOVED_MODULES",
    "TRUSTED",
    "current_recipe",
    "env_config_from_dict",
    "env_config_of_gymnasium",
    "is_trusted",
    "may_be_own",
    "may_import",
    "module_for",
    "register_environments",
]

#: Packages whose modules may be imported because a file names a class of theirs: those of ``--trust``.
TRUSTED: set[str] = set()

#: Kind of an :class:`EnvConfig` of this package (its class name) to the module that defines it; the kind of any
#: other is the path of its class.
KINDS: dict[str, str] = {
    "GridWorldConfig": "iqlightning.gridworld.config",
    "GymnasiumConfig": "iqlightning.envs.gymnasium",
}


#: Gymnasium's id of an environment of ours to its kind, which is made by ``from_gymnasium``.
KIND_OF_ID: dict[str, str] = {"iqlightning/GridWorld-v0": "GridWorldConfig"}


#: By kind, where the classes are that may be called by their names alone without having been imported.
FAMILIES: dict[str, tuple[str, ...]] = {
    "Agent": ("iqlightning.agents.soft_q", "iqlightning.agents.soft_actor_critic"),
    "Encoder": ("iqlightning.nets.encoders", "iqlightning.gridworld.encoders"),
}


#: Modules by the names that older checkpoints know, to where their classes are now.
MOVED_MODULES: dict[str, str] = {
    f"iqlightning.nets.encoders.{name}": f"iqlightning.gridworld.encoders.{name}"
    for name in (
        "cell_attention",
        "centred_cnn",
        "grid_cnn",
        "hierarchical_planner",
        "log_planner",
        "recurrent_planner",
        "residual_cnn",
        "value_iteration",
    )
}


#: Colours of floor, wall, player and goal when ``TorchvisionBackbone`` drew grids itself.
_FORMER_COLOURS = ((0.95, 0.95, 0.93), (0.22, 0.24, 0.28), (0.85, 0.20, 0.20), (0.96, 0.80, 0.20))


def current_recipe(class_path: str, arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The class and the arguments that build today what a stored recipe built when it was written."""
    module, _, name = class_path.rpartition(".")
    class_path = f"{MOVED_MODULES.get(module, module)}.{name}"
    if class_path == "iqlightning.nets.encoders.torchvision_backbone.TorchvisionBackbone" and "rendered" in arguments:
        arguments = dict(arguments)
        if arguments.pop("rendered"):
            path = "iqlightning.gridworld.encoders.rendered_backbone.RenderedBackbone"
            return path, arguments | {"colours": _FORMER_COLOURS}
        arguments.pop("cell_pixels", None)
    return class_path, arguments


def may_import(module: str) -> bool:
    """Whether a file may have this module imported: it is trusted, of this package, or imported already."""
    ours = module.partition(".")[0] == __name__.partition(".")[0]
    return ours or module in sys.modules or is_trusted(module)


def is_trusted(module: str) -> bool:
    """Whether the module, or a package around it, is named by ``--trust``."""
    return any(f"{module}.".startswith(f"{package}.") for package in TRUSTED)


def module_for(name: str) -> ModuleType | None:
    """The module that a file names: of this package, of a trusted one, or imported already; None for any other.

    Raises:
        ModuleNotFoundError: if a package that may be imported has no such module.
    """
    return (sys.modules.get(name) or import_module(name)) if may_import(name) else None


def may_be_own(package: str) -> bool:
    """Whether a package can be one of the user's own, and not of Python, of this one or of what this one needs."""
    ours = __name__.partition(".")[0]
    if package in sys.stdlib_module_names or package == ours or not package.isidentifier():
        return False
    try:
        needed = {re.split(r"[^\w.-]", each, maxsplit=1)[0].lower() for each in metadata.requires(ours) or ()}
    except metadata.PackageNotFoundError:
        needed = set()
    made_by = {each.lower() for each in metadata.packages_distributions().get(package, ())}
    return not made_by & needed


def register_environments() -> None:
    """Tells Gymnasium of the package's own environments, by name: nothing is imported before it is used."""
    gymnasium.register(
        id="iqlightning/GridWorld-v0",
        entry_point="iqlightning.gridworld.game.env:GridWorldEnv",
        vector_entry_point="iqlightning.gridworld.game.vector_env:GridWorldVectorEnv",
    )


def env_config_from_dict(values: Any) -> "EnvConfig":
    """Inverse of :meth:`EnvConfig.to_dict`.

    Raises:
        UserError: if there is no such kind, or the values do not make an environment of it.
    """
    if not isinstance(values, dict):
        raise UserError(f"an environment is described by a dictionary with a 'kind', not by {type(values).__name__}")
    config = _class_of(kind := str(values.get("kind")))
    if config is None:
        root, dot, _ = kind.partition(".")
        if dot and may_be_own(root) and kind.replace(".", "").isidentifier():
            own = f"if it is your own, import its module first, or say --trust {root}"
            raise UserError(f"'{kind}' is not a known kind of environment; {own}")
        raise unknown("kind of environment", kind, KINDS)
    values = config.of_earlier(values)
    hints = get_type_hints(config)
    for name in (field.name for field in fields(config)):
        if name in values and not _is_a(values[name], hints[name]):
            raise UserError(f"not a description of a {kind}: {name} is {values[name]!r:.40}")
    try:
        return config(**{name: value for name, value in values.items() if name != "kind"})
    except TypeError as error:
        raise UserError(f"not a description of a {kind}: {error}") from error


def env_config_of_gymnasium(env_id: str, kwargs: Mapping[str, Any]) -> "EnvConfig":
    """The environment that Gymnasium makes by this id and these arguments.

    Raises:
        UserError: if one of ours has no such arguments; of others this is seen when they are made.
    """
    kind = KIND_OF_ID.get(env_id, "GymnasiumConfig")
    config = getattr(import_module(KINDS[kind]), kind)
    if env_id not in KIND_OF_ID:  # how its author looked at it does not matter
        return config(env_id, {name: value for name, value in kwargs.items() if name != "render_mode"})
    try:
        return config.from_gymnasium(kwargs)
    except TypeError as error:
        raise UserError(f"not the arguments of '{env_id}': {error}") from error


def _class_of(kind: str) -> Any:
    """The environment's class: of this package by its name, of another one by its path."""
    module, _, name = (f"{KINDS[kind]}.{kind}" if kind in KINDS else kind).rpartition(".")
    try:
        config = getattr(module_for(module), name, None)
    except ModuleNotFoundError:
        return None
    base = import_module("iqlightning.types").EnvConfig
    return config if isinstance(config, type) and issubclass(config, base) else None


def _is_a(value: Any, expected: Any) -> bool:
    """Whether a value read from a file has the type of a field: primitives, unions of them, and dictionaries."""
    origin = get_origin(expected)
    if origin is Literal:
        return value in get_args(expected)
    if origin in (Union, UnionType):
        return any(_is_a(value, each) for each in get_args(expected))
    kind = origin or expected
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (float, int) if kind is float else kind)
