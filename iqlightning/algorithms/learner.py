"""The update loop that every algorithm shares: objective -> gradient -> clip -> step -> schedule -> target.

An algorithm is a subclass with one method, :meth:`Learner.objective`. Optimisation is Lightning's manual one, because
one call of ``training_step`` makes several updates: the fixed cost of a call, more than a small network's whole update,
is then paid once for all of them. Whatever the grouping, ``trainer.global_step`` counts updates.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import lightning
import torch
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric

from iqlightning.algorithms.compiled_update import CompiledUpdate
from iqlightning.algorithms.eager_update import EagerUpdate, Updated
from iqlightning.algorithms.flat_weights import FlatWeights, flat_optimizer
from iqlightning.algorithms.process_gather import Gather, average, gather_by_message, gather_over_processes
from iqlightning.algorithms.schedules import Constant, Schedule
from iqlightning.algorithms.since_log import SinceLog
from iqlightning.errors import UserError
from iqlightning.losses.values import ValueFunction
from iqlightning.nets.encoders.encoder import Encoder
from iqlightning.nets.heads import Head, PlainHead
from iqlightning.nets.q_network import QNetwork
from iqlightning.policies import POLICY_SCHEMA, QPolicy
from iqlightning.spaces import num_actions, observation_high
from iqlightning.types import Batch, EnvConfig, Transition

__all__ = ["Learner", "Objective", "OptimizerFactory"]

OptimizerFactory = Callable[[Iterable], torch.optim.Optimizer]
"""Builds the optimizer from parameters."""

_REMEDY = "; try a lower learning rate or a smaller --model.max_grad_norm"


def _adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=1e-3, fused=True)


class Objective(NamedTuple):
    """What an algorithm computes of a batch.

    Attributes:
        loss: the scalar to minimise.
        terms: its terms, scalars; their means over the updates since the last log are logged.
        diagnostics: further scalars, computed on the updates that are logged only.
    """

    loss: Tensor
    terms: dict[str, Tensor]
    diagnostics: Callable[[], dict[str, Tensor]]


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
        log_every: updates between two logged points.
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
        log_every: int,
        seed: int,
        compile: bool = False,
    ) -> None:
        super().__init__()
        if not 0 <= gamma < 1:
            raise UserError(f"gamma must lie in [0, 1), not {gamma}")
        if max_grad_norm is not None and not max_grad_norm > 0:
            raise UserError(f"max_grad_norm must be positive (or null for no clipping), not {max_grad_norm}")
        if log_every < 1:
            raise UserError(f"log_every counts updates and must be at least 1, not {log_every}")
        self.automatic_optimization = False
        self.encoder_factory = encoder
        self.head_factory = head or PlainHead
        self.value = value
        self.gamma = gamma
        self.optimizer_factory = optimizer or _adam
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
        self._since_log = SinceLog()
        self._flat: FlatWeights | None = None
        self.updater: EagerUpdate | CompiledUpdate | None = None
        self._gather: Gather | None = None  # of this run's processes; made when it is first needed

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

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Lightning's hook."""
        self.updater = self._gather = None
        optimizer, self._flat = flat_optimizer(self.trainable, self.optimizer_factory)
        return optimizer

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

    def training_step(self, batches: Iterable[Batch], batch_idx: int = 0) -> STEP_OUTPUT:
        """One gradient update for each batch."""
        trainer = self.trainer
        optimizer: Any = self.optimizers(use_pl_optimizer=False)
        updater = self.updater or self._make_updater(optimizer)
        updater.begin()
        groups = optimizer.param_groups
        rates = [group.setdefault("initial_lr", group["lr"]) for group in groups]
        factor_at, total, log_every = self.schedule.factor, trainer.max_steps, self.log_every
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
            self._accumulate(made)
            self._count_update()
            if logs:
                self._write(update, made.diagnostics(), groups[0]["lr"])
        return None

    def _make_updater(self, optimizer: torch.optim.Optimizer) -> EagerUpdate | CompiledUpdate:
        parameters = [each for each in self.network.parameters() if each.requires_grad]
        eager = EagerUpdate(self.objective, self._backward, optimizer, parameters, self._flat, self.max_grad_norm)
        self.updater = eager
        if self.compiled:
            obstacle = self._obstacle_to_compiling()
            if obstacle is None:
                networks = {name: each for name, each in self.named_children() if not isinstance(each, Metric)}
                self.updater = CompiledUpdate(eager, networks, say=rank_zero_warn)
            else:
                rank_zero_warn(f"compile has no effect: {obstacle}; updates are made operation by operation")
        return self.updater

    def _obstacle_to_compiling(self) -> str | None:
        if self.trainer.world_size > 1:
            return "only runs of one process are compiled"
        if type(self.value).at is not ValueFunction.at:
            return f"{type(self.value).__name__} changes from update to update"
        if self._flat is None:
            return "this optimizer treats each parameter as a matrix of its own"
        return None

    def _backward(self, loss: Tensor) -> None:
        # Lightning's hooks around a backward pass cost as much as a small network's own. Where the gradient is one
        # small vector, one exchange after the pass also costs less than to prepare many that overlap with it.
        if self.trainer.world_size == 1:
            loss.backward()
        elif (gradient := self._exchanged()) is not None:
            loss.backward()
            average(gradient, self._processes())
        else:
            self.manual_backward(loss)

    def _exchanged(self) -> Tensor | None:
        """The gradient that processes hand each other here; None if that is left to Lightning's hooks."""
        flat = self._flat
        if flat is None or not flat.small or not isinstance(self.trainer.strategy, DDPStrategy):
            return None
        return flat.gradient

    def _processes(self) -> Gather:
        """How processes hand each other vectors; all have to call it."""
        if self._gather is None:
            gradient = self._exchanged()
            self._gather = gather_by_message if gradient is None else gather_over_processes(gradient)
        return self._gather

    def _count_update(self) -> None:
        """Counts an update where Lightning counts optimizer steps: the optimizer is called around its wrapper."""
        loop = self.trainer.fit_loop.epoch_loop
        progress = loop.manual_optimization.optim_step_progress
        progress.increment_ready()
        progress.increment_completed()
        # Lightning adds one after the step and uses the result as the horizontal axis of what callbacks log.
        loop._batches_that_stepped = progress.total.completed - 1

    # ---- logging

    def _accumulate(self, made: Updated) -> None:
        self._since_log.add(made.names, made.scalars)

    @torch.no_grad()
    def _write(self, update: int, extra: dict[str, Tensor], rate: float) -> None:
        rows, terms = self._since_log.rows(), self._since_log.names
        assert rows is not None
        values = torch.cat([rows.mean(0), torch.stack(list(extra.values())).to(rows)])
        if self.trainer.world_size > 1:
            values = self._of_all_processes(values, [*terms, *extra])
        numbers = dict(zip([*terms, *extra], values.tolist(), strict=True))
        wrong = [name for name in terms if not abs(numbers[name]) < float("inf")]
        if wrong:
            self._require_finite(update)
            raise UserError(f"training diverged: {', '.join(wrong)} is {numbers[wrong[0]]} by update {update}{_REMEDY}")
        self._since_log.clear()
        metrics = {f"train/{name}": number for name, number in numbers.items()} | {"train/learning_rate": rate}
        for logger in self.trainer.loggers:
            logger.log_metrics(metrics, step=update)
        # What self.log(prog_bar=True) comes to, without a millisecond of bookkeeping that dozens of updates fit into.
        shown = self.trainer._logger_connector
        shown._callback_metrics["loss"] = values[terms.index("loss")]
        shown._progress_bar_metrics["loss"] = numbers["loss"]

    @torch.no_grad()
    def _require_finite(self, update: int) -> None:
        """Names the first update after the last log at which a term was no number, and the terms that were none."""
        found = self._since_log.first_not_finite()
        if found is None:
            return
        ago, wrong = found
        raise UserError(
            f"training diverged: {', '.join(f'{name} is {value}' for name, value in wrong.items())} at update "
            f"{update - ago}{_REMEDY}"
        )

    def _of_all_processes(self, values: Tensor, names: list[str]) -> Tensor:
        """The mean over processes, each of which has an equal share of the batch; of extremes the extreme."""
        ends = {"_min": -1.0, "_max": 1.0}
        signs = values.new_tensor([ends.get(name[-4:], 0.0) for name in names])
        everybody = self._processes()(values)
        return torch.where(signs == 0, everybody.mean(0), signs * (signs * everybody).amax(0))

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

    def on_validation_start(self) -> None:
        """Lightning's hook: stops a run that has diverged since the last log, and makes means as exact as the network.

        torchmetrics takes no part in a change of precision.
        """
        self._require_finite(self.trainer.global_step)
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
        checkpoint["since_log"] = self._since_log.state_dict(self.trainer.strategy.all_gather if several else None)

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
        if "since_log" in checkpoint:  # earlier versions began their means anew
            self._since_log.load_state_dict(checkpoint["since_log"], self.trainer.global_rank, self.trainer.world_size)
