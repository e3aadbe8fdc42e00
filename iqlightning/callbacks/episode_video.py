"""Shows an episode of the policy being trained, in TensorBoard and, by a file in the run's folder, in reports."""

from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_warn

from iqlightning.callbacks.event_logger import show_animation
from iqlightning.errors import UserError
from iqlightning.evaluation.video import record_episode
from iqlightning.files import write_atomically
from iqlightning.types import EnvConfig

__all__ = ["EpisodeVideo"]


class EpisodeVideo(Callback):
    """Records an episode when training ends, or at validations: ``video`` in TensorBoard, ``episode.gif`` in the run.

    It is always the same episode, so that TensorBoard's slider shows one policy changing; the first process plays it.
    Where the environment cannot be drawn, one sentence says so and the run goes on.

    Args:
        every_n_validations: record at every n-th validation; None records once, when training ends.
        seed: of the episode and of drawn actions.
        sample: draw actions from the policy instead of acting greedily.
        most_frames: of the animation.
        side: its longest side in pixels.
    """

    #: for BoardLayout
    board_pictures: ClassVar = {"1 how good": {"video": "An episode of the policy, always the same one."}}

    def __init__(
        self,
        every_n_validations: int | None = None,
        seed: int = 0,
        sample: bool = False,
        most_frames: int = 80,
        side: int = 240,
    ) -> None:
        super().__init__()
        counts = {"every_n_validations": every_n_validations, "most_frames": most_frames, "side": side}
        for name, number in counts.items():
            if number is not None and number < 1:
                raise UserError(f"{name} of EpisodeVideo must be at least 1, not {number}")
        self.every_n_validations = every_n_validations
        self.seed = seed
        self.sample = sample
        self.most_frames = most_frames
        self.side = side
        self._validations = 0
        self._refused = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Records if it is time to."""
        if trainer.sanity_checking or self.every_n_validations is None:
            return
        self._validations += 1
        if (self._validations - 1) % self.every_n_validations == 0:
            self._record(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Records the policy that training ends with."""
        if self.every_n_validations is None and trainer.global_step:
            self._record(trainer, pl_module)

    @torch.no_grad()
    def _record(self, trainer: Trainer, pl_module: LightningModule) -> None:
        boards = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
        if self._refused or not (boards and trainer.is_global_zero):
            return
        module: Any = pl_module
        env: EnvConfig = trainer.datamodule.env  # type: ignore[attr-defined]
        options: dict[str, Any] = {"sample": self.sample, "most_frames": self.most_frames, "side": self.side}
        try:
            shown = record_episode(module.policy, env, self.seed, device=module.device, **options)
        except UserError as error:
            self._refused = True
            rank_zero_warn(f"there is no video: {error}", category=UserWarning)
            return
        show_animation(boards, "video", shown, trainer.global_step)
        write_atomically(Path(boards[0].log_dir) / "episode.gif", shown.gif, what="animation")
