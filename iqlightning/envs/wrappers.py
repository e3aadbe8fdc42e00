"""Wrappers by name, as configurations, files and checkpoints hold them, and some that Gymnasium lacks.

An entry of a list of wrappers is a name, or ``{class_path: NAME, init_args: {...}}`` with primitives as arguments.
Names are those of Gymnasium's wrappers (``FrameStackObservation``), of this module's and of
:mod:`iqlightning.envs.minigrid`, of a preset, or the whole path of a class of ``gymnasium.wrappers``,
``minigrid.wrappers`` or a trusted package. A file may come from anywhere: it can name nothing else, and none that
writes files.
"""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from iqlightning.errors import UserError, unknown
from iqlightning.observation_codec import MASK
from iqlightning.registration import is_trusted, module_for

__all__ = [
    "LIBRARIES",
    "PRESETS",
    "ActionMaskFromInfo",
    "Bounds",
    "Unravel",
    "import_library",
    "kwargs_of_presets",
    "named_wrappers",
    "wrapped",
    "wrappers_of",
]

Entry = str | dict[str, Any]

#: Beginnings of environments' ids to the library that registers them, and what to install.
LIBRARIES: dict[str, tuple[str, str]] = {
    "ALE/": ("ale_py", "ale-py"),
    "BabyAI-": ("minigrid", "minigrid"),
    "MiniGrid-": ("minigrid", "minigrid"),
    "MinAtar/": ("minatar.gym", "minatar"),
}

#: Usual stacks by name.
PRESETS: dict[str, tuple[Entry, ...]] = {
    # Mnih et al. 2015, doi 10.1038/nature14236: grey, 84 x 84, the larger of two frames, each action four times
    "atari": (
        {"class_path": "gymnasium.wrappers.AtariPreprocessing", "init_args": {"noop_max": 30, "frame_skip": 4}},
        {"class_path": "gymnasium.wrappers.FrameStackObservation", "init_args": {"stack_size": 4}},
    ),
    # games that a player who is never hit does not end
    "minatar": ({"class_path": "gymnasium.wrappers.TimeLimit", "init_args": {"max_episode_steps": 5000}},),
    # object, colour and state of each cell, and the words of the mission
    "babyai": ({"class_path": "iqlightning.envs.minigrid.ImageAndMission", "init_args": {}},),
    # the same without the mission
    "minigrid": (
        {"class_path": "minigrid.wrappers.ImgObsWrapper", "init_args": {}},
        {"class_path": "iqlightning.envs.wrappers.Bounds", "init_args": {"high": [10, 5, 3]}},
    ),
}

# Arguments of environments that a preset goes with, unless they are given.
_KWARGS: dict[str, dict[str, Any]] = {"atari": {"frameskip": 1}}

# Names of the package's own to their modules.
_OWN = {
    **dict.fromkeys(("ActionMaskFromInfo", "Bounds", "Unravel"), __name__),
    **dict.fromkeys(("Egocentric", "ImageAndMission"), "iqlightning.envs.minigrid"),
}

_OPEN = ("gymnasium.wrappers", "minigrid.wrappers", *sorted(set(_OWN.values())))

# What is refused, and why.
_REFUSED = {
    **dict.fromkeys(("ArrayConversion", "JaxToNumpy", "JaxToTorch", "NumpyToTorch"), "arrays have to be NumPy's"),
    "Autoreset": "episodes begin anew by themselves",
    "HumanRendering": "nobody looks at a batch of environments",
    "NormalizeObservation": "its statistics are part of no checkpoint; take model.scale standardise",
    "NormalizeReward": "its statistics are part of no checkpoint",
    "RecordVideo": "it writes files; take the callback EpisodeVideo",
}


class Bounds(gymnasium.ObservationWrapper):
    """Says the bounds that observations really have, where their space says wider ones.

    An observation beyond them is refused. A space of whole numbers of few values can be seen one-hot by networks.

    Args:
        env: whose observations are a ``Box``.
        high: highest value, or one for each channel or entry, as NumPy broadcasts them to the space.
        low: lowest value, or several; None for those of the space.

    Raises:
        UserError: if observations are no ``Box``, or the bounds have another shape or lie outside its own.
    """

    def __init__(self, env: gymnasium.Env, high: Any, low: Any = None) -> None:
        super().__init__(env)
        space = env.observation_space
        if not isinstance(space, spaces.Box):
            raise UserError(f"the wrapper Bounds is for observations that are a Box, not {type(space).__name__}")
        try:
            ends = [
                np.broadcast_to(np.asarray(end, dtype=space.dtype), space.shape)
                for end in (space.low if low is None else low, high)
            ]
        except (ValueError, TypeError, OverflowError) as error:
            raise UserError(f"the bounds {low}, {high} do not fit observations of shape {space.shape}") from error
        if (ends[0] < space.low).any() or (ends[1] > space.high).any() or (ends[0] > ends[1]).any():
            raise UserError(f"the bounds {low}, {high} lie outside those of the observations, or are exchanged")
        self.observation_space = spaces.Box(*ends, dtype=space.dtype.type)  # type: ignore[arg-type, misc]

    def observation(self, observation: Any) -> Any:
        """The same observation.

        Raises:
            UserError: if it lies beyond the bounds.
        """
        space = self.observation_space
        assert isinstance(space, spaces.Box)
        beyond = (observation < space.low) | (observation > space.high)
        if np.any(beyond):
            raise UserError(
                f"the wrapper Bounds was told other bounds than observations have: one is {observation[beyond][0]}"
            )
        return observation


class Unravel(gymnasium.ObservationWrapper):
    """A number that stands for several as these: (d_1 n_2 + d_2) n_3 + d_3, ..., each d_i from 0 to n_i - 1.

    Taxi's is row, column, passenger and destination, ``[5, 5, 5, 4]``. What differs in one of them only then looks
    alike to networks, which the bare number does not.

    Args:
        env: whose observations are ``Discrete`` from 0.
        sizes: n_1, n_2, ...

    Raises:
        UserError: if observations are of another kind, or their number is not the product of the sizes.
    """

    def __init__(self, env: gymnasium.Env, sizes: Sequence[int]) -> None:
        super().__init__(env)
        space = env.observation_space
        if not isinstance(space, spaces.Discrete) or space.start != 0 or math.prod(sizes) != space.n:
            raise UserError(f"the sizes {list(sizes)} do not make up observations of the space {space}")
        self.observation_space = spaces.MultiDiscrete(list(sizes))
        self._sizes = tuple(sizes)

    def observation(self, observation: Any) -> Any:
        """(D,) the numbers it is made of."""
        return np.array(np.unravel_index(int(observation), self._sizes))


class ActionMaskFromInfo(gymnasium.Wrapper):
    """Adds ``info["action_mask"]`` to observations, which say then which actions are allowed.

    What it wraps gives any observation o; it gives {"observation": o, "action_mask": mask}.

    Raises:
        UserError: if actions are not discrete, or, when it is played, there is no mask in ``info``.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        if not isinstance(env.action_space, spaces.Discrete):
            raise UserError("the wrapper ActionMaskFromInfo is for discrete actions")
        mask = spaces.MultiBinary(int(env.action_space.n))
        self.observation_space = spaces.Dict({"observation": env.observation_space, MASK: mask})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Begins an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._with_mask(observation, info), info

    def step(self, action: Any) -> Any:
        """Plays an action."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._with_mask(observation, info), reward, terminated, truncated, info

    def _with_mask(self, observation: Any, info: Mapping[str, Any]) -> dict[str, Any]:
        if MASK not in info:
            raise UserError("the wrapper ActionMaskFromInfo finds no 'action_mask' in what the environment tells")
        return {"observation": observation, MASK: np.asarray(info[MASK], dtype=np.int8)}


# ---- names


def named_wrappers(entries: Any) -> list[dict[str, Any]]:
    """A list of wrappers with presets and short names written out; nothing is imported.

    Raises:
        UserError: if an entry is no wrapper's description, or has no name that is known.
    """
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise UserError(f"wrappers are a list of names, or of class_path and init_args, not {entries!r:.60}")
    named: list[dict[str, Any]] = []
    for entry in entries:
        if isinstance(entry, str) and entry in PRESETS:
            named += named_wrappers(PRESETS[entry])
            continue
        described = (
            {"class_path": entry} if isinstance(entry, str) else dict(entry) if isinstance(entry, Mapping) else {}
        )
        name, arguments = described.pop("class_path", None), described.pop("init_args", None) or {}
        if not isinstance(name, str) or not isinstance(arguments, Mapping) or described:
            raise UserError(f"a wrapper is a name, or class_path and init_args, not {entry!r:.60}")
        named.append({"class_path": _whole_path(name), "init_args": dict(arguments)})
    return named


def kwargs_of_presets(entries: Sequence[Entry]) -> dict[str, Any]:
    """Arguments of the environment that presets among the wrappers go with."""
    arguments: dict[str, Any] = {}
    for entry in entries:
        arguments |= _KWARGS.get(entry, {}) if isinstance(entry, str) else {}
    return arguments


def wrapped(env: gymnasium.Env, entries: Sequence[Entry]) -> gymnasium.Env:
    """The environment in its wrappers, the first one inside.

    Raises:
        UserError: if there is no such wrapper, it may not be used, or it cannot be made of these arguments.
    """
    for entry in named_wrappers(entries):
        path, arguments = entry["class_path"], entry["init_args"]
        make, name = _class_of(path), path.rpartition(".")[2]
        try:
            inspect.signature(make).bind(env, **arguments)
        except TypeError as error:
            valid = ", ".join(list(inspect.signature(make).parameters)[1:]) or "none"
            raise UserError(f"the wrapper {name} cannot be made: {error}; its arguments: {valid}") from error
        try:
            env = make(env, **arguments)
        except UserError:
            raise
        except Exception as error:  # each wrapper has its own way of refusing an environment
            detail = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"the wrapper {name} cannot be put around this environment: {detail:.200}") from error
    return env


def import_library(env_id: str) -> None:
    """Has a well-known library register its environments, if the id is one of theirs and not known yet.

    Raises:
        UserError: if it is not installed.
    """
    found = next((each for start, each in LIBRARIES.items() if env_id.startswith(start)), None)
    if found is None or env_id in gymnasium.registry:
        return
    module, package = found
    try:
        library = import_module(module)
    except ImportError as error:
        raise UserError(f"'{env_id}' needs the package {package}: pip install {package} ({error})") from error
    if module == "minatar.gym":
        library.register_envs()


def _whole_path(name: str) -> str:
    if "." in name:
        return name
    if name in gymnasium.wrappers.__all__:
        return f"gymnasium.wrappers.{name}"
    if name in _OWN:
        return f"{_OWN[name]}.{name}"
    raise unknown("wrapper", name, [*PRESETS, *_OWN, *_usable()])


def _usable() -> list[str]:
    return [
        name
        for name in gymnasium.wrappers.__all__
        if name not in _REFUSED and inspect.isclass(getattr(gymnasium.wrappers, name, None))
    ]


def _class_of(path: str) -> Callable[..., gymnasium.Env]:
    module_name, _, name = path.rpartition(".")
    if module_name.startswith("gymnasium.wrappers") and name in _REFUSED:
        raise UserError(f"the wrapper {name} is of no use here: {_REFUSED[name]}")
    is_open = any(f"{module_name}.".startswith(f"{each}.") for each in _OPEN)
    try:
        module = import_module(module_name) if is_open else module_for(module_name)
    except ImportError as error:
        raise UserError(f"the wrapper '{path}' needs a package that is not installed: {error}") from error
    if not is_open and not is_trusted(module_name):
        module = None  # what happens to be imported is not trusted for that
    found = getattr(module, name, None)
    if module is not None and found is None and is_open:
        raise unknown(f"wrapper in {module_name}", name, [each for each in dir(module) if each[:1].isupper()])
    if not (inspect.isclass(found) and issubclass(found, gymnasium.Wrapper)):
        raise UserError(
            f"'{path}' is no wrapper that may be named: take one of gymnasium.wrappers, or one of a package that you "
            f"trust, with --trust {module_name.partition('.')[0]}"
        )
    return found


def wrappers_of(env: gymnasium.Env) -> Iterator[gymnasium.Wrapper]:
    """The wrappers around an environment, the outermost first."""
    while isinstance(env, gymnasium.Wrapper):
        yield env
        env = env.env
