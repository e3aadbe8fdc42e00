"""Inverse soft-Q imitation learning and DQN as a PyTorch Lightning package.

Importing it registers the Gymnasium environments and stays light: torch and Lightning are imported on first use.

>>> import gymnasium, iqlightning
>>> gymnasium.spec("iqlightning/GridWorld-v0").id
'iqlightning/GridWorld-v0'
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from iqlightning.registration import register_environments

if TYPE_CHECKING:
    from iqlightning.checkpoints import load_policy
    from iqlightning.envs.gymnasium import GymnasiumConfig
    from iqlightning.errors import UserError
    from iqlightning.gridworld.config import GridWorldConfig
    from iqlightning.registration import env_config_from_dict
    from iqlightning.types import EnvConfig, Trajectories, Transition

__version__ = "0.1.0"

__all__ = [
    "EnvConfig",
    "GridWorldConfig",
    "GymnasiumConfig",
    "Trajectories",
    "Transition",
    "UserError",
    "__version__",
    "env_config_from_dict",
    "load_policy",
]

_LAZY = {
    "EnvConfig": "iqlightning.types",
    "GridWorldConfig": "iqlightning.gridworld.config",
    "GymnasiumConfig": "iqlightning.envs.gymnasium",
    "Trajectories": "iqlightning.types",
    "Transition": "iqlightning.types",
    "UserError": "iqlightning.errors",
    "env_config_from_dict": "iqlightning.registration",
    "load_policy": "iqlightning.checkpoints",
}

register_environments()


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
