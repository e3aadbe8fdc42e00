"""Shows in TensorBoard what the policy does: where it goes, where it fails, and a few episodes that move."""

import math
from typing import Any, ClassVar

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from iqlightning.callbacks.event_logger import show_animation, show_picture
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.evaluation.failures import clearest, count_kinds, explain_failures, q_along
from iqlightning.gridworld.evaluation.play import evaluate_gridworld
from iqlightning.gridworld.evaluation.policy_figures import episode_animation, failure_panel, visitation_panel
from iqlightning.gridworld.evaluation.success_figures import success_panel
from iqlightning.gridworld.evaluation.success_profile import success_profiles
from iqlightning.gridworld.evaluation.value_maps import value_maps
from iqlightning.gridworld.evaluation.visitation import visitation

__all__ = ["PolicyImages"]

# linear solves over all cells take their number cubed
_MOST_CELLS = 1024


class PolicyImages(Callback):
    """Logs ``visitation``, ``failures``, ``success`` (by distance and walls) and ``episodes`` (an animation).

    The grids, of the validation split, stay the same throughout, so that TensorBoard's slider shows one policy
    changing. The first process draws. Environments other than GridWorld and policies without Q-values are left alone;
    grids of more than 1,024 cells get no visitation.

    Args:
        every_n_validations: draw at every n-th validation; None draws once, when training ends.
        episodes: grids to look for failures on.
        num_grids: rows of the visitation panel.
        animated: episodes in the animation.
        seed: of the grids.
    """

    #: for BoardLayout
    board_pictures: ClassVar = {
        "1 how good": {
            "episodes": "Greedy episodes on unseen grids, each with the way walked so far; a red frame is a failure.",
        },
        "6 what it does": {
            "failures": "Where the greedy policy fails: the way, Q of the four moves along it, a ring at the mistake.",
            "success": "Success by the length of the shortest path and by the number of walls.",
            "visitation": "Where the expert goes, greedy moves lead, and drawn moves lead.",
        },
    }

    def __init__(
        self,
        every_n_validations: int | None = None,
        episodes: int = 500,
        num_grids: int = 3,
        animated: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.every_n_validations = every_n_validations
        self.episodes = episodes
        self.num_grids = num_grids
        self.animated = animated
        self.seed = seed
        self._validations = 0

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws if it is time to."""
        if trainer.sanity_checking or self.every_n_validations is None:
            return
        self._validations += 1
        if (self._validations - 1) % self.every_n_validations == 0:
            self._draw(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws the policy that training ends with."""
        if self.every_n_validations is None and trainer.global_step:
            self._draw(trainer, pl_module)

    @torch.no_grad()
    def _draw(self, trainer: Trainer, pl_module: LightningModule) -> None:
        policy: Any = pl_module.policy
        env: Any = trainer.datamodule.env  # type: ignore[attr-defined]
        boards = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
        if not (boards and trainer.is_global_zero and isinstance(env, GridWorldConfig) and hasattr(policy, "q_values")):
            return
        step = trainer.global_step
        results = evaluate_gridworld(
            policy, env, self.episodes, self.seed, split="validation", device=pl_module.device, record_paths=True
        )
        failures = explain_failures(results, policy)
        examples = clearest(failures, 2)[:6]
        counts = ", ".join(f"{kind.value} {count}" for kind, count in list(count_kinds(failures).items())[:2])
        title = f"after {step:,} updates {len(failures)} of {self.episodes} grids fail\n{counts}".rstrip()
        pictures = {
            "failures": failure_panel(
                results, examples, [q_along(policy, results.layouts, each) for each in examples], title
            ),
            "success": success_panel(success_profiles(results), title.partition("\n")[0]),
        }
        if env.num_cells <= _MOST_CELLS:
            maps = value_maps(policy, results.layouts.select(slice(0, self.num_grids)), device=pl_module.device)
            visits = visitation(maps, policy.temperature)
            pictures["visitation"] = visitation_panel(visits, f"after {step:,} updates")
        cell_pixels = max(4, min(28, 1100 // (math.ceil(math.sqrt(self.animated)) * env.width)))
        show_animation(
            boards, "episodes", episode_animation(results, range(min(self.animated, self.episodes)), cell_pixels), step
        )
        for name, picture in pictures.items():
            show_picture(boards, name, picture, step)
