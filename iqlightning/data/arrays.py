"""Demonstrations from arrays in memory."""

import warnings
from pathlib import Path
from typing import Any

from iqlightning.data.demonstrations import save_demonstrations
from iqlightning.data.fitting import fitted, guessed_spaces
from iqlightning.data.recording import are_whole_episodes, recording_of_episodes, recording_of_rows
from iqlightning.errors import UserError
from iqlightning.files import path_of
from iqlightning.registration import env_config_of_gymnasium
from iqlightning.spaces import Spaces
from iqlightning.types import EnvConfig, Trajectories

__all__ = ["from_arrays"]


def from_arrays(
    observations: Any,
    actions: Any,
    rewards: Any = None,
    terminated: Any = None,
    truncated: Any = None,
    next_observations: Any = None,
    *,
    episode_starts: Any = None,
    episode_ends: Any = None,
    episode: Any = None,
    env: EnvConfig | str | None = None,
    spaces: Spaces | None = None,
    first_action: int | None = None,
    observation_scale: float | None = None,
    output: str | Path | None = None,
    force: bool = False,
    source: str = "arrays",
) -> Trajectories:
    """Demonstrations from arrays, and a file of them in the same step.

    A list or a tuple is one of episodes; an array or a tensor has a row for each transition, episode after episode, and
    says where episodes end: by ``terminated`` and ``truncated``, ``episode_starts``, ``episode_ends`` or ``episode``.
    All may be of NumPy or torch and of any real dtype. Where it is not recorded what an episode's last action led to
    (T observations for T actions and no ``next_observations``), that transition is left out. Whatever is left out or
    supposed is told as a warning.

    Args:
        observations: (N, *shape) states that were acted on; or of each episode (T + 1, *shape), with the one after the
            last action, or (T, *shape).
        actions: (N, *action shape), or of each episode (T, *action shape), in the environment's units.
        rewards: (N,), or (T,) of each episode; for evaluation only. None writes 0.
        terminated: (N,) whether a row led to a terminal state; or for each episode a truth, or (T,).
        truncated: the same, of being cut off; None means wherever an episode ends otherwise.
        next_observations: (N, *shape), or (T, *shape) of each episode: what each row led to.
        episode_starts: (E,) or (E + 1,) first rows of episodes; with this or one of the next two a list is one of rows.
        episode_ends: (E,) rows after the last ones of episodes.
        episode: (N,) a number for each row, the same within an episode and another in the next one.
        env: the environment they are of, by Gymnasium's id or as a configuration; the file says it to ``fit``.
        spaces: of observations and actions, where there is no ``env``; None guesses them.
        first_action: number of the first action, where actions are numbered; None means as the environment counts.
        observation_scale: what observations are multiplied by to be in the environment's units; None means they are.
        output: the demonstrations file to write, ``.safetensors``; None writes none.
        force: replaces ``output`` if it exists.
        source: who acted, as the file says it.

    Returns:
        The episodes on the CPU: observations as uint8 where the environment gives bytes and float32 otherwise, actions
        as int64 from 0 on or float32.

    Raises:
        UserError: if the arrays do not make episodes, or not of this environment; if the file exists.

    >>> import numpy as np
    >>> from iqlightning.data import from_arrays
    >>> states, moves = np.zeros((5, 4)), np.array([0, 1, 1, 0])
    >>> from_arrays([states], [moves], [np.ones(4)], terminated=[True], env="CartPole-v1").lengths
    tensor([4])
    """
    if output is not None and path_of(output).exists() and not force:
        raise UserError(f"'{output}' exists already; name another file, or replace it with force=True")
    parts = (observations, actions, rewards, terminated, truncated, next_observations)
    ends = {"episode_starts": episode_starts, "episode_ends": episode_ends, "episode": episode}
    rows = any(end is not None for end in ends.values())
    if not rows and isinstance(observations, list | tuple):
        recording = recording_of_episodes(source, observations, _items(actions), *map(_items, parts[2:]))
    else:
        recording = recording_of_rows(source, *parts, **ends)
    if isinstance(env, str):
        env = env_config_of_gymnasium(env, {})
    wanted = spaces if env is None else env.spaces
    if wanted is None:
        wanted = guessed_spaces(recording, first_action)
    trajectories = fitted(recording, wanted, env=env, first_action=first_action, observation_scale=observation_scale)
    for note in recording.notes:
        warnings.warn(f"demonstrations from {source}: {note}", stacklevel=2)
    if output is not None:
        metadata: dict[str, Any] = {"source": source} | ({} if env is None else {"env": env.to_dict()})
        if not are_whole_episodes(trajectories):
            metadata["whole_episodes"] = False
        save_demonstrations(output, trajectories, metadata, wanted)
    return trajectories


def _items(part: Any) -> Any:
    """Whatever has one item for each episode, as a sequence."""
    if part is None or isinstance(part, list | tuple):
        return part
    try:
        return list(part)
    except TypeError as error:
        raise UserError(
            f"observations are a list, which is one of episodes, and so must the others be, not {type(part).__name__}; "
            "make an array of a list of rows with numpy.stack"
        ) from error
