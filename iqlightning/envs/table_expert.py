"""The expert of environments that tell their whole dynamics in a table, as Gymnasium's toy texts do."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import Space, spaces
from torch import Tensor

from iqlightning.rollout import closing, rollout
from iqlightning.types import EnvConfig, Trajectories

__all__ = ["PlayedExpert", "TablePolicy", "solved", "table_policy"]

# Close to 1, so that a path is not worth a risk, and below it, so that no action puts the goal off for ever.
_GAMMA = 0.999

# Episodes that are played together.
_TOGETHER = 64


def solved(table: dict[int, dict[int, Any]], gamma: float = _GAMMA, tolerance: float = 1e-10) -> np.ndarray:
    r"""The optimal Q (S, A), by value iteration.

        Q(s, a) <- sum_{s'} p(s' | s, a) [r + gamma (1 - terminated) max_a' Q(s', a')].

    Args:
        table: of each state and action the outcomes (p, s', r, terminated), as ``env.unwrapped.P``.
        gamma: discount, below 1.
        tolerance: largest change of the last step.
    """
    states, actions = len(table), len(table[0])
    rows = [(s, a, *each) for s, of in table.items() for a, outcomes in of.items() for each in outcomes]
    s, a, p, successor, reward, ended = (np.array(column) for column in zip(*rows, strict=True))
    cell, going_on = s * actions + a, gamma * ~ended.astype(bool)
    q = np.zeros((states, actions))
    while True:
        worth = p * (reward + going_on * q.max(1)[successor])
        after = np.bincount(cell, worth, states * actions).reshape(states, actions)
        change, q = np.abs(after - q).max(), after
        if change < tolerance:
            return q


class TablePolicy:
    """The best action of a state, of several that are equally good the first.

    Its recipe's version is raised whenever it comes to play differently.

    Args:
        q: (S, A).
        start: the number in an encoded observation with which the state begins.
        sizes: of the numbers, each one-hot, that make up the state's (:class:`~iqlightning.envs.wrappers.Unravel`);
            None for the state's own, one-hot.
    """

    label = "table solved by value iteration"
    recipe: ClassVar[dict[str, Any]] = {"expert": "value_iteration", "gamma": _GAMMA, "version": 1}

    def __init__(self, q: np.ndarray, start: int = 0, sizes: Sequence[int] | None = None) -> None:
        good = q >= q.max(1, keepdims=True) - 1e-8
        self._best, self._start = torch.from_numpy(good.argmax(1)), start
        self._sizes = [len(q)] if sizes is None else list(sizes)

    def act(self, observations: Tensor, *, sample: bool = False) -> Tensor:
        """(B, F) to (B,); ``sample`` makes no difference."""
        stop = self._start + sum(self._sizes)
        states = torch.zeros(len(observations), dtype=torch.int64, device=observations.device)
        for size, one_hot in zip(
            self._sizes, observations[:, self._start : stop].split(self._sizes, dim=1), strict=True
        ):
            states = states * size + one_hot.argmax(1)
        return self._best.to(observations.device)[states]


class PlayedExpert:
    """See :class:`~iqlightning.types.Expert`: plays a policy that need not be trained.

    Args:
        env: how it is played.
        policy: with a ``label`` and a ``recipe`` as an expert has them.
    """

    def __init__(self, env: EnvConfig, policy: Any) -> None:
        self.env, self.policy = env, policy
        self.label, self.recipe = policy.label, policy.recipe

    def parts(self, episodes: int, seed: int, progress: Callable[[int], None] | None = None) -> Iterator[Trajectories]:
        """All episodes at once: those of tables and small grids are small."""
        with closing(self.env.make_batch(min(episodes, _TOGETHER), seed=seed, split="train")) as batch:
            played = rollout(self.policy, batch, episodes, progress=progress)
        yield played


@lru_cache(maxsize=16)
def table_policy(env: Any) -> TablePolicy | None:
    """The solution of an environment that has a table and shows its states by their numbers; None of any other.

    Args:
        env: a :class:`~iqlightning.envs.gymnasium.GymnasiumConfig`.
    """
    codec = env.spaces.codec
    if codec is None or not isinstance(env.spaces.action, spaces.Discrete):
        return None
    game = env.make_env()
    table = getattr(game.unwrapped, "P", None)
    game.close()
    if not isinstance(table, dict) or not table:
        return None
    found = [(part.start, sizes) for part in codec.parts if math.prod(sizes := _sizes(part.space)) == len(table)]
    if len(found) != 1 or len(table[0]) != env.spaces.action.n:
        return None
    return TablePolicy(solved(table), *found[0])


def _sizes(space: Space) -> list[int]:
    """Of the numbers from 0 that an array consists of; none of any other array."""
    if isinstance(space, spaces.Discrete) and space.start == 0:
        return [int(space.n)]
    if isinstance(space, spaces.MultiDiscrete) and not space.start.any():
        return space.nvec.ravel().tolist()
    return []
