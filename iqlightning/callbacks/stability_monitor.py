"""Says so when a run diverges, and stops it before weights that are not numbers reach a checkpoint."""

from typing import Any, ClassVar

import torch
from gymnasium.spaces import Discrete
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn

from iqlightning.errors import UserError
from iqlightning.evaluation.stability import Reading, read, warnings_in_training, warnings_of
from iqlightning.spaces import num_actions

__all__ = ["StabilityMonitor"]

#: ``train/`` figures that are read.
_IN_TRAINING = ("q_share", "actor_saturation")


class StabilityMonitor(Callback):
    """Reads held-out demonstrations and figures of training at every validation.

    See :mod:`iqlightning.evaluation.stability`.

    Logs ``stability/...`` (residual, v, gap, reward range, entropy, log-likelihood) and ``stability/warnings``, the
    number of complaints. Each complaint is made once, as one sentence with an advice. On NaN or infinity, in a reading
    or in the weights, it stops the run naming the term; a checkpoint with such weights is not written, so that the last
    finite one stays. Of training it reads the figures ``train/q_share``, Q against what the penalty allows
    (:attr:`~iqlightning.algorithms.learner.Learner.q_bound`), and ``train/actor_saturation``, where there are such;
    runs without held-out demonstrations have these and their weights checked.

    Args:
        patience: validations over which a trend must hold.
        factor: growth over them that counts as divergence.
        max_batches: held-out batches read at each validation.
    """

    #: for BoardLayout
    charts: ClassVar = {
        "4 is it stable": {
            "V - Q at the expert's action": ["Multiline", ["stability/gap"]],
            "Bellman residual": ["Multiline", ["stability/residual"]],
            "warnings": ["Multiline", ["stability/warnings"]],
        },
        "3 what it believes": {
            "Q on expert and policy data": ["Multiline", ["train/q", "train/policy_q"]],
            "Q against its bound": ["Multiline", ["train/q_share", "train/clipped_targets"]],
        },
        "5 actor": {
            "entropy": ["Multiline", ["train/actor_entropy"]],
            "share at the bounds of actions": ["Multiline", ["train/actor_saturation"]],
        },
    }
    board_descriptions: ClassVar = {
        "stability/gap": "Mean V(s) - Q(s, a) of held-out demonstrated moves; it should fall towards 0.",
        "stability/residual": "Root mean square of Q(s, a) - gamma V(s') on held-out demonstrations.",
        "stability/warnings": "Complaints that hold at this validation; each was printed once with an advice.",
    }

    def __init__(self, patience: int = 3, factor: float = 3.0, max_batches: int = 4) -> None:
        super().__init__()
        self.patience = patience
        self.factor = factor
        self.max_batches = max_batches
        self.history: list[Reading] = []
        self.training: list[dict[str, float]] = []
        self.complaints: dict[str, str] = {}
        self._batches: list[Reading] = []

    @torch.no_grad()
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Takes a reading of the batch."""
        expert = batch.get("expert")
        if trainer.sanity_checking or batch_idx >= self.max_batches or expert is None or len(expert.obs) == 0:
            return
        module: Any = pl_module
        self._batches.append(read(module.agent, expert, module.gamma))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Adds the reading to the history, logs it, complains or stops."""
        if trainer.sanity_checking:
            return
        self._require_finite_weights(trainer, pl_module)
        seen = {name: trainer.callback_metrics.get(f"train/{name}") for name in _IN_TRAINING}
        self.training.append({name: float(value) for name, value in seen.items() if value is not None})
        module: Any = pl_module
        warnings = warnings_in_training(self.training, module.q_bound, self.patience)
        reading = self._reading(trainer)
        if reading is not None:
            self.history.append(reading)
            actions = module.agent.spaces.action
            counted = num_actions(actions) if isinstance(actions, Discrete) else None
            warnings |= warnings_of(self.history, self.patience, self.factor, counted)
        for name, sentence in warnings.items():
            if name not in self.complaints:
                rank_zero_warn(sentence, category=UserWarning)
        self.complaints |= warnings
        logged = {} if reading is None else {f"stability/{name}": value for name, value in reading._asdict().items()}
        logged["stability/warnings"] = float(len(warnings))
        pl_module.log_dict(logged, on_step=False, on_epoch=True, sync_dist=True, batch_size=1)

    def _reading(self, trainer: Trainer) -> Reading | None:
        """The mean over the batches of this validation."""
        batches, self._batches = self._batches, []
        if not batches:
            return None
        columns = zip(*batches, strict=True)
        reading = Reading(*(sum(column) / len(batches) for column in columns))
        wrong = reading.not_finite
        if wrong:
            raise UserError(
                f"training diverged: {', '.join(wrong)} on held-out demonstrations is not finite after "
                f"{trainer.global_step:,} updates; try a lower learning rate or a smaller --model.max_grad_norm"
            )
        return reading

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Refuses weights that are not finite: the file of the last finite ones stays as it is."""
        self._require_finite_weights(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """The history, so that a resumed run compares with what came before."""
        history = [list(reading) for reading in self.history]
        return {"history": history, "training": list(self.training), "complaints": dict(self.complaints)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores :meth:`state_dict`."""
        self.history = [Reading(*numbers) for numbers in state_dict["history"]]
        self.training = [dict(figures) for figures in state_dict.get("training", [])]  # earlier versions had none
        self.complaints = dict(state_dict["complaints"])

    def _require_finite_weights(self, trainer: Trainer, pl_module: LightningModule) -> None:
        named = [(name, weights) for name, weights in pl_module.named_parameters() if weights.is_floating_point()]
        if not named:
            return
        finite = torch.stack([weights.detach().isfinite().all() for _, weights in named])
        if not bool(finite.all()):
            name = named[int((~finite).float().argmax())][0]
            raise UserError(
                f"training diverged: the weights {name} are not finite after {trainer.global_step:,} updates; the last "
                "checkpoint with finite ones was kept; try a lower learning rate or a smaller --model.max_grad_norm"
            )
