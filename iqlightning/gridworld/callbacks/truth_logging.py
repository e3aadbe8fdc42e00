"""Compares the policy being trained with the exact solution of GridWorld."""

from typing import Any, ClassVar

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.evaluation.truth import truth_metrics
from iqlightning.gridworld.evaluation.value_maps import value_maps
from iqlightning.gridworld.game.layouts import Layouts, draw_layouts
from iqlightning.keyed import Stream, hash_keys

__all__ = ["TruthLogging"]


class TruthLogging(Callback):
    """Logs ``truth/...`` at every validation: the figures of ``truth_metrics``.

    The grids come from the validation split and stay the same throughout. Environments other than GridWorld, grids of
    more than ``max_cells`` cells and policies without Q-values are left alone. Every process computes the same figures.

    Args:
        num_grids: grids to compare on.
        seed: of the grids.
        every_n_validations: compare only at every n-th validation.
        max_cells: the largest grids to solve; a linear solve over all cells takes their number cubed.
    """

    #: for BoardLayout
    charts: ClassVar = {
        "3 what it believes": {
            "reward against the truth": ["Multiline", ["truth/reward_pearson", "truth/reward_spearman"]],
            "distances from the true reward": ["Multiline", ["truth/reward_epic", "truth/reward_shaping_free"]],
            "regret": ["Multiline", ["truth/regret"]],
        }
    }
    board_descriptions: ClassVar = {
        "truth/reward_pearson": "Pearson correlation of recovered and true reward over all moves.",
        "truth/reward_spearman": "Spearman correlation of recovered and true reward over all moves.",
        "truth/reward_epic": "EPIC distance of recovered and true reward; 0 is best.",
        "truth/reward_shaping_free": "Distance of recovered and true reward up to shaping; 0 is best.",
        "truth/regret": "What the greedy policy loses against the optimal one, in true discounted return.",
    }

    def __init__(self, num_grids: int = 8, seed: int = 0, every_n_validations: int = 1, max_cells: int = 400) -> None:
        super().__init__()
        self.num_grids = num_grids
        self.seed = seed
        self.every_n_validations = every_n_validations
        self.max_cells = max_cells
        self._validations = 0
        self._grids: tuple[GridWorldConfig, Layouts] | None = None

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compares and logs."""
        if trainer.sanity_checking:
            return
        self._validations += 1
        policy: Any = pl_module.policy
        env: Any = trainer.datamodule.env  # type: ignore[attr-defined]
        if (self._validations - 1) % self.every_n_validations or not hasattr(policy, "q_values"):
            return
        if not isinstance(env, GridWorldConfig) or env.num_cells > self.max_cells:
            return
        metrics = truth_metrics(value_maps(policy, self._layouts(env), device=pl_module.device))
        logged = {f"truth/{name}": torch.tensor(value, device=pl_module.device) for name, value in metrics.items()}
        # every process holds the same figures already; averaging equal numbers keeps Lightning from warning about it
        pl_module.log_dict(logged, on_step=False, on_epoch=True, sync_dist=True, batch_size=1)

    def _layouts(self, env: GridWorldConfig) -> Layouts:
        if self._grids is None or self._grids[0] != env:
            seed = hash_keys(Stream.PROBE, self.seed, 1).expand(self.num_grids)
            self._grids = env, draw_layouts(env, seed, torch.arange(self.num_grids), split="validation")
        return self._grids[1]
