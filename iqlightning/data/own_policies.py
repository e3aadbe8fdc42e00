"""A user's own functions and objects as players: of observations, or made anew of the environment for each episode."""

import inspect
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor

from iqlightning.errors import UserError, blamed_on
from iqlightning.spaces import action_bounds, action_dtype, action_shape
from iqlightning.types import BatchEnv, EnvConfig, Policy

__all__ = ["ExpertOfEpisodes", "FunctionPolicy", "own_policy"]


def own_policy(own: Any, env: EnvConfig, name: str) -> Policy:
    """The player that an object of the user's is.

    Args:
        own: one of

            - a function from observations (N, *shape), a tensor, to actions (N, *action shape) in the environment's own
              numbers and units; or to a tuple of which these are the first, as ``predict`` returns them. Observations
              are as the environment gives them, in dictionaries and tuples where it has those;
            - a function (or class) whose one argument is called ``env``, ``make_expert(env) -> obs -> action``: it is
              called at the beginning of each episode with the Gymnasium environment, just reset, and what it returns
              with each observation, a NumPy array;
            - an object with ``predict``, such as a model of Stable-Baselines3, or this method: it is given arrays of
              NumPy, and told to draw nothing where it takes ``deterministic``;
            - an object with ``act(observations, sample=...)``, a policy of this package.
        env: what is played.
        name: what messages call it.

    Raises:
        UserError: if it is none of these.
    """
    if hasattr(own, "act"):
        return own
    is_predict = inspect.ismethod(own) and getattr(own, "__name__", "") == "predict"
    predict: Any = own if is_predict else getattr(own, "predict", None)
    if predict is not None and not isinstance(own, type):
        told = "deterministic" in inspect.signature(predict).parameters
        return FunctionPolicy(_predicting(predict, told), env, name, draws=told)
    arguments = _arguments_of(own)
    if arguments is None:
        raise UserError(f"'{name}' is no function, but {type(own).__name__}")
    if len(arguments) != 1:
        needs = " and ".join(arguments) or "nothing"
        raise UserError(
            f"'{name}' takes {needs}; a policy takes observations, a factory of experts the environment (called env)"
        )
    if arguments[0] == "env":
        return ExpertOfEpisodes(own, env, name)
    return FunctionPolicy(lambda observations, sample: own(_as_tensors(observations)), env, name)


class FunctionPolicy:
    """A function of observations as a policy; see :func:`own_policy`.

    Args:
        function: from observations (N, *shape), as the environment gives them and tensors if they are that already,
            and ``sample``, whether actions are to be drawn, to actions.
        env: what is played.
        name: what messages call it.
        draws: whether ``sample`` makes a difference to it.
    """

    def __init__(self, function: Callable[[Any, bool], Any], env: EnvConfig, name: str, *, draws: bool = False) -> None:
        self._function, self._actions, self._codec = function, _Actions(env, name), env.spaces.codec
        self._name, self.draws = name, draws

    def act(self, observations: Tensor, *, sample: bool = False) -> Tensor:
        """The function's actions, checked: (N,) int64 from 0, or (N, *action shape) float32.

        Raises:
            UserError: if there are not N of them, or one is not of the environment's.
        """
        seen = observations if self._codec is None else self._codec.decode(observations)
        with blamed_on(f"'{self._name}' itself failed"):
            returned = self._function(seen, sample)
        return self._actions.checked(_actions_alone(returned), len(observations)).to(observations.device)


class ExpertOfEpisodes:
    """Experts that may look inside the environment, one for each episode; see :func:`own_policy`.

    Args:
        make: from the environment of an episode, just reset, to a function from an observation to an action.
        env: what is played, one of Gymnasium's.
        name: what messages call it.
    """

    draws = False

    def __init__(self, make: Callable[[Any], Any], env: EnvConfig, name: str) -> None:
        self._make, self._env, self._name = make, env.name, name
        self._actions, self._codec = _Actions(env, name), env.spaces.codec
        self._experts: list[Any] = []

    def begin(self, batch: BatchEnv, ended: Tensor, playing: Tensor) -> None:
        """Makes an expert where an episode has begun that is played; see :func:`iqlightning.rollout.rollout`.

        Raises:
            UserError: if there is no Gymnasium environment to give it, or what it makes cannot be called.
        """
        games: list[gymnasium.Env] | None = getattr(batch, "games", None)
        if games is None:
            raise UserError(
                f"'{self._name}' is given a Gymnasium environment, and '{self._env}' is played without one: name "
                "it with --gym ID"
            )
        self._experts = self._experts or [None] * len(games)
        for index in ended.nonzero()[:, 0].tolist():
            self._experts[index] = self._made(games[index]) if bool(playing[index]) else None

    def act(self, observations: Tensor, *, sample: bool = False) -> Tensor:
        """Each expert's action; any one where no episode is played."""
        actions = self._actions.nothing(len(observations))
        for index, expert in enumerate(self._experts):
            if expert is not None:
                one = observations[index : index + 1].cpu()
                seen = _first(one.numpy() if self._codec is None else self._codec.decode(one))
                with blamed_on(f"'{self._name}' itself failed"):
                    returned = expert(seen)
                action = _as_array(_actions_alone(returned))
                actions[index] = self._actions.checked(action[None], 1)[0]
        return actions.to(observations.device)

    def _made(self, game: gymnasium.Env) -> Callable[[Any], Any]:
        with blamed_on(f"'{self._name}' itself failed"):
            expert = self._make(game)
        for name in ("predict", "act"):
            expert = getattr(expert, name, expert)
        if not callable(expert):
            raise UserError(
                f"'{self._name}' must return a function from an observation to an action, not {type(expert).__name__}"
            )
        return expert


def _first(batch: Any) -> Any:
    """The first observation of a batch: arrays, in dictionaries and tuples or not."""
    if isinstance(batch, dict):
        return {name: _first(each) for name, each in batch.items()}
    return tuple(map(_first, batch)) if isinstance(batch, tuple) else batch[0]


def _as_tensors(batch: Any) -> Any:
    """Arrays, in dictionaries and tuples or not, as tensors."""
    if isinstance(batch, dict):
        return {name: _as_tensors(each) for name, each in batch.items()}
    return tuple(map(_as_tensors, batch)) if isinstance(batch, tuple) else torch.as_tensor(batch)


def _predicting(predict: Callable[..., Any], told: bool) -> Callable[[Any, bool], Any]:
    """A method ``predict``, which may have to be ``told`` whether to draw."""

    def function(observations: Any, sample: bool) -> Any:
        how = {"deterministic": not sample} if told else {}
        return predict(observations.cpu().numpy() if isinstance(observations, Tensor) else observations, **how)

    return function


def _arguments_of(own: Any) -> list[str] | None:
    """Names of the arguments that it cannot be called without, or its first; None if it cannot be called."""
    if not callable(own):
        return None
    try:
        parameters = inspect.signature(own).parameters.values()
    except (TypeError, ValueError):  # written in C
        return ["observations"]
    named = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    keywords = [each.name for each in parameters if each.kind == each.KEYWORD_ONLY and each.default is each.empty]
    needed = [each.name for each in named if each.default is each.empty] + keywords
    if needed:
        return needed
    several = any(each.kind == each.VAR_POSITIONAL for each in parameters)
    return [each.name for each in named[:1]] or (["observations"] if several else [])


def _actions_alone(returned: Any) -> Any:
    """Without the state that ``predict`` methods return beside the actions."""
    if isinstance(returned, tuple) and len(returned) == 2:
        first, second = returned
        if second is None or isinstance(first, np.ndarray | np.generic | Tensor | list):
            return first
    return returned


def _as_array(actions: Any) -> np.ndarray:
    if isinstance(actions, Tensor):
        return actions.detach().cpu().numpy()
    try:
        return np.asarray(actions)
    except ValueError:  # rows of different lengths
        return np.empty(0, dtype=object)


class _Actions:
    """What an environment takes, and what a player of this name returned as that."""

    def __init__(self, env: EnvConfig, name: str) -> None:
        self.space, self._env, self._name = env.spaces.action, env.name, name
        self._discrete = isinstance(self.space, Discrete)
        self._first = env.first_action if self._discrete else 0
        self._shape, self._dtype = action_shape(self.space), action_dtype(self.space)
        self._low, self._high = (bound + self._first for bound in action_bounds(self.space))

    def nothing(self, count: int) -> Tensor:
        """Valid actions of which none is meant."""
        if isinstance(self.space, Box):
            return torch.as_tensor(self.space.low, dtype=self._dtype).expand(count, *self._shape).clone()
        return torch.zeros(count, dtype=self._dtype)

    def checked(self, returned: Any, count: int) -> Tensor:
        """Actions in the environment's own numbers as those of the package, which count from 0.

        Raises:
            UserError: if they are not so many valid ones.
        """
        actions = _as_array(returned)
        if actions.dtype.kind not in "biuf":
            raise UserError(f"'{self._name}' must return actions as numbers, not {type(returned).__name__}")
        if actions.shape != (count, *self._shape):
            one = f"numbers of shape {self._shape}" if self._shape else "one whole number"
            raise UserError(
                f"'{self._name}' returned actions of shape {actions.shape} for {count} observations; it must return "
                f"{one} for each"
            )
        valid = (actions >= self._low) & (actions <= self._high)  # false of a NaN
        if self._discrete and actions.dtype.kind == "f":
            valid &= np.floor(actions) == actions
        if not valid.all():
            wrong = actions[~valid.reshape(count, -1).all(1)][0].tolist()
            raise UserError(f"'{self._name}' returned the action {wrong}, but those of '{self._env}' are {self._range}")
        return torch.as_tensor(actions).to(self._dtype) - self._first

    @property
    def _range(self) -> str:
        if isinstance(self.space, Box):
            return f"from {self.space.low.tolist()} to {self.space.high.tolist()}"
        return f"whole numbers from {self._low} to {self._high}"
