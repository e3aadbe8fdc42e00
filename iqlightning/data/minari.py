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

from iqlightning.data.fitting import fitted
from iqlightning.data.recording import Recording, recording_of_episodes
from iqlightning.data.validation import check_arrays, check_fits
from iqlightning.documents import read_json
from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.envs.making import made_by_gymnasium
from iqlightning.envs.wrappers import named_wrappers
from iqlightning.errors import UserError, unknown
from iqlightning.observation_codec import ObservationCodec
from iqlightning.registration import KIND_OF_ID, env_config_of_gymnasium
from iqlightning.spaces import num_actions
from iqlightning.types import EnvConfig, Trajectories

# bytes
_LARGEST_METADATA = 16 << 20

__all__ = ["check_new_minari", "from_minari", "read_minari", "to_minari"]

# What an environment gives and takes is the same through these.
_WRAPPERS_THAT_CHANGE_NOTHING = (
    "Autoreset",
    "DataCollector",
    "HumanRendering",
    "OrderEnforcing",
    "PassiveEnvChecker",
    "RecordEpisodeStatistics",
    "RecordVideo",
    "RenderCollection",
    "TimeLimit",
)

# Ids of this package's own environments, by their kinds.
_ID_OF_KIND = {kind: env_id for env_id, kind in KIND_OF_ID.items()}

# As Minari's own, but every part of the path begins with a letter, a digit or an underscore, and there is a version.
_ID = re.compile(r"(\w[\w-]*/)*\w[\w-]*-v\d+", re.ASCII)


def read_minari(dataset: str, env: EnvConfig | None = None) -> Recording:
    """Reads a dataset from Minari's folder (``MINARI_DATASETS_PATH``, else ``~/.minari/datasets``) or any other.

    Its environment is the one that the dataset names, with the time limit that it was recorded under.

    Args:
        dataset: an identifier such as ``CartPole-v1/expert-v0``, or the path of a dataset's folder.
        env: the environment it is of; None means the one that the dataset names, which must be registered.

    Raises:
        UserError: if Minari is not installed; if there is no such dataset, or it is damaged; if its actions are neither
            discrete nor a box, or its observations hold anything but numbers; if it was recorded through wrappers that
            change what an environment gives, and no environment with the same ones is named.
    """
    minari = _minari()
    folder = _folder_of(dataset)
    raw = _metadata_of(folder, dataset)
    env, notes = _env_of(raw, dataset, env)
    name = f"the Minari dataset '{dataset}'"
    try:
        # the spaces are in the metadata, and so nothing is made or imported here
        stored = minari.MinariDataset(folder)
        _check_spaces(stored.observation_space, stored.action_space, dataset)
        episodes = list(stored.iterate_episodes())
    except (OSError, KeyError, ValueError, TypeError, AssertionError, AttributeError, RuntimeError) as error:
        raise UserError(f"{name} is damaged or of another version: {error}") from error
    if not episodes:
        raise UserError(f"{name} holds no episode")
    recording = recording_of_episodes(
        dataset,
        [_encoded(each.observations, env, dataset) for each in episodes],
        *([getattr(each, part) for each in episodes] for part in ("actions", "rewards")),
        *([getattr(each, part) for each in episodes] for part in ("terminations", "truncations")),
    )
    recording.env, recording.source = env, f"Minari's {raw['dataset_id']}"
    recording.notes += notes
    if isinstance(stored.action_space, spaces.Discrete):
        recording.first_action = int(stored.action_space.start)
    return recording


def from_minari(dataset: str, env: EnvConfig | None = None) -> tuple[Trajectories, EnvConfig, str]:
    """The episodes of a dataset as demonstrations; arguments and errors as of :func:`read_minari`.

    Returns:
        All episodes in order on the CPU, their environment, and the identifier that the dataset gives
        itself. Actions count from 0, observations keep
        uint8 and become float32 otherwise.

    Raises:
        UserError: also if the episodes do not fit the environment, or a number is not finite.
    """
    recording = read_minari(dataset, env)
    assert recording.env is not None
    trajectories = fitted(recording, recording.env.spaces, env=recording.env)
    return trajectories, recording.env, str(_metadata_of(_folder_of(dataset), dataset)["dataset_id"])


def to_minari(dataset: str, trajectories: Trajectories, env: EnvConfig, source: str) -> Path:
    """Writes episodes as a new dataset into Minari's folder, such that :func:`from_minari` reads the same again.

    Args:
        dataset: its identifier, such as ``CartPole-v1/expert-v0``; it must be new.
        trajectories: what to write.
        env: the environment they are of; one that Gymnasium can make by its id.
        source: who acted, Minari's ``algorithm_name``.

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
    observations = trajectories.observations_at(trajectories.first_rows(torch.zeros(1, dtype=torch.int64))).cpu()
    dtype = observations.numpy().dtype
    shape = tuple(observations.shape[1:])
    box = made.observation_space
    if env.spaces.codec is not None:
        box = env.spaces.codec.native
    elif not (isinstance(box, spaces.Box) and box.dtype == dtype and box.shape == shape):
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
                [
                    _buffer(trajectories, episode, start, env.spaces.codec)
                    for episode in range(trajectories.num_episodes)
                ],
                env=None,  # its spaces may be of another dtype than what was played
                observation_space=box,
                action_space=actions,
                algorithm_name=source,
                author="iqlightning",
                description=f"{trajectories.num_episodes} episodes of {env.name} by {source}",
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
        missing = f"there is no Minari dataset '{dataset}' in '{_root()}', nor any other"
        missing = str(unknown(f"Minari dataset in '{_root()}' called", dataset, there)) if there else missing
        raise UserError(f"{missing}; one of Minari's own is fetched with: minari download {dataset}")
    return folder


def _metadata_of(folder: Path, dataset: str) -> Mapping[str, Any]:
    try:
        raw = read_json(folder / "metadata.json", _LARGEST_METADATA)
    except (OSError, UserError) as error:
        raise UserError(
            f"the Minari dataset '{dataset}' is damaged: its metadata.json cannot be read ({error})"
        ) from error
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


def _env_of(raw: Mapping[str, Any], dataset: str, named: EnvConfig | None) -> tuple[EnvConfig, list[str]]:
    """The environment that the dataset names, by its id and arguments alone, and what there is to say of it."""
    try:
        spec = json.loads(raw.get("env_spec") or "{}")
        env_id, kwargs = spec.get("id"), dict(spec.get("kwargs") or {})
        wrappers = {each["name"]: each.get("kwargs") or {} for each in spec.get("additional_wrappers") or ()}
        limit = dict(wrappers.get("TimeLimit", {})).get("max_episode_steps", spec.get("max_episode_steps"))
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        raise UserError(f"the Minari dataset '{dataset}' is damaged: its env_spec cannot be read") from error
    changing = [name for name in wrappers if name not in _WRAPPERS_THAT_CHANGE_NOTHING]
    same = named is None or env_id == (
        named.id if isinstance(named, GymnasiumConfig) else _ID_OF_KIND.get(type(named).__name__)
    )
    own = changing  # what lies behind another id is for its author to know
    if same:
        wrappers_of_named = named_wrappers(named.wrappers) if isinstance(named, GymnasiumConfig) else []
        own = [each["class_path"].rpartition(".")[2] for each in wrappers_of_named]
        own = [name for name in own if name not in _WRAPPERS_THAT_CHANGE_NOTHING]
    if changing != own:
        through, has = (" and ".join(each) or "no wrapper" for each in (changing, own))
        raise UserError(
            f"the Minari dataset '{dataset}' was recorded through {through}, and the environment has {has}, so that "
            "observations, rewards or actions are others: name the same ones with --wrappers, or register an "
            "environment that has them under an id of its own, and name it with --gym ID"
        )
    if named is not None:
        notes = [] if same or env_id is None else [f"it says that it is of '{env_id}', and is taken for '{named.name}'"]
        if changing:
            notes.append(f"it was recorded through {' and '.join(changing)}: '{named.name}' must give the same")
        return named, notes
    if not isinstance(env_id, str):
        raise UserError(
            f"the Minari dataset '{dataset}' does not say which environment it is of: name it with --gym ID"
        )
    notes = []
    registered = gymnasium.registry.get(env_id)
    if registered is not None and "max_episode_steps" in spec and limit != registered.max_episode_steps:
        kwargs["max_episode_steps"] = -1 if limit is None else limit  # -1 is Gymnasium's word for none
        usual, own = (each or "none" for each in (registered.max_episode_steps, limit))
        notes.append(f"it has a time limit of {own} steps, which is kept; that of '{env_id}' is {usual}")
    try:
        return env_config_of_gymnasium(env_id, kwargs), notes
    except UserError as error:
        raise UserError(f"the Minari dataset '{dataset}' is of an environment that cannot be: {error}") from error


# Reading


def _encoded(observations: Any, env: EnvConfig, dataset: str) -> Any:
    """Dictionaries and tuples of arrays as the rows that the environment's are encoded to; arrays as they are."""
    if not isinstance(observations, (Mapping, tuple)):
        return observations
    codec = env.spaces.codec
    if codec is None:
        raise UserError(
            f"the observations of the Minari dataset '{dataset}' are a {type(observations).__name__.capitalize()}, and "
            f"those of '{env.name}' are not"
        )
    return codec.encode(observations, f"the Minari dataset '{dataset}'").numpy()


def _check_spaces(observations: Any, actions: Any, dataset: str) -> None:
    for name, space, valid in (
        ("actions", actions, (spaces.Discrete, spaces.Box)),
        (
            "observations",
            observations,
            (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary, spaces.Dict, spaces.Tuple),
        ),
    ):
        if not isinstance(space, valid):
            raise UserError(
                f"the {name} of the Minari dataset '{dataset}' are {type(space).__name__}; only "
                f"{' and '.join(each.__name__ for each in valid)} ones are supported"
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


def _buffer(trajectories: Trajectories, episode: int, first_action: int, codec: ObservationCodec | None) -> Any:
    from minari.data_collector.episode_buffer import EpisodeBuffer

    played = trajectories.select(torch.tensor([episode])).to("cpu")
    moves = played.num_transitions
    last, ordered = np.arange(moves) == moves - 1, played.observations_in_order()
    return EpisodeBuffer(
        id=episode,
        observations=ordered.numpy() if codec is None else codec.decode(ordered),  # type: ignore[arg-type]
        actions=played.actions.numpy() + first_action,  # type: ignore[arg-type]
        rewards=played.rewards.numpy(),  # type: ignore[arg-type]
        terminations=last & bool(played.terminated),  # type: ignore[arg-type]
        truncations=last & bool(played.truncated),  # type: ignore[arg-type]
    )
