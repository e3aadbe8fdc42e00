"""The update loop that every algorithm shares: objective -> gradient -> clip -> step -> schedule -> target.

An algorithm is a subclass with one method, :meth:`Learner.objective`. Optimisation is Lightning's manual one, because
one call of ``training_step`` makes several updates: the fixed cost of a call, more than a small network's whole update,
is then paid once for all of them. Whatever the grouping, ``trainer.global_step`` counts updates.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor, nn
from torchmetrics import MeanMetric

from iqlightning.algorithms.lightning_internals import align_counts, count_batches, count_update
from iqlightning.algorithms.schedules import Constant, Schedule
from iqlightning.algorithms.trainer_options import pauses, require_supported
from iqlightning.algorithms.training_metrics import TrainingMetrics
from iqlightning.algorithms.updates.flat_weights import FlatWeights, flat_optimizer
from iqlightning.algorithms.updates.step import Objective, OptimizerFactory, Step, adam
from iqlightning.algorithms.updates.updater import Updater, make_updater
from iqlightning.data.updates import UpdateChunk, limited_epoch
from iqlightning.errors import UserError
from iqlightning.losses.values import ValueFunction
from iqlightning.nets.encoders.encoder import Encoder
from iqlightning.nets.heads import Head, PlainHead
from iqlightning.nets.q_network import QNetwork
from iqlightning.policies import POLICY_SCHEMA, QPolicy
from iqlightning.spaces import num_actions, observation_high
from iqlightning.types import Batch, EnvConfig, Transition

__all__ = ["METRICS_KEY", "Learner", "Objective", "OptimizerFactory"]

#: Where a checkpoint keeps the figures of the updates since the last log.
METRICS_KEY = "metrics_buffer"


class Learner(lightning.LightningModule, ABC):
    """A Q-network, its optimizer and the update loop.

    The network takes its shapes from ``trainer.datamodule.env`` when a run begins, so that no size stands twice in a
    configuration; outside a trainer call :meth:`build` with an environment's configuration.

    Args:
        encoder: builds the encoder from an observation's shape.
        head: builds the head from the encoder's feature shape and the number of actions.
        value: V from Q.
        gamma: discount in [0, 1).
        optimizer: builds the optimizer from parameters.
        schedule: of the learning rate.
        max_grad_norm: gradients are scaled down to this Euclidean norm; None for no clipping.
        log_every: updates between two logged points; None takes ``trainer.log_every_n_steps``.
        seed: of the initial weights and of drawn actions.
        compile: whether loss, gradient and optimizer step are compiled into one function. Compiling takes seconds to a
            minute at first, so that it pays on long runs of small networks.
    """

    copies: int = 1
    """Q-networks of which the smallest counts; an algorithm may offer more than one."""

    trainer: Any  # Lightning's own annotation forbids the attributes that are read below

    def __init__(
        self,
        encoder: Callable[[tuple[int, ...]], Encoder],
        head: Callable[[tuple[int, ...], int], Head],
        value: ValueFunction,
        gamma: float,
        optimizer: OptimizerFactory | None,
        schedule: Schedule | None,
        max_grad_norm: float | None,
        log_every: int | None,
        seed: int,
        compile: bool = False,
    ) -> None:
        super().__init__()
        if not 0 <= gamma < 1:
            raise UserError(f"gamma must lie in [0, 1), not {gamma}")
        if max_grad_norm is not None and not max_grad_norm > 0:
            raise UserError(f"max_grad_norm must be positive (or null for no clipping), not {max_grad_norm}")
        if log_every is not None and log_every < 1:
            raise UserError(f"log_every counts updates and must be at least 1, not {log_every}")
        self.automatic_optimization = False
        self.encoder_factory = encoder
        self.head_factory = head or PlainHead
        self.value = value
        self.gamma = gamma
        self.optimizer_factory = optimizer or adam
        self.schedule = schedule or Constant()
        self.max_grad_norm = max_grad_norm
        self.log_every = log_every
        self.seed = seed
        self.compiled = compile
        self.env: EnvConfig | None = None
        self.network: QNetwork
        # a NaN is a finding, not something to leave out of a mean
        self.held_out_log_likelihood = MeanMetric(nan_strategy="disable")
        self.held_out_agreement = MeanMetric(nan_strategy="disable")
        self.metrics = TrainingMetrics()
        self.updater: Updater | None = None
        self._steps: list[tuple[Step, FlatWeights | None]] = []

    # ---- construction

    @property
    def needs(self) -> frozenset[str]:
        """The parts of a batch that the objective cannot do without."""
        return frozenset({"expert"})

    def build(self, env: EnvConfig) -> None:
        """Makes the networks for an environment; weights depend on ``seed`` alone."""
        self.env = env
        self.network = self.fresh_network()

    def fresh_network(self) -> QNetwork:
        """A network with the run's initial weights."""
        assert self.env is not None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return QNetwork(
                self.env.observation_shape,
                num_actions(self.env.spaces.action),
                observation_high(self.env.spaces.observation),
                self.encoder_factory,
                self.head_factory,
                self.copies,
            )

    def configure_model(self) -> None:
        """Lightning's hook: builds the networks once the data, and with it the environment, is known."""
        if self.env is None:
            self.build(self.trainer.datamodule.env)

    def setup(self, stage: str) -> None:
        """Lightning's hook: refuses what the trainer is asked for and could only ignore."""
        if stage == "fit":
            require_supported(self.trainer)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Lightning's hook: an optimizer for each step of an update."""
        self.updater = None
        steps = [
            (each, *flat_optimizer(each.module, each.optimizer or self.optimizer_factory)) for each in self.steps()
        ]
        self._steps = [(step, flat) for step, _, flat in steps]
        return [optimizer for _, optimizer, _ in steps]

    def steps(self) -> list[Step]:
        """The optimizer steps of one update, in their order."""
        return [Step("q", self.trainable, self.objective)]

    @property
    def trainable(self) -> nn.Module:
        """What the optimizer steps and the gradient's norm counts: the network, unless an algorithm learns more."""
        return self.network

    @property
    def policy(self) -> QPolicy:
        """The policy of the present weights."""
        return QPolicy(self.network, self.value, self.gamma, self.env)

    # ---- the update

    @abstractmethod
    def objective(self, batch: Batch) -> Objective:
        """The loss of a batch, its terms, and diagnostics."""

    def after_update(self, update: int) -> None:
        """Called after gradient update number ``update`` (from 1), within the step: target networks move here."""

    def training_step(self, batches: UpdateChunk | Sequence[Batch], batch_idx: int = 0) -> STEP_OUTPUT:
        """One update for each batch."""
        trainer = self.trainer
        count_batches(trainer, len(batches) - 1)  # Lightning has counted one
        optimizers = self._optimizers()
        updater = self.updater or self._make_updater(optimizers)
        updater.begin()
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        rates = [group.setdefault("initial_lr", group["lr"]) for group in groups]
        factor_at, total, log_every = self.schedule.factor, self._total_updates(), self._log_interval()
        cached_casts = torch.is_autocast_enabled(self.device.type)
        update = trainer.global_step
        for batch in batches:
            factor = factor_at(update, total)
            for group, rate in zip(groups, rates, strict=True):
                group["lr"] = rate * factor
            self.value.at(update)
            logs = (update + 1) % log_every == 0
            made = updater(batch, logs)
            update += 1
            self.after_update(update)
            if cached_casts:  # of weights that have changed; it would be emptied after the last update only
                torch.clear_autocast_cache()
            self.metrics.add(made)
            count_update(trainer)
            if logs:
                self.metrics.log(trainer, update, made.diagnostics(), groups[0]["lr"])
        return None

    @property
    def pauses(self) -> list[int]:
        """Intervals, in updates, after which something wants to look: a call of ``training_step`` ends there."""
        return pauses(self.trainer)

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        optimizers: Any = self.optimizers(use_pl_optimizer=False)
        return optimizers if isinstance(optimizers, list) else [optimizers]

    def _total_updates(self) -> int:
        """Updates of the whole run, by steps or by epochs; -1 if it has no end."""
        total = self.trainer.estimated_stepping_batches
        return -1 if total == float("inf") else int(total)

    def _log_interval(self) -> int:
        return self.log_every or self.trainer.log_every_n_steps

    def _make_updater(self, optimizers: list[torch.optim.Optimizer]) -> Updater:
        obstacle = self._obstacle_to_compiling() if self.compiled else None
        if obstacle is not None:
            rank_zero_warn(f"compile has no effect: {obstacle}; updates are made operation by operation")
        networks = None
        if self.compiled and obstacle is None:
            networks = {name: each for name, each in self.named_children() if any(True for _ in each.parameters())}
        self.updater = make_updater(self, self._steps, optimizers, self.max_grad_norm, networks)
        return self.updater

    def _obstacle_to_compiling(self) -> str | None:
        if self.trainer.world_size > 1:
            return "only runs of one process are compiled"
        if type(self.value).at is not ValueFunction.at:
            return f"{type(self.value).__name__} changes from update to update"
        if any(flat is None for _, flat in self._steps):
            return "this optimizer treats each parameter as a matrix of its own"
        if "mixed" in str(self.trainer.precision):
            return f"with precision {self.trainer.precision} each operation chooses its own"
        if torch.is_anomaly_enabled():
            return "detect_anomaly looks at every operation"
        return None

    @torch.no_grad()
    def diagnose(self, q: Tensor, actions: Tensor, rewards: Tensor | None = None) -> dict[str, Tensor]:
        """Mean Q, V and V - Q, the policy's entropy in nats, the recovered reward's mean and range."""
        q_a = q.gather(1, actions[:, None])[:, 0]
        v = self.value(q)
        log_pi = torch.log_softmax(q / self.value.temperature, dim=1)
        scalars = {
            "q": q_a.mean(),
            "v": v.mean(),
            "v_minus_q": (v - q_a).mean(),
            "entropy": -(log_pi.exp() * log_pi).sum(1).mean(),
        }
        if rewards is not None:
            scalars |= {"reward": rewards.mean(), "reward_min": rewards.min(), "reward_max": rewards.max()}
        return scalars

    # ---- evaluation on held-out data

    def on_train_epoch_end(self) -> None:
        """Lightning's hook: callbacks that monitor a training figure look at the end of each epoch."""
        self.metrics.publish(self.trainer)

    def on_validation_start(self) -> None:
        """Lightning's hook: stops a run that has diverged since the last log, and makes means as exact as the network.

        torchmetrics takes no part in a change of precision.
        """
        self.metrics.require_finite(self.trainer.global_step)
        self.metrics.publish(self.trainer)
        if next(self.network.parameters()).dtype == torch.float64:
            for metric in (self.held_out_log_likelihood, self.held_out_agreement):
                metric.set_dtype(torch.float64)

    def validation_step(self, batch: Batch, batch_idx: int = 0) -> None:
        """Log-likelihood of held-out actions under softmax(Q / temperature), and agreement with the best action."""
        expert: Transition | None = batch.get("expert")
        if expert is None:
            return
        if len(expert.actions):  # a process's last share may be empty; it logs all the same, so that none waits
            q = self.network(expert.obs)
            log_pi = torch.log_softmax(q / self.value.temperature, dim=1)
            self.held_out_log_likelihood.update(log_pi.gather(1, expert.actions[:, None])[:, 0])
            self.held_out_agreement.update((q.argmax(1) == expert.actions).float())
        self.log("val/log_likelihood", self.held_out_log_likelihood, on_epoch=True, batch_size=len(expert.actions))
        self.log("val/expert_agreement", self.held_out_agreement, on_epoch=True, batch_size=len(expert.actions))

    def test_step(self, batch: Batch, batch_idx: int = 0) -> None:
        """Nothing: callbacks play the environment."""

    def predict_step(self, batch: Batch, batch_idx: int = 0) -> dict[str, Tensor]:
        """Q-values, values and greedy actions of the held-out observations."""
        expert = batch.get("expert")
        if expert is None:
            raise UserError("predict reads held-out demonstrations: take ImitationData as the data")
        q = self.network(expert.obs)
        return {"q": q, "v": self.value(q), "actions": q.argmax(1)}

    # ---- checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what rebuilds the policy from the file alone, and what is logged next; tensors and primitives only."""
        assert self.env is not None
        checkpoint["iqlightning"] = {
            "schema": POLICY_SCHEMA,
            "algorithm": type(self).__name__,
            "network": self.network.recipe,
            "value": self.value.to_dict(),
            "gamma": self.gamma,
            "env": self.env.to_dict(),
            "seed": self.seed,
            "updates": checkpoint.get("global_step", 0),
            "metrics": {name: float(value) for name, value in self.trainer.callback_metrics.items()},
        }
        several = self.trainer.world_size > 1
        checkpoint[METRICS_KEY] = self.metrics.buffer.state_dict(self.trainer.strategy.all_gather if several else None)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses a checkpoint of another algorithm or network with a sentence instead of a list of keys."""
        stored = checkpoint.get("iqlightning", {})
        # a scheduled temperature is the one that the weights were trained at last
        self.value.at(max(int(checkpoint.get("global_step", 0)) - 1, 0))
        if stored.get("algorithm") != type(self).__name__:
            raise UserError(
                f"the checkpoint is of {stored.get('algorithm')}, this run's algorithm is {type(self).__name__}"
            )
        ours, theirs = self.network.recipe, stored["network"]
        if theirs != ours:
            # with the arguments that have been added since, at their defaults
            theirs = QNetwork.from_recipe(theirs).recipe
        if theirs != ours:
            part = next(name for name in ours | theirs if ours.get(name) != theirs.get(name))
            raise UserError(
                f"the checkpoint's network differs in its {part}: {theirs.get(part)}, this run's: {ours.get(part)}"
            )
        rows = checkpoint.get(METRICS_KEY, checkpoint.get("since_log"))  # as earlier versions called it
        if rows is not None:  # still earlier ones began their means anew
            self.metrics.buffer.load_state_dict(rows, self.trainer.global_rank, self.trainer.world_size)
        per_epoch = getattr(self.trainer.datamodule, "updates_per_epoch", None)
        if per_epoch is not None:
            align_counts(checkpoint, limited_epoch(self.trainer, per_epoch))
