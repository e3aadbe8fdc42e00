"""GridWorld as a Gymnasium vector environment: thousands of grids, stepped as one batch of tensors."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from iqlightning.errors import unknown
from iqlightning.gridworld.game.env import RENDER_MODES, check_render_mode, draw_frame
from iqlightning.gridworld.game.settings import GridWorldSettings
from iqlightning.gridworld.game.state import GridWorldBatch

__all__ = ["GridWorldVectorEnv"]


class GridWorldVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """N GridWorlds that behave as N single ones in ``SyncVectorEnv`` would, at millions of steps a second.

    ``reset(seed=s)`` gives environment i seed s + i. Infos are those of the single environment as arrays, with the
    masks that Gymnasium adds. ``batch`` is the batch of tensors behind it. What is not told here is told of
    :class:`GridWorldEnv`.

    Args:
        num_envs: N.
        render_mode: ``rgb_array`` or ``ansi``; one picture for each environment.
        autoreset_mode: Gymnasium's: ``NextStep`` (an ended environment ignores its next action and begins anew),
            ``SameStep`` (it begins anew at once, the last observation and info are in the infos as ``final_obs`` and
            ``final_info``) or ``Disabled`` (reset ended ones with ``options={"reset_mask": ...}``).

    Raises:
        UserError: if no such grid can exist, or there is no such split, render or autoreset mode.
    """

    def __init__(
        self,
        num_envs: int = 1,
        height: int = 10,
        width: int = 10,
        num_walls: int | None = None,
        wall_density: float | None = None,
        random_start: bool = True,
        random_walls: bool = True,
        random_goal: bool = True,
        max_moves: int | None = None,
        split: str = "any",
        render_mode: str | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        layout: str = "random",
        min_size: int | None = None,
    ) -> None:
        modes = {mode.value: mode for mode in AutoresetMode}
        name = autoreset_mode.value if isinstance(autoreset_mode, AutoresetMode) else str(autoreset_mode)
        if name not in modes:
            raise unknown("autoreset mode", name, modes)
        self.autoreset_mode = modes[name]
        level = GridWorldSettings.level_of(random_walls, random_goal)
        self.config = GridWorldSettings(
            level, height, width, num_walls, wall_density, random_start, max_moves, layout, min_size
        )
        self.batch = GridWorldBatch(self.config, num_envs, split=split)
        self.num_envs = num_envs
        self.render_mode = check_render_mode(render_mode)
        self.metadata = {"render_modes": RENDER_MODES, "render_fps": 4, "autoreset_mode": self.autoreset_mode}
        self.single_observation_space, self.single_action_space = self.config.spaces[:2]
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._seeded = np.zeros(num_envs, dtype=bool)
        self._ended = torch.zeros(num_envs, dtype=torch.bool)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begins episodes, everywhere or where ``options["reset_mask"]`` is true; environment i takes seed + i.

        Raises:
            ValueError: if there are not as many seeds as environments, or the mask is not a boolean for each.
        """
        super().reset(seed=seed if isinstance(seed, int) else None)
        mask = np.ones(self.num_envs, dtype=bool)
        if options is not None and "reset_mask" in options:
            mask = np.asarray(options["reset_mask"])
            if mask.shape != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
                raise ValueError(f"reset_mask must hold {self.num_envs} booleans, at least one of them true")
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else seed or [None] * self.num_envs
        if len(seeds) != self.num_envs:
            raise ValueError(f"{len(seeds)} seeds do not fit {self.num_envs} environments")
        chosen = np.flatnonzero(mask).tolist()
        fresh = {i: seeds[i] for i in chosen if seeds[i] is not None or not self._seeded[i]}
        if fresh:
            drawn = [int(self.np_random.integers(1 << 31)) if given is None else given for given in fresh.values()]
            self.batch.seed(torch.tensor(drawn), torch.tensor(list(fresh)))
            self._seeded[list(fresh)] = True
        if mask.all():
            self.batch.reset()
        else:
            self._need_reset(not self._seeded.all())
            self.batch.restart(torch.tensor(chosen))
        self._ended &= torch.from_numpy(~mask)
        return self.batch.observations.numpy(), self._infos(mask)

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One move in each grid.

        Raises:
            ValueError: if there is not one valid action for each environment.
            gymnasium.error.ResetNeeded: before the first reset, and after an end where autoreset is disabled.
        """
        self._need_reset(not self._seeded.all())
        chosen = torch.from_numpy(np.ascontiguousarray(actions, dtype=np.int64))
        if chosen.shape != (self.num_envs,):
            raise ValueError(f"actions of shape {tuple(chosen.shape)} do not fit {self.num_envs} environments")
        if self.autoreset_mode is AutoresetMode.DISABLED:
            self._need_reset(bool(self._ended.any()))
        rewards, terminated, truncated = self.batch.move(chosen)
        infos: dict[str, Any] = {}
        if self.autoreset_mode is AutoresetMode.NEXT_STEP and self._ended.any():
            self.batch.restart(self._ended.nonzero().squeeze(1))
            rewards, terminated, truncated = (x.masked_fill(self._ended, 0) for x in (rewards, terminated, truncated))
        self._ended = terminated | truncated
        if self.autoreset_mode is AutoresetMode.SAME_STEP and self._ended.any():
            infos = self._final_infos(self._ended.numpy())
            self.batch.restart(self._ended.nonzero().squeeze(1))
        infos |= self._infos(np.ones(self.num_envs, dtype=bool))
        return (
            self.batch.observations.numpy(),
            rewards.to(torch.float64).numpy(),
            terminated.numpy(),
            truncated.numpy(),
            infos,
        )

    def render(self) -> tuple[Any, ...] | None:
        """One picture for each environment; None without a render mode."""
        if self.render_mode is None:
            return None
        layouts, player = self.batch.layouts, self.batch.player
        return tuple(draw_frame(self.render_mode, layouts, player, index) for index in range(self.num_envs))

    def _infos(self, mask: np.ndarray) -> dict[str, Any]:
        """The single environment's info as arrays, zero where the mask is false."""
        values = {"shortest": self.batch.shortest.numpy(), "manhattan": self.batch.manhattan.numpy()}
        return {name: value * mask for name, value in values.items()} | {f"_{name}": mask.copy() for name in values}

    def _final_infos(self, ended: np.ndarray) -> dict[str, Any]:
        final = np.full(self.num_envs, None, dtype=object)
        indices = np.flatnonzero(ended)
        for index, observation in zip(indices, self.batch.observations.numpy()[indices], strict=True):
            final[index] = observation
        infos = {"final_obs": final, "final_info": self._infos(ended)}
        return infos | {"_final_obs": ended.copy(), "_final_info": ended.copy()}

    @staticmethod
    def _need_reset(needed: bool) -> None:
        if needed:
            raise gymnasium.error.ResetNeeded("call reset() before the first step and after the end of an episode")
