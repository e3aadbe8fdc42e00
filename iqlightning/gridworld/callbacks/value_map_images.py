"""Shows what the Q-function believes about a few fixed grids, at every validation, in TensorBoard."""

from typing import Any, ClassVar

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from iqlightning.callbacks.event_logger import show_picture
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.evaluation.figures import value_map_card, value_map_panel
from iqlightning.gridworld.evaluation.value_maps import optimal_maps, temperature_of, value_maps
from iqlightning.gridworld.game.layouts import Layouts, draw_layouts
from iqlightning.keyed import Stream, hash_keys
from iqlightning.types import EnvConfig

__all__ = ["ValueMapImages"]


class ValueMapImages(Callback):
    """Logs the value maps of probe grids of the run's level.

    ``value_map`` is the first grid in the size in which TensorBoard lists pictures
    (:func:`~iqlightning.gridworld.evaluation.figures.value_map_card`), ``value_maps`` all of them, for a click
    (:func:`~iqlightning.gridworld.evaluation.figures.value_map_panel`).

    The grids come from the validation split and stay the same throughout, so that TensorBoard's slider shows one map
    changing. The first process draws. Environments other than GridWorld and policies without Q-values are left alone.

    Args:
        num_grids: rows of the panel.
        seed: of the grids.
        every_n_validations: draw only at every n-th validation.
    """

    #: for BoardLayout
    board_pictures: ClassVar = {
        "3 what it believes": {
            "value_map": "An unseen grid: learned V, exact V*, greedy moves, recovered reward; each has its own scale.",
            "value_maps": "Several unseen grids: the grid, learned V, greedy moves, recovered reward and exact V*.",
        }
    }

    def __init__(self, num_grids: int = 3, seed: int = 0, every_n_validations: int = 1) -> None:
        super().__init__()
        self.num_grids = num_grids
        self.seed = seed
        self.every_n_validations = every_n_validations
        self._validations = 0
        self._optimal: tuple[tuple[GridWorldConfig, float, float], Layouts, Tensor] | None = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws and logs both pictures."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        self._validations += 1
        policy: Any = pl_module.policy
        env: EnvConfig = trainer.datamodule.env  # type: ignore[attr-defined]
        boards = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
        due = (self._validations - 1) % self.every_n_validations == 0
        if not (due and boards and isinstance(env, GridWorldConfig) and hasattr(policy, "q_values")):
            return
        layouts, optimal = self._probes(env, policy.gamma, temperature_of(policy))
        maps = value_maps(policy, layouts, device=pl_module.device, optimal_v=optimal)
        title = f"{env.level} {env.height}x{env.width}, after {trainer.global_step:,} updates"
        pictures = {"value_map": value_map_card(maps, title), "value_maps": value_map_panel(maps, title)}
        for name, picture in pictures.items():
            show_picture(boards, name, picture, trainer.global_step)

    def _probes(self, env: GridWorldConfig, gamma: float, temperature: float) -> tuple[Layouts, Tensor]:
        """The grids and their exact V*, which depend on nothing that training changes."""
        key = (env, gamma, temperature)
        if self._optimal is None or self._optimal[0] != key:
            # a seed of their own, apart from the grids that PolicyEvaluation plays
            seed = hash_keys(Stream.PROBE, self.seed).expand(self.num_grids)
            layouts = draw_layouts(env, seed, torch.arange(self.num_grids), split="validation")
            self._optimal = key, layouts, optimal_maps(layouts, gamma, temperature)
        return self._optimal[1:]
