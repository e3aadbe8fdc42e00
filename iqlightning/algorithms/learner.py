"""The update loop that every algorithm shares: objective -> gradient -> clip -> step -> schedule -> target.

An algorithm is a subclass with one method, :meth:`Learner.objective`. Optimisation is Lightning's manual one, because
one call of ``training_step`` makes several updates: the fixed cost of a call, more than a small network's whole update,
is then paid once for all of them. Whatever the grouping, ``trainer.global_step`` counts updates.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import lightning
import torch
from jaxtyping import Int
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor
from torchmetrics import MeanMetric, Metric

from iqlightning.agents.agent import (
    Agent,
    AgentFactory,
    Bellman,
    Objective,
    OptimizerFactory,
    Step,
    agent_from_recipe,
)
from iqlightning.agents.older import agent_recipe_of, current_names
from iqlightning.agents.soft_q import SoftQ
from iqlightning.algorithms.compiled_update import CompiledUpdate
from iqlightning.algorithms.eager_update import EagerUpdate, Updated
from iqlightning.algorithms.flat_weights import FlatWeights, flat_optimizer
from iqlightning.algorithms.process_gather import Gather, average, gather_by_message, gather_over_processes
from iqlightning.algorithms.schedules import Constant, Schedule
from iqlightning.algorithms.since_log import SinceLog
from iqlightning.errors import UserError
from iqlightning.keyed import Stream
from iqlightning.losses.values import ValueFunction
from iqlightning.nets.encoders.encoder import Encoder
from iqlightning.nets.heads import Head, PlainHead
from iqlightning.nets.target import TargetUpdate
from iqlightning.policies import POLICY_SCHEMA, AgentPolicy
from iqlightning.types import Batch, EnvConfig, Transition

__all__ = ["EncoderFactory", "HeadFactory", "Learner"]

EncoderFactory = Callable[[tuple[int, ...]], Encoder]
"""Builds an encoder from the shape of one observation."""

HeadFactory = Callable[[tuple[int, ...], int], Head]
"""Builds a head from the encoder's feature shape and the number of actions."""

_REMEDY = "; try a lower learning rate or a smaller --model.max_grad_norm"


def _adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=1e-3, fused=True)


_REMEDIES = {
    "expert": "take ImitationData as the data",
    "initial": "take demonstrations of whole episodes, or ExpertStates as the value term",
    "policy": "play in training: --data.online of ImitationData, or ReplayData where nothing is imitated",
}


class Learner(lightning.LightningModule, ABC):
    """An agent, its optimizers and the update loop.

    The agent takes its spaces from ``trainer.datamodule.env`` when a run begins, so that no size stands twice in a
    configuration; outside a trainer call :meth:`build` with an environment's configuration.

    ``encoder``, ``head``, ``value``, ``target`` and ``copies`` are the settings of
    :class:`~iqlightning.agents.soft_q.SoftQ`, the agent of discrete actions; another agent has its own.

    Args:
        encoder: builds the agent's encoder from an observation's shape.
        gamma: discount in [0, 1).
        head: builds the head from the encoder's feature shape and the number of actions.
        value: V from Q: SoftValue (by default at temperature 0.01), AnnealedSoftValue for a scheduled temperature, or
            MaxValue for a policy without entropy.
        target: V(s') from a target network that follows so; None takes it from the network itself.
        copies: Q-networks of their own weights, of which the smallest Q is the policy's and V's; 2 for twin Q.
        agent: builds another agent from the spaces of the environment; None for SoftQ.
        optimizer: builds the optimizer from parameters; by default Adam at 1e-3.
        schedule: of the learning rate.
        max_grad_norm: gradients are scaled down to this Euclidean norm; None for no clipping.
        log_every: updates between two logged points.
        seed: of the initial weights and of drawn actions.
        compile: whether loss, gradient and optimizer step are compiled into one function. Compiling takes seconds to a
            minute at first, so that it pays on long runs of small networks.

    Raises:
        UserError: if a value is out of range, or settings of SoftQ are given beside another agent.
    """

    agent: Agent
    trainer: Any  # Lightning's own annotation forbids the attributes that are read below

    def __init__(
        self,
        encoder: EncoderFactory | None = None,
        gamma: float = 0.99,
        head: HeadFactory | None = None,
        value: ValueFunction | None = None,
        target: TargetUpdate | None = None,
        copies: int = 1,
        agent: AgentFactory | None = None,
        optimizer: OptimizerFactory | None = None,
        schedule: Schedule | None = None,
        max_grad_norm: float | None = None,
        log_every: int = 20,
        seed: int = 0,
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
        self.agent_factory = agent or _soft_q(type(self).__name__, encoder, head, value, target, copies)
        self.gamma = gamma
        self.optimizer_factory = optimizer or _adam
        self.schedule = schedule or Constant()
        self.max_grad_norm = max_grad_norm
        self.log_every = log_every
        self.seed = seed
        self.compiled = compile
        self.env: EnvConfig | None = None
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
        """Makes the agent for an environment; weights depend on ``seed`` alone."""
        self.env = env
        self.agent = self.fresh_agent()

    def fresh_agent(self) -> Agent:
        """An agent with the run's initial weights."""
        assert self.env is not None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return self.agent_factory(self.env.spaces)

    def steps(self) -> list[Step]:
        """What the optimizers step at every update."""
        return self.agent.steps(self.objective)

    def parts_of(self, batch: Batch) -> list[Transition]:
        """The expert's and the policy's transitions, those of the two that the objective needs.

        Raises:
            UserError: if the batch lacks what it needs.
        """
        missing = [name for name in sorted(self.needs) if name not in batch]
        if missing:
            raise UserError(
                f"{type(self).__name__} needs {' and '.join(missing)} data here, which this run does not have; "
                f"{_REMEDIES[missing[0]]}"
            )
        return [batch[name] for name in ("expert", "policy") if name in self.needs]  # type: ignore[literal-required]

    def configure_model(self) -> None:
        """Lightning's hook: builds the networks once the data, and with it the environment, is known."""
        if self.env is None:
            self.build(self.trainer.datamodule.env)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Lightning's hook."""
        self.updater = self._gather = None
        optimizer, self._flat = flat_optimizer(self.steps()[0].module, self.optimizer_factory)
        return optimizer

    @property
    def policy(self) -> AgentPolicy:
        """The policy of the present weights."""
        return AgentPolicy(self.agent, self.gamma, self.env)

    # ---- the update

    @abstractmethod
    def objective(self, batch: Batch) -> Objective:
        """The loss of a batch, its terms, and diagnostics."""

    @property
    def network(self) -> Any:
        """The network of Q(s, .)."""
        return self.agent.network

    @property
    def value(self) -> Any:
        """V from Q(s, .)."""
        return self.agent.value

    def explore(self, observations: Tensor, env_steps: int, envs: Int[Tensor, " num_envs"]) -> Tensor:
        """Actions drawn from the policy for an online run, keyed by seed, transitions so far and environment.

        Args:
            observations: (N, *shape) of this process's environments.
            env_steps: transitions collected so far, by all processes.
            envs: (N,) numbers of these environments among those of all processes.
        """
        with torch.no_grad():
            return self.agent.act(observations, sample=True, keys=(Stream.SAMPLE, self.seed, env_steps, envs))

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
            self.agent.at(update)
            logs = (update + 1) % log_every == 0
            made = updater(batch, logs)
            update += 1
            self.agent.after_update(update)
            self._accumulate(made)
            self._count_update()
            if logs:
                self._write(update, made.diagnostics(), groups[0]["lr"])
        return None

    def _make_updater(self, optimizer: torch.optim.Optimizer) -> EagerUpdate | CompiledUpdate:
        step = self.steps()[0]
        parameters = [each for each in step.module.parameters() if each.requires_grad]
        eager = EagerUpdate(step.objective, self._backward, optimizer, parameters, self._flat, self.max_grad_norm)
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
        if self.agent.scheduled:
            return "its temperature changes from update to update"
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
    def diagnose(self, bellman: Bellman) -> dict[str, Tensor]:
        """Means of Q, V, V - Q, entropy and recovered reward (and its range); V and reward of the policy's moves."""
        rewards, *rest = (part.rewards(self.gamma) for part in bellman.parts)
        scalars = self.agent.diagnose(bellman)
        scalars |= {"reward": rewards.mean(), "reward_min": rewards.min(), "reward_max": rewards.max()}
        if rest:
            scalars |= {"policy_reward": rest[0].mean(), "policy_v": bellman.parts[1].v.mean()}
        return scalars

    # ---- evaluation on held-out data

    def on_validation_start(self) -> None:
        """Lightning's hook: stops a run that has diverged since the last log, and makes means as exact as the network.

        torchmetrics takes no part in a change of precision.
        """
        self._require_finite(self.trainer.global_step)
        if next(self.agent.parameters()).dtype == torch.float64:
            for metric in (self.held_out_log_likelihood, self.held_out_agreement):
                metric.set_dtype(torch.float64)

    def validation_step(self, batch: Batch, batch_idx: int = 0) -> None:
        """Log-likelihood of held-out actions under softmax(Q / temperature), and agreement with the best action."""
        expert: Transition | None = batch.get("expert")
        if expert is None:
            return
        if len(expert.actions):  # a process's last share may be empty; it logs all the same, so that none waits
            self.held_out_log_likelihood.update(self.agent.log_prob(expert.obs, expert.actions))
            self.held_out_agreement.update(self.agent.agreement(expert.obs, expert.actions))
        self.log("val/log_likelihood", self.held_out_log_likelihood, on_epoch=True, batch_size=len(expert.actions))
        self.log("val/expert_agreement", self.held_out_agreement, on_epoch=True, batch_size=len(expert.actions))

    def test_step(self, batch: Batch, batch_idx: int = 0) -> None:
        """Nothing: callbacks play the environment."""

    def predict_step(self, batch: Batch, batch_idx: int = 0) -> dict[str, Tensor]:
        """Q-values, values and greedy actions of the held-out observations."""
        expert = batch.get("expert")
        if expert is None:
            raise UserError("predict reads held-out demonstrations: take ImitationData as the data")
        return self.agent.predict(expert.obs)

    # ---- checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what rebuilds the policy from the file alone, and what is logged next; tensors and primitives only."""
        assert self.env is not None
        checkpoint["iqlightning"] = {
            "schema": POLICY_SCHEMA,
            "algorithm": type(self).__name__,
            "agent": self.agent.recipe,
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
        self.agent.at(max(int(checkpoint.get("global_step", 0)) - 1, 0))
        if stored.get("algorithm") != type(self).__name__:
            raise UserError(
                f"the checkpoint is of {stored.get('algorithm')}, this run's algorithm is {type(self).__name__}"
            )
        ours, theirs = self.agent.architecture, agent_recipe_of(stored)
        # built, so that arguments that have been added since stand at their defaults
        theirs = agent_from_recipe(theirs).architecture if theirs["kind"] == self.agent.recipe["kind"] else theirs
        if theirs != ours:
            part = next(name for name in ours | theirs if ours.get(name) != theirs.get(name))
            raise UserError(
                f"the checkpoint's network differs in its {part}: {theirs.get(part)}, this run's: {ours.get(part)}"
            )
        checkpoint["state_dict"] = current_names(checkpoint["state_dict"])
        if "since_log" in checkpoint:  # earlier versions began their means anew
            self._since_log.load_state_dict(checkpoint["since_log"], self.trainer.global_rank, self.trainer.world_size)


def _soft_q(
    algorithm: str,
    encoder: EncoderFactory | None,
    head: HeadFactory | None,
    value: ValueFunction | None,
    target: TargetUpdate | None,
    copies: int,
) -> AgentFactory:
    """The agent of an algorithm that is given none."""
    if encoder is None:
        raise UserError(f"{algorithm} needs an encoder, such as MLP")
    return lambda spaces: SoftQ(spaces, encoder, head or PlainHead, value, target, copies)
