"""Options of GridWorld, which the commands that play environments share."""

import argparse
import dataclasses
from typing import Any

from iqlightning.errors import UserError
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.types import EnvConfig

__all__ = ["add_gridworld_options", "changed_environment", "gridworld_changes", "require_gridworld"]

_NAMES = ("level", "height", "width", "num_walls", "wall_density", "random_start", "max_moves", "layout")


def add_gridworld_options(options: argparse.ArgumentParser, instead_of: str) -> None:
    """Adds ``--level``, ``--height`` and so on; what is not given stays as it was."""
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
    return {name: getattr(options, name) for name in _NAMES if hasattr(options, name)}


def require_gridworld(env: EnvConfig, sentence: str) -> GridWorldConfig:
    """The environment, if it is a GridWorld.

    Raises:
        UserError: the sentence, if it is none.
    """
    if not isinstance(env, GridWorldConfig):
        raise UserError(sentence)
    return env


def changed_environment(env: EnvConfig | None, options: argparse.Namespace) -> EnvConfig:
    """The environment, by default GridWorld's own, with the GridWorld options that were given.

    Raises:
        UserError: if there are any and it is no GridWorld, or if the result is impossible.
    """
    env = GridWorldConfig() if env is None else env
    changes = gridworld_changes(options)
    if not changes:
        return env
    only = f"--{next(iter(changes))} is for GridWorld only, and this environment is '{env.name}'"
    grid = require_gridworld(env, only)
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
    return dataclasses.replace(grid, **changes)
