"""Behaviour cloning as the bar to beat: the run's own network, batches and number of updates, another loss."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from gymnasium.spaces import Discrete
from jaxtyping import Float
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import LambdaCallback
from torch import Tensor

from iqlightning.algorithms.behavior_cloning import BehaviorCloning
from iqlightning.algorithms.learner import Learner
from iqlightning.data.imitation_data import ImitationData
from iqlightning.data.updates import EmptyBatchLoader, UpdateLoader
from iqlightning.policies import AgentPolicy
from iqlightning.types import BatchSource, Trajectories

__all__ = ["ClonedPolicy", "clone", "expert_batches", "train_cloning"]

_UPDATES_PER_STEP = 25
_HELD_OUT_ROWS = 4096  # scored at a time


class ClonedPolicy(NamedTuple):
    """The baseline that a run is compared with.

    Attributes:
        policy: plays.
        temperature: of its softmax(Q / temperature); None where an actor has none.
        log_likelihood: mean log pi(a | s) of held-out actions, in nats, under each temperature that was tried; empty
            where nothing was held out.
    """

    policy: AgentPolicy
    temperature: float | None
    log_likelihood: dict[float, float]

    def to_dict(self) -> dict[str, object]:
        """What ``summary.json`` keeps."""
        return {"temperature": self.temperature, "held_out_log_likelihood": self.log_likelihood}

    def __str__(self) -> str:
        if self.temperature is None:
            return "behaviour cloning: the run's own actor, by likelihood"
        chosen = f"behaviour cloning: softmax(Q / {self.temperature:g})"
        if not self.log_likelihood:
            return f"{chosen}; no demonstration is held out, so no other temperature was tried"
        tried = ", ".join(f"{each:g}" for each in self.log_likelihood)
        if self.temperature == next(iter(self.log_likelihood)):
            return f"{chosen}; of temperatures {tried} no other makes held-out demonstrations clearly likelier"
        return f"{chosen}; of temperatures {tried} the one that makes held-out demonstrations likeliest"


def clone(
    learner: Learner,
    data: ImitationData,
    updates: int,
    temperatures: Sequence[float],
    *,
    world_size: int = 1,
    progress: Callable[[int], None] | None = None,
) -> ClonedPolicy:
    """Cloning at its best: of some temperatures, each trained alike, the likeliest on held-out demonstrations.

    The learner's own temperature is in units of reward and can make cloning weak; no episode that is played chooses.
    The first temperature stays where no other is likelier by more than the standard error of the difference, since
    what a few demonstrations cannot tell apart would else be drawn by lot.

    Args:
        learner: of the run that is over; it is left untouched.
        data: its demonstrations.
        updates: gradient updates of each.
        temperatures: to try; the first is the usual one, and taken where nothing is held out.
        world_size: processes of the run.
        progress: called with the number of updates that have been made since the last call.
    """
    source = expert_batches(data, world_size)
    if not isinstance(learner.agent.spaces.action, Discrete):
        own = learner.agent.temperature
        return ClonedPolicy(train_cloning(learner, source, updates, own, progress=progress), None, {})
    if data.held_out is None:
        first = temperatures[0]
        return ClonedPolicy(train_cloning(learner, source, updates, first, progress=progress), first, {})
    cloned = {each: train_cloning(learner, source, updates, each, progress=progress) for each in temperatures}
    scores = {each: _log_likelihoods(policy, data.held_out) for each, policy in cloned.items()}
    chosen = _likeliest(scores)
    return ClonedPolicy(cloned[chosen], chosen, {each: float(score.mean()) for each, score in scores.items()})


def _likeliest(scores: dict[float, Float[Tensor, " transitions"]]) -> float:
    """The first of some settings, unless the likeliest gains more than the standard error over it."""
    first, best = next(iter(scores)), max(scores, key=lambda each: float(scores[each].mean()))
    gain = scores[best] - scores[first]
    # no error is known of a single transition
    return best if len(gain) > 1 and gain.mean() > gain.std() / len(gain) ** 0.5 else first


@torch.no_grad()
def _log_likelihoods(policy: AgentPolicy, held_out: Trajectories) -> Float[Tensor, " transitions"]:
    """Of each transition log pi(a | s), in nats."""
    found: list[Tensor] = []
    for rows in torch.arange(held_out.num_transitions).split(_HELD_OUT_ROWS):
        expert = held_out.transitions(rows.to(held_out.actions.device))
        log_prob = policy.agent.log_prob(expert.obs.to(policy.device), expert.actions.to(policy.device))
        found.append(log_prob.double().cpu())
    return torch.cat(found)


def expert_batches(data: ImitationData, world_size: int) -> BatchSource:
    """The run's own batches of demonstrations, whole and without anything played.

    With several processes each serves a share of every batch, and online a batch is played when it is asked for; then a
    copy of the datamodule serves the same demonstrations to one process.
    """
    if world_size == 1 and data.online is None:
        return data.source
    copied = ImitationData(
        env=data.env,
        path=data.demonstrations_file,
        episodes=data.episodes,
        batch_size=data.batch_size,
        per_episode=data.per_episode,
        stride=data.stride,
        validation_fraction=data.validation_fraction,
        noise_std=data.noise_std,
        symmetries=data.symmetries,
        seed=data.seed,
    )
    copied.setup("fit")
    return copied.source


def train_cloning(
    learner: Learner,
    source: BatchSource,
    updates: int,
    temperature: float,
    *,
    progress: Callable[[int], None] | None = None,
) -> AgentPolicy:
    """Trains :class:`~iqlightning.algorithms.behavior_cloning.BehaviorCloning` as a run of its own, without a trace.

    It begins with the learner's initial weights and has its optimizer, schedule, precision and device; batch k is the
    one that the learner's update k saw. Gradients are clipped at the learner's norm in units of the likelihood: the
    learner's objective is in units of reward, its temperature times as large. The last weights are kept, since none is
    validated on the way.

    Args:
        learner: of the run that is over; it is left untouched.
        source: serves ``{"expert": Transition}``.
        updates: gradient updates.
        temperature: of the softmax over Q; an actor's own for one.
        progress: called with the number of updates that have been made since the last call.
    """
    cloning, device = _cloning_of(learner, temperature), learner.device
    trainer = Trainer(
        accelerator=device.type,
        devices=1 if device.index is None else [device.index],
        plugins=[LightningEnvironment()],  # one process, however many the run had
        precision=learner.trainer.precision,
        max_steps=updates,
        max_epochs=-1,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[LambdaCallback(on_train_batch_end=lambda *given: progress(len(given[3])))] if progress else [],
    )
    batches = UpdateLoader(source, trainer, updates_per_epoch=max(1, updates), updates_per_step=_UPDATES_PER_STEP)
    trainer.fit(cloning, batches, EmptyBatchLoader())
    cloning.agent.to(device).eval().requires_grad_(False)  # a trainer leaves weights on the CPU
    return cloning.policy


def _cloning_of(learner: Learner, temperature: float) -> BehaviorCloning:
    assert learner.env is not None
    cloning = BehaviorCloning(
        agent=lambda spaces: learner.agent_factory(spaces).for_cloning(temperature),
        gamma=learner.gamma,
        optimizer=learner.optimizer_factory,
        schedule=learner.schedule,
        max_grad_norm=None if learner.max_grad_norm is None else learner.max_grad_norm / temperature,
        seed=learner.seed,
    )
    cloning.build(learner.env)
    cloning.agent.see_as(learner.agent)
    return cloning
