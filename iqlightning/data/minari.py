"""Minari datasets in and out (https://minari.farama.org); the library is the optional extra ``minari``.

A dataset can come from anywhere. It is read as arrays and its environment is taken by name only: the library would make
an environment whose import path the file names when a space is missing from the file or when asked to recover one, so
neither is left to it. Identifiers are matched against a pattern before they become a path, since the library follows
``../``. What is written keeps every bit: images are not compressed as JPEG, which is the library's default.
"""

import dataclasses
import json
import math
import os
import re
import secrets
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces

from iqlightning.data.validation import check_arrays, check_fits
from iqlightning.envs.gymnasium import made_by_gymnasium
from iqlightning.errors import UserError, unknown
from iqlightning.registration import env_config_of_gymnasium
from iqlightning.spaces import action_shape, num_actions
from iqlightning.types import EnvConfig, Trajectories

__all__ = ["are_whole_episodes", "check_new_minari", "from_minari", "to_minari"]

# As Minari's own, but every part of the path begins with a letter, a digit or an underscore, and there is a version.
_ID = re.compile(r"(\w[\w-]*/)*\w[\w-]*-v\d+", re.ASCII)


def from_minari(dataset: str, env: EnvConfig | None = None) -> tuple[Trajectories, EnvConfig, str]:
    """Reads a dataset from Minari's folder (``MINARI_DATASETS_PATH``, else ``~/.minari/datasets``) or any other.

    Args:
        dataset: an identifier such as ``CartPole-v1/expert-v0``, or the path of a dataset's folder.
        env: the environment it is of; None means the one that the dataset names, which must be registered.

    Returns:
        All episodes in order on the CPU, their environment, and the identifier that the dataset gives itself. Actions
        count from 0, observations keep uint8 and become float32 otherwise.

    Raises:
        UserError: if Minari is not installed; if there is no such dataset, or it is damaged; if its actions are neither
            discrete nor a box, its observations no box, or either does not fit the environment; if a number is not
            finite.
    """
    minari = _minari()
    folder = _folder_of(dataset)
    raw = _metadata_of(folder, dataset)
    env = env or _env_of(raw, dataset)
    try:
        # the spaces are in the metadata, and so nothing is made or imported here
        stored = minari.MinariDataset(folder)
        observation_space, action_space = stored.observation_space, stored.action_space
        _check_spaces(observation_space, action_space, dataset)
        episodes = [_episode(each, action_space, dataset) for each in stored.iterate_episodes()]
        if not episodes:
            raise UserError(f"the Minari dataset '{dataset}' holds no episode")
        trajectories = Trajectories.concatenate(episodes)
    except (OSError, KeyError, ValueError, TypeError, AssertionError, AttributeError, RuntimeError) as error:
        raise UserError(f"the Minari dataset '{dataset}' is damaged or of another version: {error}") from error
    check_arrays(dataset, vars(trajectories))
    check_fits(dataset, trajectories, env)
    return trajectories, env, str(raw["dataset_id"])


def to_minari(dataset: str, trajectories: Trajectories, env: EnvConfig, source: str, description: str = "") -> Path:
    """Writes episodes as a new dataset into Minari's folder, such that :func:`from_minari` reads the same again.

    Args:
        dataset: its identifier, such as ``CartPole-v1/expert-v0``; it must be new.
        trajectories: what to write.
        env: the environment they are of; one that Gymnasium can make by its id.
        source: who acted, Minari's ``algorithm_name``.
        description: a sentence or two.

    Returns:
        The dataset's folder.

    Raises:
        UserError: if Minari is not installed, the identifier is malformed or taken, the environment has no id, or the
            episodes are not valid or not of it.
    """
    minari = _minari()
    check_new_minari(dataset)
    check_arrays(dataset, vars(trajectories))
    check_fits(dataset, trajectories, env)
    spec, made = _spec_and_spaces(env)
    # what was recorded decides the dtype: environments are played in float32, whatever they are declared as
    observations = trajectories.observations.cpu()
    dtype = observations.numpy().dtype
    shape = tuple(observations.shape[1:])
    box = made.observation_space
    if not (isinstance(box, spaces.Box) and box.dtype == dtype and box.shape == shape):
        low, high = (0, 255) if dtype == np.uint8 else (-math.inf, math.inf)
        box = spaces.Box(low, high, shape, dtype)
    actions, start = env.spaces.action, 0
    if isinstance(made.action_space, spaces.Discrete):
        start = int(made.action_space.start)
        actions = spaces.Discrete(num_actions(env.spaces.action), start=start)
    # It gets its name when it is whole: another process may make one of the same name meanwhile.
    name, _, version = dataset.rpartition("-v")
    unfinished = f"{name}-unfinished-{secrets.token_hex(4)}-v{version}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it misses an e-mail address and a link to the code
            minari.create_dataset_from_buffers(
                unfinished,
                [_buffer(trajectories, episode, start) for episode in range(trajectories.num_episodes)],
                env=None,  # its spaces may be of another dtype than what was played
                observation_space=box,
                action_space=actions,
                algorithm_name=source,
                author="iqlightning",
                description=description or f"{trajectories.num_episodes} episodes of {env.name} by {source}",
                data_format="hdf5",
                jpeg_encoding=False,
            )
        metadata = _root() / unfinished / "data" / "metadata.json"
        named = json.loads(metadata.read_text()) | {"dataset_id": dataset, "env_spec": spec.to_json()}
        metadata.write_text(json.dumps(named))
        (_root() / unfinished).rename(_root() / dataset)
    except (OSError, ValueError) as error:
        raise UserError(f"the Minari dataset '{dataset}' cannot be written: {error}") from error
    finally:
        shutil.rmtree(_root() / unfinished, ignore_errors=True)  # what is left of it, if anything
    return _root() / dataset


def check_new_minari(dataset: str) -> None:
    """Checks that :func:`to_minari` can write a dataset of this name, before anything is played for it.

    Raises:
        UserError: if Minari is not installed, or the identifier is malformed or taken.
    """
    _minari()
    _require_id(dataset)
    if not _root().is_absolute():
        raise UserError(f"MINARI_DATASETS_PATH must be an absolute path for Minari to write there, not '{_root()}'")
    if (_root() / dataset).exists():
        raise UserError(f"the Minari dataset '{dataset}' exists already; raise its version, the number after -v")


def are_whole_episodes(trajectories: Trajectories) -> bool:
    """Whether every episode begins where an environment was reset; False if one goes on where the one before ended.

    Recordings that were cut into pieces look so. What a piece begins with is not an initial state, and a value term
    over initial states cannot be had from them.
    """
    episodes = torch.arange(trajectories.num_episodes)
    last = trajectories.observations[trajectories.starts[1:] + episodes]
    same = (last[:-1] == trajectories.first_observations[1:]).flatten(1).all(1)
    return not bool((same & ~trajectories.terminated[:-1]).any())


# Names and folders


def _minari() -> Any:
    try:
        import minari
        import minari.dataset._storages.hdf5_storage
    except ImportError as error:
        raise UserError(
            f'Minari datasets need the extra minari: pip install "iqlightning[minari]" ({error})'
        ) from error
    return minari


def _root() -> Path:
    """Minari's folder, as Minari finds it."""
    return Path(os.environ.get("MINARI_DATASETS_PATH") or Path.home() / ".minari" / "datasets")


def _require_id(dataset: str) -> None:
    if not _ID.fullmatch(dataset):
        raise UserError(
            f"'{dataset}' is no identifier of a Minari dataset: they look like CartPole-v1/expert-v0, letters, digits, "
            "_ and - in each part, ending in a version"
        )


def _folder_of(dataset: str) -> Path:
    """The folder with the arrays; a path that exists is one, anything else must be an identifier."""
    given = Path(dataset)
    if ".." in given.parts:
        raise UserError(f"'{dataset}' leads out of its folder by ..; give an identifier, or the folder's absolute path")
    if given.is_absolute() or dataset.startswith((".", "~")):
        folder = given.expanduser() / "data"
        if not folder.is_dir():
            raise UserError(f"there is no Minari dataset in '{dataset}': it would have a folder 'data'")
        return folder
    _require_id(dataset)
    folder = _root() / dataset / "data"
    if not folder.is_dir():
        there = sorted(str(each.parent.relative_to(_root())) for each in _root().glob("**/data") if each.is_dir())
        raise unknown(f"Minari dataset in '{_root()}' called", dataset, there)
    return folder


def _metadata_of(folder: Path, dataset: str) -> Mapping[str, Any]:
    try:
        raw = json.loads((folder / "metadata.json").read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"the Minari dataset '{dataset}' is damaged: its metadata.json cannot be read") from error
    missing = [
        name
        for name in ("dataset_id", "observation_space", "action_space", "data_format", "minari_version")
        if not isinstance(raw, dict) or not isinstance(raw.get(name), str)
    ]
    if missing:
        raise UserError(f"the Minari dataset '{dataset}' does not say its {' and '.join(missing)}")
    if raw["data_format"] != "hdf5":
        raise UserError(f"the Minari dataset '{dataset}' is in the format {raw['data_format']}; only hdf5 is read")
    return raw


def _env_of(raw: Mapping[str, Any], dataset: str) -> EnvConfig:
    """The environment that the dataset names, by its id and arguments alone."""
    try:
        spec = json.loads(raw.get("env_spec") or "{}")
        env_id, kwargs = spec.get("id"), dict(spec.get("kwargs") or {})
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"the Minari dataset '{dataset}' is damaged: its env_spec cannot be read") from error
    if not isinstance(env_id, str):
        raise UserError(
            f"the Minari dataset '{dataset}' does not say which environment it is of: name it with --gym ID"
        )
    try:
        return env_config_of_gymnasium(env_id, kwargs)
    except UserError as error:
        raise UserError(f"the Minari dataset '{dataset}' is of an environment that cannot be: {error}") from error


# Reading


def _check_spaces(observations: Any, actions: Any, dataset: str) -> None:
    for name, space, valid in (
        ("actions", actions, (spaces.Discrete, spaces.Box)),
        ("observations", observations, (spaces.Box,)),
    ):
        if not isinstance(space, valid):
            raise UserError(
                f"the {name} of the Minari dataset '{dataset}' are {type(space).__name__}; only "
                f"{' and '.join(each.__name__ for each in valid)} ones are supported"
            )


def _episode(episode: Any, action_space: Any, dataset: str) -> Trajectories:
    observations, actions = np.asarray(episode.observations), np.asarray(episode.actions)
    moves = len(actions)
    if (
        actions.shape[1:] != action_shape(action_space)
        or observations.shape[0] != moves + 1
        or len(episode.rewards) != moves
        or not moves
    ):
        raise UserError(
            f"episode {episode.id} of the Minari dataset '{dataset}' has {moves} actions, {len(episode.rewards)} "
            f"rewards and {observations.shape[0]} observations; an episode of T moves has T, T and T + 1"
        )
    ends = np.asarray(episode.terminations, bool) | np.asarray(episode.truncations, bool)
    if ends[:-1].any():
        raise UserError(f"episode {episode.id} of the Minari dataset '{dataset}' ends before its last move")
    terminated = bool(episode.terminations[-1])
    numbered = isinstance(action_space, spaces.Discrete)
    actions = actions.astype(np.int64) - int(action_space.start) if numbered else actions.astype(np.float32)
    observations = observations.astype(np.uint8 if observations.dtype == np.uint8 else np.float32)
    return Trajectories(
        observations=torch.from_numpy(observations),
        actions=torch.from_numpy(actions),
        rewards=torch.from_numpy(np.asarray(episode.rewards).astype(np.float32)),
        starts=torch.tensor([0, moves]),
        terminated=torch.tensor([terminated]),
        # an episode that stops without saying why was cut off by whoever recorded it
        truncated=torch.tensor([not terminated]),
    )


# Writing


def _spec_and_spaces(env: EnvConfig) -> tuple[Any, gymnasium.Env]:
    """Gymnasium's description of the environment and one of its kind."""
    named = env.gymnasium_spec()
    if named is None:
        raise UserError(f"'{env.name}' is no environment that Gymnasium knows by an id, which a Minari dataset names")
    env_id, kwargs = named
    made = made_by_gymnasium(env_id, lambda: gymnasium.make(env_id, **kwargs))
    made.close()
    assert made.spec is not None
    # a class that stands in for an import path cannot be written down; whoever reads it makes the environment by its id
    unnamed = {part: None for part in ("entry_point", "vector_entry_point") if callable(getattr(made.spec, part))}
    return dataclasses.replace(made.spec, **unnamed), made  # type: ignore[arg-type]


def _buffer(trajectories: Trajectories, episode: int, first_action: int) -> Any:
    from minari.data_collector.episode_buffer import EpisodeBuffer

    played = trajectories.select(torch.tensor([episode])).to("cpu")
    moves = played.num_transitions
    last = np.arange(moves) == moves - 1
    return EpisodeBuffer(
        id=episode,
        observations=played.observations.numpy(),  # type: ignore[arg-type]
        actions=played.actions.numpy() + first_action,  # type: ignore[arg-type]
        rewards=played.rewards.numpy(),  # type: ignore[arg-type]
        terminations=last & bool(played.terminated),  # type: ignore[arg-type]
        truncations=last & bool(played.truncated),  # type: ignore[arg-type]
    )
