"""GridWorld, batched on tensors; see :class:`iqlightning.envs.gridworld.spec.GridWorldConfig` for its rules."""

from iqlightning.envs.gridworld.layouts import SPLITS, Layouts, draw_layouts, splits_are_disjoint
from iqlightning.envs.gridworld.observation import all_player_positions, observe, parse
from iqlightning.envs.gridworld.spec import LEVELS, GridWorldConfig
from iqlightning.envs.gridworld.state import GridWorldBatch

__all__ = [
    "LEVELS",
    "SPLITS",
    "GridWorldBatch",
    "GridWorldConfig",
    "Layouts",
    "all_player_positions",
    "draw_layouts",
    "observe",
    "parse",
    "splits_are_disjoint",
]
