"""Who plays: what ``--policy`` names, and in which environment."""

from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from iqlightning.checkpoints import load_policy
from iqlightning.cli.gridworld_options import changed_environment
from iqlightning.cli.recordings import named_environment
from iqlightning.cli.time_limit import limited
from iqlightning.data.own_policies import own_policy
from iqlightning.data.stable_baselines import StableBaselinesPolicy
from iqlightning.errors import UserError, error_text
from iqlightning.evaluation.reference_policies import RandomPolicy
from iqlightning.registration import is_trusted, may_be_own
from iqlightning.types import EnvConfig, Expert, Policy

__all__ = ["NAMED", "expert_of", "player"]

#: Players that need no file and no code.
NAMED = ("expert", "random")


def player(given: Any, device: torch.device) -> tuple[Policy | None, str, EnvConfig]:
    """Who plays (None: the expert, which is not played but planned), what to call it, and where.

    Args:
        given: the parsed options of ``collect``.
        device: where a policy plays.

    Raises:
        UserError: if there is no such player, it may not be run, or it says nothing of where to play.
    """
    named = named_environment(given)

    def changed(env: EnvConfig | None) -> EnvConfig:
        return limited(changed_environment(env, given), given)

    if given.policy == "expert":
        env = changed(named)
        return None, expert_of(env).label, env
    if given.policy == "random":
        env = changed(named)
        return RandomPolicy(env.spaces, given.seed), "random policy", env
    module, colon, name = given.policy.partition(":")
    if colon and not Path(given.policy).exists():
        env = changed(named)
        own = own_policy(_named_object(module, name), env, given.policy)
        if given.temperature is not None:
            raise UserError(
                f"--temperature is for a checkpoint's actions, and --policy is '{given.policy}': leave it out"
            )
        if given.sample and not getattr(own, "draws", True):
            raise UserError(f"--sample says nothing to a function, and '{given.policy}' is one: leave it out")
        return own, given.policy, env
    if given.policy.endswith(".zip"):
        model = _stable_baselines(given, named, device)
        return model, f"{model.label} ({given.policy})", changed(named)
    if not Path(given.policy).exists() and not given.policy.endswith(".ckpt"):
        valid = ", ".join(NAMED)
        raise UserError(f"there is no policy '{given.policy}'; valid: {valid}, a checkpoint, MODEL.zip, MODULE:NAME")
    policy = load_policy(given.policy, device=device)
    if given.temperature is not None:
        policy.value.temperature = given.temperature
    env = named or policy.env
    if env is None:
        raise UserError(f"'{given.policy}' does not say which environment it is for: name one with --gym")
    return policy, f"{policy.info.get('algorithm', 'checkpoint')} ({given.policy})", changed(env)


def expert_of(env: EnvConfig) -> Expert:
    """The environment's own expert.

    Raises:
        UserError: if it has none.
    """
    if env.expert is None:
        raise UserError(f"'{env.name}' has no expert of its own: choose --policy random, a checkpoint or MODULE:NAME")
    return env.expert


def _stable_baselines(given: Any, env: EnvConfig | None, device: torch.device) -> StableBaselinesPolicy:
    if not Path(given.policy).is_file():
        raise UserError(f"there is no file '{given.policy}'")
    if not is_trusted("stable_baselines3"):
        raise UserError(
            f"'{given.policy}' would be read as a model of Stable-Baselines3, whose files hold pickled parts that can "
            "run anything: if you trust where it comes from, say so with --trust stable_baselines3"
        )
    if env is None:
        raise UserError(f"'{given.policy}' does not say which environment it is for: name it with --gym ID")
    return StableBaselinesPolicy(given.policy, env, given.sb3, device)


def _named_object(module: str, name: str) -> Any:
    """``NAME``, which may have dots, of a trusted module."""
    if not is_trusted(module):
        if not may_be_own(module.partition(".")[0]):
            raise UserError(f"'{module}:{name}' is no function of a package of your own, and is not run")
        raise UserError(
            f"'{module}:{name}' is code to run: if you trust it, say so with --trust {module.partition('.')[0]}"
        )
    try:
        return reduce(getattr, name.split("."), import_module(module))
    except ModuleNotFoundError as error:
        raise UserError(f"cannot import '{module}': {error}") from error
    except AttributeError as error:
        raise UserError(f"'{module}' has no function '{name}'") from error
    except Exception as error:
        raise UserError(f"cannot import '{module}': {error_text(error)}") from error
