"""What a configuration may name: classes, and only of packages that cannot be talked into running something else.

A configuration file can come from anywhere, and naming a class in it means importing and calling that class.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pkgutil import walk_packages

from jsonargparse import set_parsing_settings

from iqlightning.errors import UserError, error_text
from iqlightning.registration import TRUSTED

__all__ = ["FAMILIES", "import_families", "import_trusted", "limit_what_configurations_may_name", "take_trusted"]

_ALLOWED = (
    "iqlightning",
    "lightning.Callback",
    "lightning.LightningDataModule",
    "lightning.LightningModule",
    "lightning.fabric.plugins",
    "lightning.fabric.strategies",
    "lightning.pytorch.Callback",
    "lightning.pytorch.LightningDataModule",
    "lightning.pytorch.LightningModule",
    "lightning.pytorch.accelerators",
    "lightning.pytorch.callbacks",
    "lightning.pytorch.core",
    "lightning.pytorch.loggers",
    "lightning.pytorch.plugins",
    "lightning.pytorch.profilers",
    "lightning.pytorch.strategies",
    "torch.nn",
    "torch.optim",
    "torchvision.models",
)

# allowed packages hold a few things that load files or run what they are given
_DENIED = (
    "*",
    "iqlightning.analysis",
    "iqlightning.checkpoint_files",
    "iqlightning.cli",
    "iqlightning.data.arrays",
    "iqlightning.data.collect",
    "iqlightning.data.demonstrations",
    "iqlightning.data.from_arrays",
    "iqlightning.data.minari",
    "iqlightning.data.own_policies",
    "iqlightning.data.readers",
    "iqlightning.data.stable_baselines",
    "iqlightning.from_arrays",
    "iqlightning.gridworld.page",
    "iqlightning.load_demonstrations",
    "lightning.pytorch.callbacks.lambda_function",
    "lightning.pytorch.callbacks.LambdaCallback",
    "lightning.pytorch.plugins.io.AsyncCheckpointIO",
    "lightning.fabric.plugins.io.xla",
    "torchvision.models.get_model",
    "torchvision.models.get_weight",
    "torch.nn.modules.lazy",
    "torch.nn.utils",
    "torch.nn.parallel",
)


#: Whatever is in these packages can be named in a configuration by its class name alone.
FAMILIES = (
    "agents",
    "algorithms",
    "callbacks",
    "data",
    "envs",
    "losses",
    "nets",
    "gridworld.callbacks",
    "gridworld.encoders",
)


def take_trusted(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Splits ``--trust PACKAGE`` (any number of times) off the arguments, and adds those of IQLIGHTNING_TRUST.

    Returns:
        The other arguments, and the trusted packages.
    """
    rest: list[str] = []
    trusted = [each.strip() for each in os.environ.get("IQLIGHTNING_TRUST", "").split(",") if each.strip()]
    words = iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if name != "--trust":
            rest.append(word)
            continue
        value = value if equals else next(words, "")
        if not value or value.startswith("-"):
            raise UserError("--trust needs the name of a package after it")
        trusted += value.split(",")
    for package in trusted:
        first = package.partition(".")[0]
        own = first != "jsonargparse" and first not in sys.stdlib_module_names
        if not own or not all(part.isidentifier() for part in package.split(".")):
            raise UserError(f"'{package}' cannot be trusted: give the name of a package of your own, like my_package")
    return rest, trusted


# Packages that may be trusted and are extras of this one.
_EXTRAS = {"stable_baselines3": "sb3"}

_trusted_before: set[str] = set()


def limit_what_configurations_may_name(trusted: Sequence[str] = ()) -> None:
    """Sets jsonargparse's rules for this process; trust in a package ends where it is not given again."""
    forgotten = _trusted_before.difference(trusted, _ALLOWED)
    _trusted_before.update(trusted)
    set_parsing_settings(
        import_path_denylist=[*_DENIED, *forgotten],
        import_path_allowlist=[*_ALLOWED, *trusted],
        instantiate_subclass_spec_in_any=False,
        config_read_mode_fsspec_enabled=False,
    )


def import_trusted(trusted: Sequence[str]) -> None:
    """Imports what is trusted; files may name its classes from now on, and those of no other package.

    Raises:
        UserError: if there is no such package.
    """
    TRUSTED.clear()
    TRUSTED.update(trusted)
    sys.path.insert(0, "")  # as with `python -m`, modules in the working directory count
    try:
        for package in trusted:
            try:
                import_module(package)
            except ModuleNotFoundError as error:
                missing = f"{str(error)[0].lower()}{str(error)[1:]}"
                extra = f": pip install 'iqlightning[{_EXTRAS[package]}]'" if package in _EXTRAS else ""
                raise UserError(f"--trust names '{package}', but there is {missing}{extra}") from error
            except Exception as error:
                raise UserError(f"--trust names '{package}', which cannot be imported: {error_text(error)}") from error
    finally:
        sys.path.remove("")


# Packages without which a module of ours stays unknown.
_OF_EXTRAS = frozenset({"minigrid"})


def import_families(trusted: Sequence[str]) -> None:
    """Makes every class known that a configuration can name."""
    import_trusted(trusted)
    for family in FAMILIES:
        package = import_module(f"iqlightning.{family}")
        for module in walk_packages(package.__path__, f"{package.__name__}."):
            try:
                import_module(module.name)
            except ModuleNotFoundError as error:
                # what belongs to an extra is known where that is installed
                if error.name is None or error.name.partition(".")[0] not in _OF_EXTRAS:
                    raise
