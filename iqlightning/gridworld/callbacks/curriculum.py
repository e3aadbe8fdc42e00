"""From easy to hard: changes what is trained on as training goes on, by epochs or by the success reached."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from iqlightning.errors import UserError
from iqlightning.evaluation.metrics import metrics_over_processes
from iqlightning.gridworld.config import GridWorldConfig

__all__ = ["Curriculum", "Stage"]


@dataclass(frozen=True)
class Stage:
    """What is trained on for a while; what is not given is as in the run's own environment.

    Attributes:
        epochs: the stage ends after so many epochs; and, or,
        success: as soon as this share of the stage's grids is solved, whichever comes first.
        level: see :class:`~iqlightning.gridworld.config.GridWorldConfig`.
        min_size: sides of the smallest grids.
        max_size: longer side of the largest ones; grids of several sizes lie in the corner of the run's own size.
        num_walls: of a grid.
        wall_density: instead of a number.
        layout: ``random``, ``maze`` or ``rooms``.

    Raises:
        UserError: if nothing ends the stage.
    """

    epochs: int | None = None
    success: float | None = None
    level: str | None = None
    min_size: int | None = None
    max_size: int | None = None
    num_walls: int | None = None
    wall_density: float | None = None
    layout: str | None = None

    def __post_init__(self) -> None:
        if self.epochs is None and self.success is None:
            raise UserError("a stage of the curriculum ends after `epochs` or at a `success`: give one of them")
        if self.epochs is not None and self.epochs < 1:
            raise UserError(f"epochs of a stage must be at least 1, not {self.epochs}")
        if self.success is not None and not 0 < self.success <= 1:
            raise UserError(f"success of a stage is a share above 0 and up to 1, not {self.success}")

    def env(self, target: GridWorldConfig) -> GridWorldConfig:
        """The environment of this stage, on a canvas of the target's size."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        changes = {name: value for name, value in given.items() if name not in ("epochs", "success")}
        if "max_size" in changes and self.min_size is None and target.min_size is None:
            changes["min_size"] = min(changes["max_size"], target.height, target.width)
        if "wall_density" in changes or changes.get("layout", "random") != "random":
            changes.setdefault("num_walls", None)
        if "num_walls" in changes or changes.get("layout", "random") != "random":
            changes.setdefault("wall_density", None)
        if {"num_walls", "wall_density"} & given.keys():
            changes.setdefault("layout", "random")
        return replace(target, **changes)


class Curriculum(Callback):
    """Trains on each stage in turn, and on the run's own environment after the last.

    At every validation it plays grids of the present stage (validation split, greedily) and logs
    ``curriculum/stage`` (from 0; the number of stages means the run's own environment) and ``curriculum/success_rate``.
    What is validated and monitored otherwise is the run's own environment from the beginning. For the imitation of
    the shortest-path expert and for reinforcement learning on GridWorld; stages may differ in size if the encoder plays
    any size, since smaller grids lie in the corner of the largest. Processes share the episodes and change together; a
    resumed run continues in the stage it was in. Added to a run by a second configuration file::

        trainer:
          callbacks+:
            - class_path: Curriculum
              init_args:
                stages:
                  - {success: 0.9, min_size: 4, max_size: 6, num_walls: 2}
                  - {epochs: 2, max_size: 8}

    Args:
        stages: in order.
        episodes: played at each validation, by all processes together.
        seed: of these episodes.

    Raises:
        UserError: if there is no stage, or a stage is impossible.
    """

    def __init__(self, stages: Sequence[Stage], episodes: int = 200, seed: int = 0) -> None:
        super().__init__()
        if not stages:
            raise UserError("a curriculum needs at least one stage")
        if episodes < 1:
            raise UserError(f"episodes of the curriculum must be at least 1, not {episodes}")
        self.stages = list(stages)
        self.episodes = episodes
        self.seed = seed
        self.stage = 0
        self.epochs_in_stage = 0
        self._looked_at = 0  # the number of updates at the last validation

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks at all stages, so that an impossible one is met before training."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(data.env, GridWorldConfig) or not hasattr(data, "change_training_env"):
            raise UserError(f"a curriculum changes GridWorlds, and this run's environment is '{data.env.name}'")
        for stage in self.stages:
            stage.env(data.env)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins with the first stage, or where a resumed run was."""
        self._enter(trainer)
        # A run that was stopped between an epoch's last update and its validation does not make up for the latter.
        updates = trainer.global_step
        if updates > self._looked_at and updates % trainer.datamodule.updates_per_epoch == 0:  # type: ignore[attr-defined]
            self._look(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Plays the stage's grids and goes on to the next stage if this one is done."""
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        figures = {"curriculum/stage": float(self.stage), "curriculum/success_rate": self._look(trainer, pl_module)}
        # every process holds the same figures already, as in PolicyEvaluation
        pl_module.log_dict(figures, on_step=False, on_epoch=True, sync_dist=True, batch_size=1)

    def _look(self, trainer: Trainer, pl_module: LightningModule) -> float:
        success = self._success(trainer, pl_module)
        self._looked_at = trainer.global_step
        self.epochs_in_stage += 1
        if self.stage < len(self.stages) and self._done(self.stages[self.stage], success):
            self.stage += 1
            self.epochs_in_stage = 0
            self._enter(trainer)
        return success

    def state_dict(self) -> dict[str, Any]:
        """The stage and how long it has lasted."""
        return {"stage": self.stage, "epochs_in_stage": self.epochs_in_stage, "looked_at": self._looked_at}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores :meth:`state_dict`."""
        self.stage = min(state_dict["stage"], len(self.stages))
        self.epochs_in_stage = state_dict["epochs_in_stage"]
        self._looked_at = state_dict["looked_at"]

    def _done(self, stage: Stage, success: float) -> bool:
        long_enough = stage.epochs is not None and self.epochs_in_stage >= stage.epochs
        return long_enough or (stage.success is not None and success >= stage.success)

    def _enter(self, trainer: Trainer) -> None:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        data.change_training_env(self._env(data.env))

    def _env(self, target: GridWorldConfig) -> GridWorldConfig:
        return self.stages[self.stage].env(target) if self.stage < len(self.stages) else target

    def _success(self, trainer: Trainer, pl_module: LightningModule) -> float:
        module: Any = pl_module
        played = self._env(trainer.datamodule.env).play(  # type: ignore[attr-defined]
            module.policy,
            self.episodes,
            self.seed,
            split="validation",
            device=pl_module.device,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
        )
        return float(metrics_over_processes(played, pl_module.device)["success_rate"])
