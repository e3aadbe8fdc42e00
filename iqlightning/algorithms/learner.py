"""The update loop that every algorithm shares: learning rate -> objective -> gradient -> clip -> step -> target.

An algorithm is a subclass with one method, :meth:`Learner.objective`. Optimisation is Lightning's manual one, because
one call of ``training_step`` makes several updates: the fixed cost of a call, more than a small network's whole update,
is then paid once for all of them. Whatever the grouping, ``trainer.global_step`` counts updates.
"""

from abc import abstractmethod
from typing import Any, cast

import torch
from jaxtyping import Int
from lightning.pytorch import Callback
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor

from iqlightning.agents.agent import (
    AgentFactory,
    Bellman,
    Objective,
    OptimizerFactory,
    Step,
)
from iqlightning.agents.observation_scale import Scale, scale_warning
from iqlightning.agents.older import current_names
from iqlightning.algorithms.agent_module import AgentModule
from iqlightning.algorithms.agent_setting import agent_factory
from iqlightning.algorithms.held_out_scores import HeldOutScores
from iqlightning.algorithms.lightning_internals import (
    align_counts,
    ask_no_driver,
    count_batches,
    count_update,
    is_attached,
)
from iqlightning.algorithms.policy_record import policy_record, require_same_policy
from iqlightning.algorithms.schedules import Constant, Schedule
from iqlightning.algorithms.trainer_options import pauses, require_supported
from iqlightning.algorithms.training_metrics import TrainingMetrics
from iqlightning.algorithms.updates.flat_weights import FlatWeights, flat_optimizer
from iqlightning.algorithms.updates.updater import Updater, make_updater
from iqlightning.data.imitation_data import ImitationData
from iqlightning.data.own_batches import batch_of, observations_of
from iqlightning.data.replay_data import ReplayData
from iqlightning.data.updates import UpdateChunk, limited_epoch
from iqlightning.errors import UserError
from iqlightning.keyed import Stream
from iqlightning.losses.values import ValueFunction
from iqlightning.nets.q_network import EncoderFactory, HeadFactory
from iqlightning.nets.target import TargetUpdate
from iqlightning.types import Batch, Transition

__all__ = ["METRICS_KEY", "EncoderFactory", "Learner"]

#: Where a checkpoint keeps the figures of the updates since the last log.
METRICS_KEY = "metrics_buffer"


def _adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=1e-3, fused=True)


_REMEDIES = {
    "expert": "take ImitationData as the data",
    "initial": "take demonstrations of whole episodes, or ExpertStates as the value term",
    "policy": "play in training: --data.online of ImitationData, or ReplayData where nothing is imitated; a loader of "
    "your own gives {'expert': ..., 'policy': ...}",
}


class Learner(AgentModule):
    """An agent, its optimizers and the update loop.

    The agent takes its spaces from ``trainer.datamodule.env`` when a run begins, so that no size stands twice in a
    configuration; outside a trainer, and where a DataLoader of one's own has the data
    (:mod:`iqlightning.data.own_batches` says under which names), call :meth:`build` first.

    Whatever is an object or a factory here may be given as one, as a class, by the name of a class, or as plain data:
    ``encoder=MLP``, ``encoder="MLP"``, ``encoder=MLP(hidden=[64])``, ``encoder=lambda shape: MLP(shape, [64])`` and
    ``encoder={"class_path": "MLP", "init_args": {"hidden": [64]}}``. ``hparams`` has them as plain data.

    ``encoder``, ``head``, ``value``, ``target``, ``copies`` and ``scale`` are the settings of
    :class:`~iqlightning.agents.soft_q.SoftQ`, the agent of discrete actions; another agent has its own.

    Args:
        encoder: builds the agent's encoder from an observation's shape.
        gamma: discount in [0, 1).
        head: builds the head from the encoder's feature shape and the number of actions.
        value: V from Q: SoftValue (by default at temperature 0.01), AnnealedSoftValue for a scheduled temperature, or
            MaxValue for a policy without entropy.
        target: V(s') from a target network that follows so; None takes it from the network itself.
        copies: Q-networks of their own weights, of which the smallest Q is the policy's and V's; 2 for twin Q.
        scale: how observations are scaled for networks: none, space (by the bounds of the environment), standardise
            (over the demonstrations), one-hot (of whole numbers), or auto, which divides bytes by 255, takes whole
            numbers of at most 32 values for symbols and makes them one-hot, and leaves others as they are.
        agent: builds another agent from the spaces of the environment; None for SoftQ.
        optimizer: builds the optimizer from parameters; by default Adam at 1e-3.
        schedule: of the learning rate.
        max_grad_norm: gradients are scaled down to this Euclidean norm; None for no clipping.
        log_every: updates between two logged points; None takes ``trainer.log_every_n_steps``.
        seed: of the initial weights and of drawn actions.
        compile: whether loss, gradient and optimizer step are compiled into one function. Compiling takes seconds to a
            minute at first, so that it pays on long runs of small networks.

    Raises:
        UserError: if a value is out of range, or settings of SoftQ are given beside another agent.
    """

    def __init__(
        self,
        encoder: EncoderFactory | None = None,
        gamma: float = 0.99,
        head: HeadFactory | None = None,
        value: ValueFunction | None = None,
        target: TargetUpdate | None = None,
        copies: int = 1,
        scale: Scale = "auto",
        agent: AgentFactory | None = None,
        optimizer: OptimizerFactory | None = None,
        schedule: Schedule | None = None,
        max_grad_norm: float | None = None,
        log_every: int | None = None,
        seed: int = 0,
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
        self.agent_factory = agent_factory(
            type(self).__name__,
            encoder=encoder,
            head=head,
            value=value,
            target=target,
            copies=copies,
            scale=scale,
            agent=agent,
        )
        self.gamma = gamma
        self.optimizer_factory = optimizer or _adam
        self.schedule = schedule or Constant()
        self.max_grad_norm = max_grad_norm
        self.log_every = log_every
        self.seed = seed
        self.compiled = compile
        self.held_out = HeldOutScores()
        self.metrics = TrainingMetrics()
        self.updater: Updater | None = None
        self._steps: list[tuple[Step, FlatWeights | None]] = []

    reads_successors: bool = True
    """Whether the objective reads what an action led to."""

    # ---- construction

    @property
    def needs(self) -> frozenset[str]:
        """The parts of a batch that the objective cannot do without."""
        return frozenset({"expert"})

    @property
    def title(self) -> str:
        """What a sentence about the objective calls it."""
        return type(self).__name__

    @property
    def q_bound(self) -> float | None:
        """Largest |Q| of the optimum, max reward / (1 - gamma), entropy aside; None where no penalty bounds it."""
        return None

    def steps(self) -> list[Step]:
        """What the optimizers step at every update."""
        return self.agent.steps(self.objective)

    def parts_of(self, batch: Batch) -> list[Transition]:
        """The expert's and the policy's transitions, those of the two that the objective needs.

        Raises:
            UserError: if the batch lacks what it needs.
        """
        needs = self.needs
        if not needs <= batch.keys():
            missing = [name for name in sorted(needs) if name not in batch]
            raise UserError(
                f"{self.title} needs {' and '.join(missing)} data, which this run does not have; "
                f"{_REMEDIES[missing[0]]}"
            )
        return [batch[name] for name in ("expert", "policy") if name in needs]  # type: ignore[literal-required]

    def configure_callbacks(self) -> list[Callback]:
        """Lightning's first hook of a run: refuses what the trainer is asked for and could only ignore."""
        if self.trainer.state.fn == "fit":
            require_supported(self.trainer)
        return []

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Lightning's hook: an optimizer for each step of an update."""
        self.updater = None
        ask_no_driver()
        steps = [(each, *self._optimizer_of(each)) for each in self.steps()]
        self._steps = [(step, flat) for step, _, flat in steps]
        return [optimizer for _, optimizer, _ in steps]

    def _optimizer_of(self, step: Any) -> tuple[torch.optim.Optimizer, Any]:
        try:
            optimizer, flat = flat_optimizer(step.module, step.optimizer or self.optimizer_factory)
        except (ValueError, TypeError, RuntimeError) as error:
            raise UserError(f"the optimizer of the {step.name} cannot be made: {error}") from error
        if isinstance(optimizer, (torch.optim.LBFGS, torch.optim.SparseAdam)):
            wants = (
                "a loss that it can evaluate again" if isinstance(optimizer, torch.optim.LBFGS) else "sparse gradients"
            )
            name = type(optimizer).__name__
            raise UserError(f"the optimizer {name} cannot work here: it wants {wants}; take Adam, for example")
        return optimizer, flat

    def on_fit_start(self) -> None:
        """Lightning's hook: an agent that standardises observations learns how, unless a checkpoint has told it.

        What looks wrong about the scale of observations is warned of.
        """
        served = getattr(self.trainer.datamodule, "served_observations", None)
        if self.agent.wants_observations:
            self.agent.fit_observations(None if served is None else served())
        some = getattr(self.trainer.datamodule, "some_observations", None)
        if some is not None and (warning := scale_warning(self.agent.sees, some())) is not None:
            rank_zero_warn(warning, category=UserWarning)
        together = getattr(self.trainer.datamodule, "per_episode", 1)
        if self.agent.draws and self.trainer.world_size > 1 and together > 1:
            raise UserError(
                f"data.per_episode is {together}, and what an actor draws is shared out over processes transition by "
                "transition; set it to 1, or train with one process"
            )

    # ---- the update

    @abstractmethod
    def objective(self, batch: Batch) -> Objective:
        """The loss of a batch, its terms, and diagnostics."""

    def explore(self, observations: Tensor, env_steps: int, envs: Int[Tensor, " num_envs"]) -> Tensor:
        """Actions drawn from the policy for an online run, keyed by seed, transitions so far and environment.

        Args:
            observations: (N, *shape) of this process's environments.
            env_steps: transitions collected so far, by all processes.
            envs: (N,) numbers of these environments among those of all processes.
        """
        with torch.no_grad():
            return self.agent.explore(observations, keys=(Stream.SAMPLE, self.seed, env_steps, envs))

    def training_step(self, batches: UpdateChunk | Any, batch_idx: int = 0) -> STEP_OUTPUT:
        """One update for each batch; of a loader of one's own, which Lightning counts itself, for the one it gives."""
        trainer = self.trainer
        if isinstance(batches, UpdateChunk):
            count_batches(trainer, len(batches) - 1)  # Lightning has counted one
        else:
            batches = [self._read(batches)]
        optimizers = self._optimizers()
        if self.updater is None:
            self.updater = make_updater(
                self, self._steps, optimizers, self.max_grad_norm, self.compiled, self.agent.scheduled
            )
        updater = self.updater
        updater.begin()
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        rates = [group.setdefault("initial_lr", group["lr"]) for group in groups]
        factor_at, total, log_every = self.schedule.factor, self._total_updates(), self._log_interval()
        cached_casts = torch.is_autocast_enabled(self.device.type)
        agent, rank, world_size = self.agent, trainer.global_rank, trainer.world_size
        update = trainer.global_step
        for batch in batches:
            factor = factor_at(update, total)
            for group, rate in zip(groups, rates, strict=True):
                group["lr"] = rate * factor
            agent.at(update)
            logs = (update + 1) % log_every == 0
            made = updater(agent.with_noise(batch, self.seed, update, rank, world_size), logs)
            update += 1
            agent.after_update(update)
            if cached_casts:  # of weights that have changed; it would be emptied after the last update only
                torch.clear_autocast_cache()
            self.metrics.add(made)
            count_update(trainer)
            if logs:
                self.metrics.log(trainer, update, made.diagnostics(), groups[0]["lr"])
        return None

    def _read(self, batch: Any) -> Batch:
        """A batch of ours as it is, one of a loader of one's own checked (see :mod:`iqlightning.data.own_batches`)."""
        ours = isinstance(self.trainer.datamodule, (ImitationData, ReplayData))
        if ours or (isinstance(batch, dict) and not batch):  # one empty batch lets hooks have their turn
            return cast(Batch, batch)
        assert self.spaces is not None
        part = "expert" if "expert" in self.needs else "policy"
        return batch_of(batch, self.spaces, part=part, successors=self.reads_successors, device=self.device)

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

    @torch.no_grad()
    def diagnose(self, bellman: Bellman) -> dict[str, Tensor]:
        """Means of Q, V, V - Q, entropy and recovered reward (and its range); Q, V and reward of the policy's moves.

        ``q_gap`` is how far Q on expert data lies above Q on policy data, ``q_share`` the mean |Q| of the larger of the
        two against :attr:`q_bound`.
        """
        rewards, *rest = (part.rewards(self.gamma) for part in bellman.parts)
        scalars = self.agent.diagnose(bellman)
        scalars |= {"reward": rewards.mean(), "reward_min": rewards.min(), "reward_max": rewards.max()}
        if rest:
            policy_q = self.agent.diagnose(bellman, 1)["q"]
            scalars |= {"policy_reward": rest[0].mean(), "policy_v": bellman.parts[1].v.mean()}
            scalars |= {"policy_q": policy_q, "q_gap": scalars["q"] - policy_q}
        if self.q_bound is not None:
            # a mean, so that processes agree on it
            sizes = torch.stack([part.q_a.abs().mean() for part in bellman.parts])
            scalars["q_share"] = sizes.mean() / self.q_bound
        return scalars

    # ---- evaluation on held-out data

    def on_train_epoch_end(self) -> None:
        """Lightning's hook: callbacks that monitor a training figure look at the end of each epoch."""
        self.metrics.publish(self.trainer)

    def on_validation_start(self) -> None:
        """Lightning's hook: stops a run that has diverged since the last log."""
        self.metrics.require_finite(self.trainer.global_step)
        self.metrics.publish(self.trainer)
        self.held_out.match_precision(next(self.agent.parameters()).dtype)

    def validation_step(self, batch: Any, batch_idx: int = 0) -> None:
        """Scores held-out demonstrations."""
        expert = self._read(batch).get("expert")
        if expert is not None:
            self.held_out.update(self.agent, expert)
            self.held_out.log(self, len(expert.actions))

    def test_step(self, batch: Batch, batch_idx: int = 0) -> None:
        """Nothing: callbacks play the environment."""

    def predict_step(self, batch: Any, batch_idx: int = 0) -> dict[str, Tensor]:
        """Q-values, values and greedy actions of the held-out observations, or of those of a loader of one's own."""
        if not isinstance(self.trainer.datamodule, (ImitationData, ReplayData)):
            assert self.spaces is not None
            return self.agent.predict(observations_of(batch, self.spaces, self.device))
        expert = batch.get("expert")
        if expert is None:
            raise UserError("predict reads held-out demonstrations: take ImitationData as the data")
        return self.agent.predict(expert.obs)

    # ---- checkpoints

    def policy_record(self, updates: int) -> dict[str, Any]:
        """What rebuilds the policy after so many updates, beside its weights; tensors and primitives only."""
        name, figures = type(self).__name__, self.trainer.callback_metrics
        return policy_record(name, self.agent, self.gamma, self.env, self.seed, updates, figures)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what rebuilds the policy from the file alone, and what is logged next; tensors and primitives only."""
        checkpoint["iqlightning"] = self.policy_record(checkpoint.get("global_step", 0))
        several = self.trainer.world_size > 1
        checkpoint[METRICS_KEY] = self.metrics.buffer.state_dict(self.trainer.strategy.all_gather if several else None)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Goes on from a checkpoint of the same algorithm and network, of this version or an earlier one."""
        require_same_policy(checkpoint.get("iqlightning", {}), type(self).__name__, self.agent)
        # a scheduled temperature is the one that the weights were trained at last
        self.agent.at(max(int(checkpoint.get("global_step", 0)) - 1, 0))
        checkpoint["state_dict"] = current_names(checkpoint["state_dict"])
        if not is_attached(self):  # nothing goes on
            return
        rows = checkpoint.get(METRICS_KEY, checkpoint.get("since_log"))  # as earlier versions called it
        if rows is not None:  # still earlier ones began their means anew
            self.metrics.buffer.load_state_dict(rows, self.trainer.global_rank, self.trainer.world_size)
        per_epoch = getattr(self.trainer.datamodule, "updates_per_epoch", None)
        if per_epoch is not None:
            align_counts(checkpoint, limited_epoch(self.trainer, per_epoch))
