"""Thousands of GridWorlds stepped together: the game itself, batched on tensors, on any device."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float32, Int, UInt8
from torch import Tensor

from iqlightning.errors import UserError, unknown
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.game.compiled import TENSORS, CompiledGame, load_library
from iqlightning.gridworld.game.layouts import SPLITS, Layouts
from iqlightning.gridworld.game.observation import GOAL, PLAYER, WALLS
from iqlightning.gridworld.game.planning import GOAL_REWARD, MOVE_REWARD, edge_table, shortest_moves
from iqlightning.gridworld.game.pool import Beginnings, LayoutPool, in_words
from iqlightning.types import StepResult

__all__ = ["GridWorldBatch", "MoveResult"]

_BAD_ACTION = "actions must be 0 (up), 1 (right), 2 (down) or 3 (left)"

#: Planes and counters that make up the state, beside the configuration and the seeds.
_STATE = ("_player", "_goal", "_start", "_moves", "_shortest", "_episodes")


class MoveResult(NamedTuple):
    """What one move did, before any new episode begins."""

    rewards: Float32[Tensor, " num_envs"]
    terminated: Bool[Tensor, " num_envs"]
    truncated: Bool[Tensor, " num_envs"]


class GridWorldBatch:
    """N GridWorlds with the rules of :class:`GridWorldConfig`; where an episode ends, the next begins on the same step.

    Environment i plays the grids of seed ``seed + i``, episode by episode; which grids these are depends on nothing
    else, neither on the number of environments nor on the device. The observation planes are the state: a move changes
    two cells of each grid in place, and new grids come from a pool drawn ahead.

    Args:
        config: the game.
        num_envs: N.
        seed: seed of environment 0, or (N,) int64, one for each.
        every: environment i has seed ``seed + i * every``; more than 1 where others play those between.
        split: ``any``, ``train``, ``validation`` or ``test``.
        device: where everything lives.
        copy_observations: whether returned observations are copies. If not, they are valid until the next step only,
            which saves two copies of the whole batch a step.
        compile: whether steps and the usual grids are made by a compiled program, several times as fast and with the
            same numbers. Needs a C compiler and the CPU; says so in one sentence where it finds none.

    Attributes:
        num_envs: N.
        observation_shape: (3, H, W).
        num_actions: 4.

    Raises:
        UserError: if there is no such split, or no environment.
    """

    num_actions = 4

    def __init__(
        self,
        config: GridWorldConfig,
        num_envs: int,
        *,
        seed: int | Tensor = 0,
        every: int = 1,
        split: str = "any",
        device: str | torch.device = "cpu",
        copy_observations: bool = True,
        compile: bool = False,
    ) -> None:
        if num_envs < 1:
            raise UserError(f"num_envs must be at least 1, not {num_envs}")
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        self.config, self.num_envs, self.split, self.copy_observations = config, num_envs, split, copy_observations
        self.device = torch.device(device)
        self.spaces = config.spaces
        self._given: Layouts | None = None  # grids to play again and again instead of drawing
        self._planes = torch.zeros((num_envs, 3, config.num_cells), dtype=torch.uint8, device=self.device)
        self._cells = self._planes.view(-1)
        self._filled = self._cells.view(torch.bool)
        self._successor = torch.empty_like(self._planes)
        self._words, self._successor_words = in_words(self._planes), in_words(self._successor)
        self._shown, self._shown_successor = self._shaped(self._planes), self._shaped(self._successor)
        self._edges = edge_table(config.height, config.width, self.device).flatten()
        self._envs = torch.arange(num_envs, device=self.device)
        self._offsets = self._envs * (3 * config.num_cells)
        self._players = self._offsets + PLAYER * config.num_cells
        self._zeros, self._ones = (
            torch.arange(2, dtype=torch.uint8, device=self.device).repeat_interleave(num_envs).chunk(2)
        )
        self._move_reward, self._goal_reward = torch.tensor([MOVE_REWARD, GOAL_REWARD], device=self.device)
        self._left = self._reached = torch.empty(0)  # where the last move took players from and to
        self._placed: list[Tensor] | None = None  # where _successor differs from _planes but for a move; None: anywhere
        # Rows as in Beginnings.state. The shortest way is found when it is asked for; it is -1 until then.
        self._state = torch.zeros((5, num_envs), dtype=torch.int64, device=self.device)
        self._start, self._player, self._goal, self._moves, self._shortest = self._state.unbind(0)
        self._begun = False
        seeds = self._envs * every + _signed(seed) if isinstance(seed, int) else seed
        self._seeds = seeds.to(self.device, torch.int64).clone()
        self._episodes = torch.zeros_like(self._seeds)  # the episode that comes next
        self._pool = LayoutPool(config, self._seeds, split)
        self._compiled: CompiledGame | None = None
        self._stale = torch.ones(num_envs, dtype=torch.bool, device=self.device)  # where _successor is of another grid
        self._ended = torch.empty_like(self._envs)
        if compile and self.device.type == "cpu" and (library := load_library()) is not None:
            tensors = {name: getattr(self, f"_{name}") for name in TENSORS}
            self._compiled = CompiledGame(library, config, split, tensors)

    @classmethod
    def from_layouts(cls, config: GridWorldConfig, layouts: Layouts, **options: Any) -> "GridWorldBatch":
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
        return self._shown.clone() if self.copy_observations else self._shown

    @property
    def layouts(self) -> Layouts:
        """The grids of the current episodes, as they were before the first move."""
        walls = self._planes[:, WALLS].to(torch.bool).view(-1, self.config.height, self.config.width)
        return Layouts(walls, self._start.clone(), self._goal.clone())

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
        width = self.config.width
        rows, columns = self._start // width - self._goal // width, self._start % width - self._goal % width
        return rows.abs() + columns.abs()

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
            ValueError: if an action is not 0, 1, 2 or 3.
        """
        if self._compiled is not None:
            result, ended = self._compiled_move(self._compiled, actions, restart=self._given is None)
            successor = self._shown_successor
        else:
            result = self._made(actions)
            successor = self._shown if self.copy_observations else self._followed()
            ended = (result.terminated | result.truncated).nonzero().squeeze(1)
        if self.copy_observations:
            successor = successor.clone()
        if len(ended):
            self.restart(ended)
        return StepResult(self.observations, successor, *result)

    def _followed(self) -> Tensor:
        """The successors of the last move: two cells of each grid change, or all of a grid that has begun since."""
        if self._placed is None:
            self._successor.copy_(self._planes)
        else:
            for envs in self._placed:
                self._successor_words.index_copy_(0, envs, self._words.index_select(0, envs))
            cells = self._successor.view(-1)
            cells.scatter_(0, self._left, self._zeros).scatter_(0, self._reached, self._ones)
        self._placed = []
        return self._shown_successor

    def move(self, actions: Int[Tensor, " num_envs"]) -> MoveResult:
        """One move in each grid, without beginning new episodes; raises as :meth:`step` does."""
        if self._compiled is not None:
            return self._compiled_move(self._compiled, actions, restart=False)[0]
        self._placed = None  # no successors are written
        return self._made(actions)

    def _made(self, actions: Tensor) -> MoveResult:
        self._require_begun()
        lowest, highest = torch.aminmax(actions)
        if lowest < 0 or highest > 3:
            raise ValueError(_BAD_ACTION)
        target = self._edges.index_select(0, torch.add(actions, self._player, alpha=4))
        blocked = self._filled.index_select(0, target + self._offsets)
        # a tensor of equal numbers is scattered faster than one number
        self._left = self._player + self._players
        self._cells.scatter_(0, self._left, self._zeros)
        torch.where(blocked, self._player, target, out=self._player)
        self._reached = self._player + self._players
        self._cells.scatter_(0, self._reached, self._ones)
        self._moves += 1
        terminated = self._player == self._goal
        truncated = (self._moves >= self.config.move_limit).bitwise_and_(~terminated)
        return MoveResult(torch.where(terminated, self._goal_reward, self._move_reward), terminated, truncated)

    def _compiled_move(
        self, game: CompiledGame, actions: Tensor, *, restart: bool
    ) -> tuple[MoveResult, Int[Tensor, " ended"]]:
        """The same in one pass, and which ended episodes are still to be begun anew."""
        self._require_begun()
        if actions.shape != self._envs.shape:
            raise ValueError(f"actions of shape {tuple(actions.shape)} do not fit {self.num_envs} environments")
        made = game.move(actions.to(torch.int64).contiguous(), restart=restart)
        if made is None:
            raise ValueError(_BAD_ACTION)
        return MoveResult(*made[0]), made[1]

    def restart(self, envs: Int[Tensor, " count"]) -> None:
        """Begins the next episode of some environments (indices, each at most once)."""
        if self._compiled is not None and self._given is None:
            envs = self._compiled.restart(envs)
            if not len(envs):
                return
        if self._given is None:
            begun = self._pool.take(envs, self._episodes)
        else:
            begun = Beginnings.of(self._given.select(envs))
        self._episodes.index_add_(0, envs, torch.ones_like(envs))
        self._place(envs, begun)

    def set_state(self, layouts: Layouts, player: Int[Tensor, " num_envs"]) -> None:
        """Puts every environment at the beginning of an episode on a given grid, the player at ``player``.

        When that episode ends the environment goes on with its own grids.
        """
        started = Layouts(layouts.walls, player, layouts.goal).to(self.device)
        self._place(self._envs, Beginnings.of(started))
        self._begun = True

    def _place(self, envs: Tensor, begun: Beginnings) -> None:
        self._words.index_copy_(0, envs, in_words(begun.planes))
        self._state.index_copy_(1, envs, begun.state)
        if self._compiled is not None:
            self._stale.index_fill_(0, envs, True)
        elif self._placed is not None:
            self._placed.append(envs)

    def _require_begun(self) -> None:
        if not self._begun:
            raise RuntimeError("call reset() before the first step")

    def _shaped(self, planes: Tensor) -> Tensor:
        return planes.view(-1, 3, self.config.height, self.config.width)

    # Saving

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to continue exactly; grids drawn ahead follow from the seeds."""
        state: dict[str, Any] = {name.strip("_"): getattr(self, name).clone() for name in _STATE}
        state["shortest"] = self.shortest
        state |= {"seeds": self._seeds.clone(), "walls": self._planes[:, WALLS].clone(), "begun": self._begun}
        state |= {"split": self.split, "config": self.config.to_dict()}
        if self._given is not None:
            state["given"] = self._given._asdict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores :meth:`state_dict` in an environment of the same configuration, split and size.

        Raises:
            UserError: if they differ.
        """
        if state["config"] != self.config.to_dict() or state["split"] != self.split:
            raise UserError(f"the saved state is of another GridWorld: {state['config']}, split {state['split']}")
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
        self._stale.fill_(True)
        self._placed = None
        if self._begun:
            self._planes[:, WALLS] = state["walls"].to(self.device)
            self._planes[:, PLAYER].scatter_(1, self._player.unsqueeze(1), 1)
            self._planes[:, GOAL].scatter_(1, self._goal.unsqueeze(1), 1)


def _signed(seed: int) -> int:
    """Any Python integer as one of 64 bits."""
    return (seed + (1 << 63)) % (1 << 64) - (1 << 63)
