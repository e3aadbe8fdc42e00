"""Inverse soft-Q imitation learning and DQN as a PyTorch Lightning package.

Importing it registers the Gymnasium environments and stays light: torch and Lightning are imported on first use.

>>> import gymnasium, iqlightning
>>> gymnasium.spec("iqlightning/GridWorld-v0").id
'iqlightning/GridWorld-v0'
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from iqlightning import envs as envs  # registers the environments

if TYPE_CHECKING:
    from iqlightning.checkpoints import load_policy
    from iqlightning.envs.gridworld.spec import GridWorldConfig
    from iqlightning.envs.gymnasium import GymnasiumConfig
    from iqlightning.envs.registration import env_config_from_dict
    from iqlightning.errors import UserError
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
    "GridWorldConfig": "iqlightning.envs.gridworld.spec",
    "GymnasiumConfig": "iqlightning.envs.gymnasium",
    "Trajectories": "iqlightning.types",
    "Transition": "iqlightning.types",
    "UserError": "iqlightning.errors",
    "env_config_from_dict": "iqlightning.envs.registration",
    "load_policy": "iqlightning.checkpoints",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
