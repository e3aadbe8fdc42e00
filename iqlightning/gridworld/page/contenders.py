"""Who can be watched: checkpoints and the exact optimum, and what each believes about a grid, ready for the page."""

import contextlib
import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from iqlightning.checkpoint_files import SNAPSHOTS, snapshots
from iqlightning.checkpoints import load_policy
from iqlightning.errors import UserError
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.evaluation.value_maps import ValueMaps, maps_of, value_maps
from iqlightning.gridworld.game.layouts import Layouts
from iqlightning.gridworld.game.planning import optimal_values
from iqlightning.policies import AgentPolicy

__all__ = ["OPTIMUM", "Checkpoint", "Contender", "check_playable", "contenders_of", "describe_maps", "labels_of"]

#: Discount and temperature of the exact optimum where it is watched by itself.
OPTIMUM = 0.99, 0.01

#: Algorithms that learn from the true reward, in whose units their values are therefore.
_REWARDED = frozenset({"DQN"})

_DIGITS = 4


def check_playable(policy: AgentPolicy, path: str | Path) -> None:
    """Refuses a checkpoint of another game.

    Raises:
        UserError: names it.
    """
    if not isinstance(policy.env, GridWorldConfig):
        name = "an unknown environment" if policy.env is None else f"'{policy.env.name}'"
        raise UserError(f"'{path}' plays {name}, and only GridWorld can be watched here")


def labels_of(paths: list[str]) -> list[str]:
    """Names for checkpoints, all different: the run's folder as it is called, and the file where that is not best."""
    labels = []
    for path in map(Path, paths):
        folders = [part for part in path.parent.parts if part not in ("logs", "checkpoints", SNAPSHOTS, "/", ".", "..")]
        label = "/".join(folders[-2:]) or path.stem
        labels.append(label if path.stem == "best" or not folders else f"{label}/{path.name}")
    return [label if labels.count(label) == 1 else path for label, path in zip(labels, paths, strict=True)]


def contenders_of(paths: list[str], device: str | torch.device = "cpu") -> list["Contender"]:
    """The checkpoints in the order given, each with the others of its run, and the exact optimum.

    Args:
        paths: of checkpoints, or of runs' folders, which mean their best one.
        device: where to put the policies.

    Raises:
        UserError: if one of them cannot be read, or plays another game.
    """
    contenders = []
    files = [_checkpoint_in(path) for path in paths]
    for path, label in zip(files, labels_of(files), strict=True):
        policy = load_policy(path, device=device)
        check_playable(policy, path)
        series = _series(Path(path), policy.info["updates"])
        contenders.append(Contender(label, policy, device, series))
    return [*contenders, Contender("exact optimum")]


def _checkpoint_in(path: str) -> str:
    """The file itself, or the best one of a run's folder."""
    if not Path(path).is_dir():
        return path
    found = [file for name in ("best", "last") if (file := Path(path) / "checkpoints" / f"{name}.ckpt").is_file()]
    if not found:
        raise UserError(f"the folder '{path}' is no run with a checkpoint (checkpoints/best.ckpt)")
    return str(found[0])


class Checkpoint(NamedTuple):
    """One of a run.

    Attributes:
        updates: made when it was written.
        name: ``best`` or ``last``, both, or nothing.
        path: the file.
    """

    updates: int
    name: str
    path: Path


def _series(path: Path, updates: int) -> tuple[Checkpoint, ...]:
    """The checkpoints of the run that a file is of, by updates; the file itself is always among them."""
    folder = path.parent.parent if path.parent.name == SNAPSHOTS else path.parent
    found = {count: Checkpoint(count, "", file) for count, file in snapshots(folder).items()}
    for name in ("best", "last"):
        file = folder / f"{name}.ckpt"
        count = updates if file == path else None
        if count is None and folder.name == "checkpoints" and file.is_file():
            with contextlib.suppress(UserError):  # a damaged one is left out
                count = load_policy(file).info["updates"]
        if count is None:
            continue
        names = [found[count].name] if count in found and found[count].name else []
        found[count] = Checkpoint(count, ", ".join([*names, name]), file)
    found[updates] = Checkpoint(updates, found[updates].name if updates in found else "", path)
    return tuple(found[count] for count in sorted(found))


@functools.lru_cache(maxsize=64)
def _policy_at(path: Path, device: str) -> AgentPolicy:
    policy = load_policy(path, device=device)
    check_playable(policy, path)
    return policy


@dataclass(frozen=True)
class Contender:
    """A checkpoint, perhaps with the others of its run, or (without a policy) the exact optimum.

    Attributes:
        label: what the page calls it.
        policy: None is the optimum of the true reward.
        device: where the policy is.
        checkpoints: of its run, by updates, its own among them; empty where the policy is all there is.
    """

    label: str
    policy: AgentPolicy | None = None
    device: str | torch.device = "cpu"
    checkpoints: tuple[Checkpoint, ...] = ()

    @property
    def true_units(self) -> bool:
        """Whether V is in units of the true reward."""
        return self.policy is None or self.policy.info.get("algorithm") in _REWARDED

    @property
    def shown(self) -> int:
        """The number of its own checkpoint among those of the run."""
        if self.policy is None or not self.checkpoints:
            return 0
        return [each.updates for each in self.checkpoints].index(self.policy.info["updates"])

    def at(self, checkpoint: int) -> AgentPolicy | None:
        """The policy of one of the checkpoints, read when it is first asked for.

        Raises:
            UserError: if its file cannot be read any more.
        """
        if checkpoint == self.shown:
            return self.policy
        return _policy_at(self.checkpoints[checkpoint].path, str(self.device))

    def describe(self) -> dict[str, Any]:
        """For the page's list."""
        described = {"label": self.label, "checkpoints": [], "shown": self.shown}
        if self.policy is None:
            return described | {"note": "true reward, discount {:g}, temperature {:g}".format(*OPTIMUM)}
        info, env = self.policy.info, self.policy.env
        encoder = type(cast(Any, self.policy.agent).network.encoder).__name__
        series = [{"updates": each.updates, "name": each.name} for each in self.checkpoints]
        described["checkpoints"] = series or [{"updates": info.get("updates", 0), "name": ""}]
        assert isinstance(env, GridWorldConfig)
        settings = {"random_walls": env.random_walls, "random_goal": env.random_goal, "random_start": env.random_start}
        settings |= {"height": env.height, "width": env.width, "num_walls": env.wall_count}
        return described | {"note": f"{info.get('algorithm', '?')}, {encoder}", "trained_on": settings}

    def maps(self, layout: Layouts, checkpoint: int | None = None) -> ValueMaps:
        """What it believes about one grid, at one of the checkpoints; None is its own.

        Raises:
            UserError: if its network cannot play grids of this size, or the checkpoint cannot be read.
        """
        policy = self.policy if checkpoint is None else self.at(checkpoint)
        if policy is None:
            return _optimum(layout)
        try:
            return value_maps(policy, layout, device=self.device)
        except RuntimeError as error:
            env = policy.env
            assert isinstance(env, GridWorldConfig)
            if tuple(layout.walls.shape[1:]) == (env.height, env.width):
                raise
            raise UserError(f"{self.label} plays grids of {env.height}x{env.width} only") from error


def _optimum(layout: Layouts) -> ValueMaps:
    """The exact soft optimum of the true reward, as if a network had learned it."""
    q, v = optimal_values(layout.walls, layout.goal, *OPTIMUM)
    return maps_of(q, v, layout, *OPTIMUM)


def describe_maps(maps: ValueMaps) -> dict[str, Any]:
    """The maps of the first grid as plain lists by flat cell; null where there is nothing to say."""
    return {
        "v": _plain(maps.v[0]),
        "q": _plain(maps.q[0]),
        "greedy": maps.greedy[0].flatten().tolist(),
        "on_path": maps.on_shortest_path[0].int().flatten().tolist(),
        "reward": _plain(maps.greedy_rewards[0]),
        "optimum": _plain(maps.optimal_v[0]),
        "difference": _plain(maps.v[0] - maps.optimal_v[0]),
        "gamma": maps.gamma,
        "temperature": maps.temperature,
    }


def _plain(values: Tensor) -> list[float | None]:
    """JSON knows no nan and no infinity, and nobody reads seventeen digits."""
    return [float(f"{each:.{_DIGITS}g}") if math.isfinite(each) else None for each in values.flatten().tolist()]
