"""Who can be watched: checkpoints and the exact optimum, and what each believes about a grid, ready for the page."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from iqlightning.errors import UserError
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.evaluation.value_maps import ValueMaps, value_maps
from iqlightning.gridworld.game.layouts import Layouts
from iqlightning.gridworld.game.planning import optimal_actions, optimal_values, shortest_paths
from iqlightning.gridworld.game.rules import next_cells, transition_rewards
from iqlightning.policies import AgentPolicy

__all__ = ["Contender", "check_playable", "describe_maps", "labels_of"]

#: Of the exact optimum where it is watched by itself.
_GAMMA, _TEMPERATURE = 0.99, 0.01

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
    """Short names for checkpoints, all different: the run and its version, and the file where that is not best."""
    labels = []
    for path in map(Path, paths):
        folders = [part for part in path.parent.parts if part not in ("logs", "checkpoints", "/", ".", "..")]
        label = " ".join(folders[-2:]) or path.stem
        labels.append(label if path.stem == "best" or not folders else f"{label} {path.stem}")
    return [label if labels.count(label) == 1 else path for label, path in zip(labels, paths, strict=True)]


@dataclass(frozen=True)
class Contender:
    """A checkpoint, or (without a policy) the exact optimum.

    Attributes:
        label: what the page calls it.
        policy: None is the optimum of the true reward.
        device: where the policy is.
    """

    label: str
    policy: AgentPolicy | None = None
    device: str | torch.device = "cpu"

    def describe(self) -> dict[str, Any]:
        """For the page's list."""
        if self.policy is None:
            return {"label": self.label, "note": f"true reward, discount {_GAMMA:g}, temperature {_TEMPERATURE:g}"}
        info, env = self.policy.info, self.policy.env
        encoder = type(cast(Any, self.policy.agent).network.encoder).__name__
        note = f"{info.get('algorithm', '?')}, {encoder}, {info.get('updates', 0):,} updates"
        assert isinstance(env, GridWorldConfig)
        settings = {"random_walls": env.random_walls, "random_goal": env.random_goal, "random_start": env.random_start}
        settings |= {"height": env.height, "width": env.width, "num_walls": env.wall_count}
        return {"label": self.label, "note": note, "trained_on": settings}

    def maps(self, layout: Layouts) -> ValueMaps:
        """What it believes about one grid.

        Raises:
            UserError: if its network cannot play grids of this size.
        """
        if self.policy is None:
            return _optimum(layout)
        try:
            return value_maps(self.policy, layout, device=self.device)
        except RuntimeError as error:
            env = self.policy.env
            assert isinstance(env, GridWorldConfig)
            if tuple(layout.walls.shape[1:]) == (env.height, env.width):
                raise
            raise UserError(f"{self.label} plays grids of {env.height}x{env.width} only") from error


def _optimum(layout: Layouts) -> ValueMaps:
    """The exact soft optimum of the true reward, as if a network had learned it."""
    walls, _, goal = layout
    shape = (*walls.shape, 4)
    q, v = optimal_values(walls, goal, _GAMMA, _TEMPERATURE)
    moves = next_cells(walls)
    distances = shortest_paths(walls, goal)
    cells = torch.arange(v.shape[1])
    nowhere = walls.flatten(1) | (cells == goal[:, None])
    undecided = nowhere | v.isnan()
    v = v.masked_fill(undecided, math.nan).view(walls.shape)
    rewards = transition_rewards(moves, goal)[0].masked_fill(undecided[..., None], math.nan)
    greedy = q.nan_to_num(-math.inf).argmax(-1)
    best = optimal_actions(distances, walls).gather(2, greedy[..., None]).squeeze(2)
    return ValueMaps(
        layouts=layout,
        v=v,
        q=q.masked_fill(undecided[..., None], math.nan).view(shape),
        greedy=greedy.masked_fill(undecided, -1).view(walls.shape),
        on_shortest_path=best.view(walls.shape),
        rewards=rewards.view(shape),
        greedy_rewards=rewards.gather(2, greedy[..., None]).view(walls.shape),
        optimal_v=v,
        reachable=distances > 0,
        gamma=_GAMMA,
        temperature=_TEMPERATURE,
    )


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
