"""Plays the policy being trained and logs how well it does."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from iqlightning.evaluation.environment import evaluate_environment
from iqlightning.evaluation.metrics import EpisodeMetrics, ReturnMetrics
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.evaluation.play import evaluate_gridworld
from iqlightning.types import EnvConfig

__all__ = ["PolicyEvaluation"]


class PolicyEvaluation(Callback):
    """Plays episodes at every validation and test, and logs through the module, so that checkpoints can monitor them.

    On GridWorld: ``val/success_rate``, ``val/distance_ratio``, ``val/manhattan_ratio``, ``val/spl``,
    ``val/mean_return`` on grids of the validation split, and ``test/...`` on grids of the test split. On any other
    environment: ``val/mean_return``, ``val/std_return``, ``val/mean_length``. The episodes are the same at every
    validation. Processes share the episodes out and all end with the same figures.

    Args:
        episodes: at each validation, of all processes together.
        test_episodes: at a test.
        seed: of the episodes.
        sample: draw actions from the policy instead of acting greedily.
        temperature: of the drawn actions; None means the policy's own.
    """

    def __init__(
        self,
        episodes: int = 500,
        test_episodes: int = 1000,
        seed: int = 0,
        sample: bool = False,
        temperature: float | None = None,
    ) -> None:
        super().__init__()
        self.episodes = episodes
        self.test_episodes = test_episodes
        self.seed = seed
        self.sample = sample
        self.temperature = temperature

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Plays grids of the validation split."""
        # the check before training runs two batches to see that nothing crashes; its figures would mean nothing
        if not trainer.sanity_checking:
            self._play(trainer, pl_module, "val", "validation", self.episodes)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Plays grids of the test split."""
        self._play(trainer, pl_module, "test", "test", self.test_episodes)

    def _play(self, trainer: Trainer, pl_module: LightningModule, prefix: str, split: str, episodes: int) -> None:
        policy: Any = pl_module.policy
        env: EnvConfig = trainer.datamodule.env  # type: ignore[attr-defined]
        share: dict[str, Any] = {
            "rank": trainer.global_rank,
            "world_size": trainer.world_size,
            "device": pl_module.device,
        }
        choice: dict[str, Any] = {"sample": self.sample, "temperature": self.temperature}
        if isinstance(env, GridWorldConfig):
            played = evaluate_gridworld(policy, env, episodes, self.seed, split=split, **choice, **share)
            metrics = EpisodeMetrics().to(_summing_device(pl_module))
            metrics.update(played.success, played.moves, played.shortest, played.manhattan, played.returns)
        else:
            results = evaluate_environment(policy, env, episodes, self.seed, **choice, **share)
            metrics = ReturnMetrics().to(_summing_device(pl_module))
            metrics.update(results.returns, results.lengths)
        figures = metrics.compute()
        figures.pop("episodes")
        logged = {f"{prefix}/{name}": value.float().to(pl_module.device) for name, value in figures.items()}
        # every process holds the same figures already; averaging equal numbers keeps Lightning from warning about it
        pl_module.log_dict(logged, on_step=False, on_epoch=True, sync_dist=True, batch_size=1)


def _summing_device(pl_module: LightningModule) -> torch.device:
    """Where the sums live: with the module, since NCCL gathers there, unless the device has no float64."""
    return torch.device("cpu") if pl_module.device.type == "mps" else pl_module.device
