"""Making demonstrations: from the shortest-path expert, once for each recipe, or from any policy."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from rich.console import Console

from iqlightning.data.disk_trajectories import open_demonstrations
from iqlightning.data.write_in_pieces import write_in_pieces
from iqlightning.errors import UserError
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.expert import shortest_path_parts
from iqlightning.rollout import rollout
from iqlightning.types import EnvConfig, Policy, Trajectories

__all__ = ["collect", "demonstrations_path", "ensure_demonstrations"]

# Raised whenever the expert comes to play differently, so that files of the old one are not taken for its own.
_EXPERT_VERSION = 1

# Seconds to wait for another process that makes the same file.
_PATIENCE = 600


def collect(
    policy: Policy,
    env: EnvConfig,
    episodes: int,
    seed: int,
    *,
    split: str = "train",
    num_envs: int = 64,
    sample: bool = False,
    device: str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> Trajectories:
    """Plays ``episodes`` whole episodes of an environment with a policy.

    Args:
        policy: acts, greedily or (``sample``) by drawing.
        env: the environment.
        episodes: how many.
        seed: of the environments and of drawn actions.
        split: which grids to play on, where the environment has splits.
        num_envs: environments stepped together, at most.
        sample: whether actions are drawn.
        device: where to play.
        progress: called with the number of newly finished episodes.

    Raises:
        UserError: if there is nothing to play.
    """
    if episodes < 1:
        raise UserError(f"episodes must be at least 1, but is {episodes}")
    batch = env.make_batch(min(num_envs, episodes), seed=seed, split=split, device=device)
    # Policies draw from torch's generator; seeded here and given back after, so that a file can be made again.
    with torch.random.fork_rng(devices=[] if torch.device(device).type == "cpu" else None):
        torch.manual_seed(seed)
        return rollout(policy, batch, episodes, sample=sample, progress=progress)


def ensure_demonstrations(
    env: EnvConfig,
    episodes: int,
    seed: int,
    directory: str | Path = "data",
    progress: Callable[[int], None] | None = None,
) -> Path:
    """The file of the shortest-path expert's demonstrations by this recipe, made if it is not there yet.

    Its name ends in a hash of the recipe, so that another recipe is another file and none is ever overwritten. Of
    several runs that need it at once one makes it and the others wait, where the disk knows locks; where it does not,
    they write the same bytes, each into a file of its own that takes the name when it is whole.

    Raises:
        UserError: if the expert cannot play the environment, or the file is damaged or cannot be written.
    """
    path = demonstrations_path(env, episodes, seed, directory)
    with contextlib.nullcontext() if path.exists() else _alone(path):
        if path.exists():
            open_demonstrations(path)[0].close()  # looks at every byte, and fits into memory whatever its size
        else:
            _make(path, env, episodes, seed, progress)
    return path


def _make(path: Path, env: EnvConfig, episodes: int, seed: int, progress: Callable[[int], None] | None) -> None:
    assert isinstance(env, GridWorldConfig)  # demonstrations_path has checked it
    recipe = _recipe(env, episodes, seed)
    parts = shortest_path_parts(env, episodes, seed, progress=progress)
    metadata = {"env": env.to_dict(), "seed": seed, "source": "shortest-path expert", "recipe": recipe}
    write_in_pieces(path, parts, metadata)


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
        UserError: if the expert cannot play the environment, or there is nothing to play.
    """
    if not isinstance(env, GridWorldConfig):
        raise UserError(
            f"the shortest-path expert plays GridWorld only, not '{env.name}'; give data.path, a demonstrations file "
            "made with: iqlightning collect"
        )
    if episodes < 1:
        raise UserError(f"data.episodes must be at least 1, but is {episodes}")
    text = json.dumps(_recipe(env, episodes, seed), sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return Path(directory) / f"{env.name}-e{episodes}-s{seed}-{digest}.safetensors"


def _recipe(env: EnvConfig, episodes: int, seed: int) -> dict[str, Any]:
    expert = {"expert": "shortest_path", "version": _EXPERT_VERSION}
    return expert | {"env": env.to_dict(), "episodes": episodes, "seed": seed, "split": "train"}
