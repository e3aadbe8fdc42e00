"""Thousands of GridWorlds stepped together: the game itself, batched on tensors, on any device."""

from dataclasses import asdict
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float32, Int, UInt8
from torch import Tensor

from iqlightning.errors import UserError, unknown
from iqlightning.gridworld.game.layouts import SPLITS, Layouts
from iqlightning.gridworld.game.observation import PLAYER, WALLS, observe
from iqlightning.gridworld.game.planning import manhattan_distance, shortest_moves
from iqlightning.gridworld.game.pool import InitialStates, LayoutPool
from iqlightning.gridworld.game.rules import edge_table, endings, move_players, move_rewards
from iqlightning.gridworld.game.settings import GridWorldSettings
from iqlightning.types import StepResult

__all__ = ["GridWorldBatch", "MoveResult"]

#: Counters and cells that make up the state, beside the walls, the settings and the seeds.
_STATE = ("_player", "_goal", "_start", "_moves", "_shortest", "_episodes")


class MoveResult(NamedTuple):
    """What one move did, before any new episode begins."""

    rewards: Float32[Tensor, " num_envs"]
    terminated: Bool[Tensor, " num_envs"]
    truncated: Bool[Tensor, " num_envs"]


class GridWorldBatch:
    """N GridWorlds by the rules of :mod:`.rules`; where an episode ends, the next begins on the same step.

    Environment i plays the grids of seed ``seed + i``, episode by episode; which grids these are depends on nothing
    else, neither on the number of environments nor on the device. The observation planes are the state: a move changes
    two cells of each grid in place, and new grids come from a pool drawn ahead.

    Args:
        config: what the grids are made of.
        num_envs: N.
        seed: seed of environment 0, or (N,) int64, one for each.
        every: environment i has seed ``seed + i * every``; more than 1 where others play those between.
        split: ``any``, ``train``, ``validation`` or ``test``.
        device: where everything lives.

    Attributes:
        num_envs: N.
        spaces: of one environment.

    Raises:
        UserError: if there is no such split, or no environment.
    """

    def __init__(
        self,
        config: GridWorldSettings,
        num_envs: int,
        *,
        seed: int | Tensor = 0,
        every: int = 1,
        split: str = "any",
        device: str | torch.device = "cpu",
    ) -> None:
        if num_envs < 1:
            raise UserError(f"num_envs must be at least 1, not {num_envs}")
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        self.config, self.num_envs, self.split = config, num_envs, split
        self.device = torch.device(device)
        self.spaces = config.spaces
        self._given: Layouts | None = None  # grids to play again and again instead of drawing
        self._planes = torch.zeros((num_envs, 3, config.num_cells), dtype=torch.uint8, device=self.device)
        self._cells = self._planes.view(-1)
        self._filled = self._cells.view(torch.bool)
        self._shown = self._planes.view(-1, 3, config.height, config.width)
        self._edges = edge_table(config.height, config.width, self.device).flatten()
        self._envs = torch.arange(num_envs, device=self.device)
        self._grids = self._envs * (3 * config.num_cells)  # where each one's walls begin among the cells
        self._players = self._grids + PLAYER * config.num_cells
        # Rows as in InitialStates.state. The shortest way is found when it is asked for; it is -1 until then.
        self._state = torch.zeros((5, num_envs), dtype=torch.int64, device=self.device)
        self._start, self._player, self._goal, self._moves, self._shortest = self._state.unbind(0)
        self._begun = False
        seeds = self._envs * every + _signed(seed) if isinstance(seed, int) else seed
        self._seeds = seeds.to(self.device, torch.int64).clone()
        self._episodes = torch.zeros_like(self._seeds)  # the episode that comes next
        self._pool = LayoutPool(config, self._seeds, split)

    @classmethod
    def from_layouts(cls, config: GridWorldSettings, layouts: Layouts, **options: Any) -> "GridWorldBatch":
        """One environment for each given grid, which is played again whenever its episode ends; ready to be stepped."""
        batch = cls(config, len(layouts.goal), **{"device": layouts.goal.device, **options})
        layouts = layouts.to(batch.device)
        if layouts.walls.shape[1:] != (config.height, config.width):
            raise UserError(f"grids of shape {tuple(layouts.walls.shape[1:])} are not {config.height}x{config.width}")
        batch._given = layouts
        batch.reset()
        return batch

    def seed(self, seeds: Int[Tensor, " count"], envs: Int[Tensor, " count"] | None = None) -> None:
        """Gives some environments (all by default) new seeds; their next episode is number 0, at the next reset."""
        envs = self._envs if envs is None else envs
        seeds = seeds.to(self.device, torch.int64)
        self._seeds[envs] = seeds
        self._episodes[envs] = 0
        self._pool.reseed(envs, seeds)

    # The present state

    @property
    def observations(self) -> UInt8[Tensor, "num_envs 3 height width"]:
        """What to act on now."""
        return self._shown.clone()

    @property
    def layouts(self) -> Layouts:
        """The grids of the current episodes, as they were before the first move."""
        return Layouts(self._shown[:, WALLS].to(torch.bool), self._start.clone(), self._goal.clone())

    @property
    def player(self) -> Int[Tensor, " num_envs"]:
        """Flat cells of the players."""
        return self._player.clone()

    @property
    def moves(self) -> Int[Tensor, " num_envs"]:
        """Moves made in the current episodes."""
        return self._moves.clone()

    @property
    def shortest(self) -> Int[Tensor, " num_envs"]:
        """Moves that the shortest way from the start of the current episode to its goal takes."""
        unknown = (self._shortest < 0).nonzero().squeeze(1)
        if len(unknown) and self._begun:
            self._shortest[unknown] = shortest_moves(*self.layouts.select(unknown))
        return self._shortest.clone()

    @property
    def manhattan(self) -> Int[Tensor, " num_envs"]:
        """|dx| + |dy| from the start of the current episode to its goal."""
        return manhattan_distance(self._start, self._goal, self.config.width)

    # Playing

    def reset(self) -> UInt8[Tensor, "num_envs 3 height width"]:
        """Begins the next episode everywhere (episode 0 at first) and returns the first observations."""
        self.restart(self._envs)
        self._begun = True
        return self.observations

    def step(self, actions: Int[Tensor, " num_envs"]) -> StepResult:
        """Makes one move in each grid and begins a new episode where that ended one.

        Raises:
            RuntimeError: before the first :meth:`reset`.
            ValueError: if there is not one action of 0, 1, 2 and 3 for each environment; nothing has moved then.
        """
        result = self.move(actions)
        successor = self._shown.clone()
        ended = (result.terminated | result.truncated).nonzero().squeeze(1)
        if len(ended):
            self.restart(ended)
        return StepResult(self.observations, successor, *result)

    def move(self, actions: Int[Tensor, " num_envs"]) -> MoveResult:
        """One move in each grid, without beginning new episodes; raises as :meth:`step` does."""
        if not self._begun:
            raise RuntimeError("call reset() before the first step")
        left = self._player + self._players
        move_players(self._player, actions, self._edges, self._filled, self._grids, out=self._player)
        self._cells.scatter_(0, left, 0).scatter_(0, self._player + self._players, 1)
        self._moves += 1
        terminated, truncated = endings(self._player, self._goal, self._moves, self.config.move_limit)
        return MoveResult(move_rewards(terminated), terminated, truncated)

    def restart(self, envs: Int[Tensor, " count"]) -> None:
        """Begins the next episode of some environments (indices, each at most once)."""
        if self._given is None:
            initial = self._pool.take(envs, self._episodes)
        else:
            initial = InitialStates.of(self._given.select(envs))
        self._episodes.index_add_(0, envs, torch.ones_like(envs))
        self._planes.index_copy_(0, envs, initial.planes)
        self._state.index_copy_(1, envs, initial.state)

    # Saving

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to continue exactly; grids drawn ahead follow from the seeds."""
        state: dict[str, Any] = {name.strip("_"): getattr(self, name).clone() for name in _STATE}
        state["shortest"] = self.shortest
        state |= {"seeds": self._seeds.clone(), "walls": self._planes[:, WALLS].clone(), "begun": self._begun}
        state |= {"split": self.split, "config": asdict(self.config)}
        if self._given is not None:
            state["given"] = self._given._asdict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores :meth:`state_dict` in an environment of the same configuration, split and size.

        Raises:
            UserError: if they differ.
        """
        config = {name: value for name, value in state["config"].items() if name != "kind"}  # older files have one
        if config != asdict(self.config) or state["split"] != self.split:
            raise UserError(f"the saved state is of another GridWorld: {config}, split {state['split']}")
        if len(state["seeds"]) != self.num_envs:
            raise UserError(f"the saved state is of {len(state['seeds'])} environments, not of {self.num_envs}")
        self.seed(state["seeds"])
        for name in _STATE:
            getattr(self, name).copy_(state[name.strip("_")])
        self._pool.skip_to(self._episodes)
        self._begun = state["begun"]
        given = state.get("given")
        if given is not None:
            given = Layouts(given["walls"], given["start"], given["goal"]).to(self.device)
        self._given = given
        self._planes.zero_()
        if self._begun:
            walls = state["walls"].to(self.device, torch.bool).view(-1, self.config.height, self.config.width)
            self._shown.copy_(observe(walls, self._player, self._goal))


def _signed(seed: int) -> int:
    """Any Python integer as one of 64 bits."""
    return (seed + (1 << 63)) % (1 << 64) - (1 << 63)
