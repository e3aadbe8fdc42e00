"""Environments. Importing this registers them with Gymnasium; torch is imported only when one of the names is used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from iqlightning.envs.registration import env_config_from_dict, register_environments

if TYPE_CHECKING:
    from iqlightning.envs.gridworld.spec import GridWorldConfig
    from iqlightning.envs.gymnasium import GymnasiumConfig

__all__ = ["GridWorldConfig", "GymnasiumConfig", "env_config_from_dict"]

_LAZY = {"GridWorldConfig": "iqlightning.envs.gridworld.spec", "GymnasiumConfig": "iqlightning.envs.gymnasium"}

register_environments()


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
