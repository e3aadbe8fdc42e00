"""Options of the commands that are not training, and how their mistakes are told."""

import argparse
import dataclasses
import difflib
import re
from typing import Any, NoReturn

import torch

from iqlightning.errors import UserError
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.types import EnvConfig

__all__ = [
    "Options",
    "add_gridworld_options",
    "below_one",
    "changed_environment",
    "device_of",
    "fraction",
    "gridworld_changes",
    "natural",
    "positive",
]

_GRIDWORLD = ("level", "height", "width", "num_walls", "wall_density", "random_start", "max_moves", "layout")


class Options(argparse.ArgumentParser):
    """An argument parser that raises :class:`UserError` instead of printing its usage and leaving."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(
            prog=f"iqlightning {command}",
            description=description,
            allow_abbrev=False,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Like its base, but an option that does not exist is met with the nearest one that does."""
        known, unknown = self.parse_known_args(args, namespace)
        if unknown:
            option = unknown[0].partition("=")[0]
            if not option.startswith("-"):
                raise UserError(f"unexpected argument '{option}'; {self.prog} --help lists what there is")
            options = [each for action in self._actions for each in action.option_strings if each.startswith("--")]
            near = difflib.get_close_matches(option, options, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UserError(f"{self.prog} has no option {option}{hint} Valid: {', '.join(options)}")
        return known

    def error(self, message: str) -> NoReturn:
        """One sentence."""
        if found := re.match(r"the following arguments are required: (.*)", message):
            raise UserError(f"{self.prog} needs {found[1]}")
        if found := re.match(r"argument ([^:]+): expected .*argument", message):
            raise UserError(f"{found[1].split('/')[-1]} needs a value after it")
        if found := re.match(r"argument ([^:]+): (.*)", message, re.DOTALL):
            raise UserError(f"{found[1].split('/')[-1]}: {found[2]}")
        raise UserError(message)


def positive(text: str) -> int:
    """A whole number from 1."""
    return _whole(text, 1)


def natural(text: str) -> int:
    """A whole number from 0."""
    return _whole(text, 0)


def _whole(text: str, lowest: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = lowest - 1
    if number < lowest:
        raise argparse.ArgumentTypeError(f"must be a whole number from {lowest}, not '{text}'")
    return number


def fraction(text: str) -> float:
    """A number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0.0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, not '{text}'")
    return number


def below_one(text: str) -> float:
    """A number from 0 on and below 1."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0.0 <= number < 1.0:
        raise argparse.ArgumentTypeError(f"must be a number from 0 on and below 1, not '{text}'")
    return number


def add_gridworld_options(options: argparse.ArgumentParser, instead_of: str) -> None:
    """Adds ``--level``, ``--height`` and so on; what is not given stays as it was.

    Args:
        options: to add to.
        instead_of: what the defaults are, for the help.
    """
    group = options.add_argument_group("GridWorld", f"what is not given is {instead_of}")
    nothing: dict[str, Any] = {"default": argparse.SUPPRESS}
    group.add_argument("--level", help="static, random_walls, random_goal or random_everything", **nothing)
    group.add_argument("--height", type=int, help="rows", **nothing)
    group.add_argument("--width", type=int, help="columns", **nothing)
    group.add_argument("--num_walls", type=int, help="walls of a grid", **nothing)
    group.add_argument(
        "--wall_density", type=float, help="share of cells that are walls, instead of a number", **nothing
    )
    group.add_argument(
        "--random_start", action=argparse.BooleanOptionalAction, help="or the top-left corner", **nothing
    )
    group.add_argument("--layout", help="random, maze or rooms", **nothing)
    group.add_argument("--max_moves", type=int, help="moves before an episode is cut off", **nothing)


def gridworld_changes(options: argparse.Namespace) -> dict[str, Any]:
    """The GridWorld options that were given, by their names."""
    return {name: getattr(options, name) for name in _GRIDWORLD if hasattr(options, name)}


def changed_environment(env: EnvConfig, options: argparse.Namespace) -> EnvConfig:
    """The environment with the GridWorld options that were given.

    Raises:
        UserError: if there are any and it is no GridWorld, or if the result is impossible.
    """
    changes = gridworld_changes(options)
    if not changes:
        return env
    if not isinstance(env, GridWorldConfig):
        raise UserError(f"--{next(iter(changes))} is for GridWorld only, and this environment is '{env.name}'")
    if "height" in changes or "width" in changes:
        changes |= {"min_size": None, "max_size": None}  # a size that is asked for is the only one
    if changes.get("layout", "random") != "random":
        changes |= {"num_walls": None, "wall_density": None} | changes  # a family has walls of its own
    elif "num_walls" in changes or "wall_density" in changes:
        changes["layout"] = "random"
    # the two exclude each other, and the one given replaces the other
    if "wall_density" in changes:
        changes.setdefault("num_walls", None)
    elif "num_walls" in changes:
        changes.setdefault("wall_density", None)
    return dataclasses.replace(env, **changes)


def device_of(name: str) -> torch.device:
    """The device called so; ``auto`` is the first GPU if there is one.

    Raises:
        UserError: if there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
        raise UserError(f"there is no device '{name}'; valid: {', '.join(['auto', 'cpu', *gpus])}") from error
    return device
