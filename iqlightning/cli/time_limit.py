"""The option that sets the time limit of an environment."""

import argparse
import dataclasses

from iqlightning.cli.options import Options, positive
from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.errors import UserError
from iqlightning.types import EnvConfig

__all__ = ["add_time_limit", "limited"]


def add_time_limit(options: Options) -> None:
    """Adds ``--max_episode_steps``."""
    options.add_argument(
        "--max_episode_steps",
        metavar="N",
        type=positive,
        default=None,
        help="cut episodes of a Gymnasium environment off after so many steps; None: its own time limit",
    )


def limited(env: EnvConfig, given: argparse.Namespace) -> EnvConfig:
    """The environment with the time limit that was given, if any.

    Raises:
        UserError: if it is none of Gymnasium's.
    """
    if given.max_episode_steps is None:
        return env
    if not isinstance(env, GymnasiumConfig):
        raise UserError(
            f"--max_episode_steps is for environments of Gymnasium, not '{env.name}'; GridWorld's is --max_moves"
        )
    return dataclasses.replace(env, max_episode_steps=given.max_episode_steps)
