"""Making demonstrations: from a world's own expert, once for each recipe, or from any policy."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from rich.console import Console

from iqlightning.data.demonstrations import load_demonstrations
from iqlightning.data.write_in_pieces import write_in_pieces
from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.errors import UserError
from iqlightning.files import path_of
from iqlightning.rollout import closing, rollout
from iqlightning.types import EnvConfig, Expert, Policy, Trajectories

__all__ = ["collect", "demonstrations_path", "ensure_demonstrations"]

# Seconds to wait for another process that makes the same file.
_PATIENCE = 600


def collect(
    policy: Policy,
    env: EnvConfig,
    episodes: int,
    seed: int,
    *,
    num_envs: int = 64,
    sample: bool = False,
    device: str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> Trajectories:
    """Plays whole episodes of an environment with a policy, greedily or (``sample``) by drawing.

    Raises:
        UserError: if there is nothing to play.
    """
    if episodes < 1:
        raise UserError(f"episodes must be at least 1, but is {episodes}")
    if hasattr(policy, "begin") and isinstance(env, GymnasiumConfig) and env.vectorization == "auto":
        env = replace(env, vectorization="sync")  # it looks inside the environments
    # Policies draw from torch's generator; seeded here and given back after, so that a file can be made again.
    with (
        closing(env.make_batch(min(num_envs, episodes), seed=seed, split="train", device=device)) as batch,
        torch.random.fork_rng(devices=[] if torch.device(device).type == "cpu" else None),
    ):
        torch.manual_seed(seed)
        return rollout(policy, batch, episodes, sample=sample, progress=progress)


def ensure_demonstrations(env: EnvConfig, episodes: int, seed: int, directory: str | Path = "data") -> Path:
    """The file of demonstrations by the environment's own expert, made if it is not there yet.

    Its name ends in a hash of the recipe, so that another recipe is another file and none is ever overwritten. Of
    several runs that need it at once one makes it and the others wait, where the disk knows locks; where it does not,
    they write the same bytes, each into a file of its own that takes the name when it is whole.

    Raises:
        UserError: if the environment has no expert, or the file is damaged or cannot be written.
    """
    path = demonstrations_path(env, episodes, seed, directory)
    with contextlib.nullcontext() if path.exists() else _alone(path):
        if path.exists():
            try:
                load_demonstrations(path, in_memory=False)  # looks at every byte, whatever the size
            except UserError as error:
                # the name ends in the hash of a recipe: nobody but this function has made it
                raise UserError(f"{error}; delete '{path}', and it is made anew") from error
        else:
            _make(path, env, episodes, seed)
    return path


def _make(path: Path, env: EnvConfig, episodes: int, seed: int) -> None:
    expert = _expert_of(env)
    metadata = {"env": env.to_dict(), "seed": seed, "source": expert.label, "recipe": _recipe(env, episodes, seed)}
    write_in_pieces(path, expert.parts(episodes, seed), metadata)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keeps other processes from making the same file; without locks it is only made more often than need be."""
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            Console(stderr=True).print(
                f"waiting for another process that makes '{path}', up to {_PATIENCE // 60} minutes",
                highlight=False,
                soft_wrap=True,
            )
            lock.acquire(timeout=_PATIENCE)
    except (OSError, NotImplementedError, Timeout):  # writing will tell what is wrong with the disk, if anything is
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # whoever waits for a lock that is gone takes a new one
            Path(lock.lock_file).unlink()
        lock.release()


def demonstrations_path(env: EnvConfig, episodes: int, seed: int, directory: str | Path = "data") -> Path:
    """Where :func:`ensure_demonstrations` keeps the file.

    Raises:
        UserError: if the environment has no expert, or there is nothing to play.
    """
    recipe = _recipe(env, episodes, seed)
    if episodes < 1:
        raise UserError(f"data.episodes must be at least 1, but is {episodes}")
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:8]
    return path_of(directory) / f"{env.name}-e{episodes}-s{seed}-{digest}.safetensors"


def _expert_of(env: EnvConfig) -> Expert:
    if env.expert is None:
        raise UserError(
            f"'{env.name}' has no expert of its own; give data.path, a demonstrations file made with: iqlightning "
            "collect"
        )
    return env.expert


def _recipe(env: EnvConfig, episodes: int, seed: int) -> dict[str, Any]:
    what = {"env": env.to_dict(), "episodes": episodes, "seed": seed, "split": "train"}
    return _expert_of(env).recipe | what
