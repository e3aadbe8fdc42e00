"""Controllers written by hand that Gymnasium ships with its environments, as policies."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.errors import UserError
from iqlightning.spaces import num_actions
from iqlightning.types import EnvConfig

__all__ = ["HEURISTICS", "GymnasiumHeuristic"]


def _lunar_lander() -> Callable[[Any], int]:
    from gymnasium.envs.box2d.lunar_lander import heuristic  # needs the extra box2d

    # all that it asks of the environment is which kind of actions it takes
    env: Any = SimpleNamespace(unwrapped=SimpleNamespace(continuous=False))
    return lambda observation: int(heuristic(env, observation))


#: The environment's id to what makes its controller: one observation to one action.
HEURISTICS: dict[str, Callable[[], Callable[[Any], int]]] = {"LunarLander-v3": _lunar_lander}


class GymnasiumHeuristic:
    """Gymnasium's own controller of an environment; it is deterministic and reads the observation alone.

    LunarLander-v3: a proportional-derivative controller of angle and height (``gymnasium.envs.box2d.lunar_lander``); it
    returns about 250, with one landing in ten below 200.

    Args:
        env: the environment.

    Raises:
        UserError: if Gymnasium has no controller for it, or cannot make the environment.
    """

    def __init__(self, env: EnvConfig) -> None:
        if not isinstance(env, GymnasiumConfig) or env.id not in HEURISTICS:
            raise UserError(
                f"Gymnasium has no heuristic for '{env.name}'; it has one for: {', '.join(HEURISTICS)} (--gym ID)"
            )
        self.num_actions = num_actions(env.spaces.action)  # complains of what is not installed
        self._choose = HEURISTICS[env.id]()

    def act(self, observations: Tensor, *, sample: bool = False) -> Int[Tensor, " batch"]:
        """(B, *shape) to the controller's actions; ``sample`` makes no difference."""
        actions = [self._choose(observation) for observation in observations.cpu().numpy()]
        return torch.tensor(actions, dtype=torch.int64, device=observations.device)
