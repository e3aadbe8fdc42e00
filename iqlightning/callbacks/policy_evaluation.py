"""Plays the policy being trained and logs how well it does."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from iqlightning.errors import unknown
from iqlightning.evaluation.environment import evaluate_environment
from iqlightning.evaluation.metrics import metrics_over_processes
from iqlightning.types import SPLITS, EnvConfig

__all__ = ["PolicyEvaluation"]


class PolicyEvaluation(Callback):
    """Plays episodes at every validation and test, and logs through the module, so that checkpoints can monitor them.

    ``val/mean_return``, ``val/std_return`` and ``val/mean_length``, or the environment's own figures where it has some
    (:meth:`iqlightning.types.EnvConfig.play`), on episodes of the validation split; ``test/...`` on those of the test
    split. The episodes are the same at every validation. Processes share them out and all end with the same figures.
    A learning curve that nothing is chosen by may be over the test split's, those of ``evaluate``.

    Args:
        episodes: at each validation, of all processes together.
        test_episodes: at a test.
        seed: of the episodes.
        sample: draw actions from the policy instead of acting greedily.
        temperature: of the drawn actions; None means the policy's own.
        split: of the episodes of validations.

    Raises:
        UserError: if there is no such split.
    """

    def __init__(
        self,
        episodes: int = 500,
        test_episodes: int = 1000,
        seed: int = 0,
        sample: bool = False,
        temperature: float | None = None,
        split: str = "validation",
    ) -> None:
        super().__init__()
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        self.episodes = episodes
        self.test_episodes = test_episodes
        self.seed = seed
        self.sample = sample
        self.temperature = temperature
        self.split = split

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Plays episodes of the validation split, or of the one that is set."""
        # the check before training runs two batches to see that nothing crashes; its figures would mean nothing
        if not trainer.sanity_checking:
            self._play(trainer, pl_module, "val", self.split, self.episodes)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Plays episodes of the test split."""
        self._play(trainer, pl_module, "test", "test", self.test_episodes)

    def _play(self, trainer: Trainer, pl_module: LightningModule, prefix: str, split: str, episodes: int) -> None:
        module: Any = pl_module
        env: EnvConfig = trainer.datamodule.env  # type: ignore[attr-defined]
        results = evaluate_environment(
            module.policy,
            env,
            episodes,
            self.seed,
            split=split,
            sample=self.sample,
            temperature=self.temperature,
            device=module.device,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
        )
        figures = metrics_over_processes(results, module.device)
        figures.pop("episodes")
        logged = {f"{prefix}/{name}": value.float().to(pl_module.device) for name, value in figures.items()}
        # every process holds the same figures already; averaging equal numbers keeps Lightning from warning about it
        pl_module.log_dict(logged, on_step=False, on_epoch=True, sync_dist=True, batch_size=1)
