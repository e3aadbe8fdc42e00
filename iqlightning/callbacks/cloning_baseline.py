"""Behaviour cloning as the bar to beat: the run's own network, batches and number of updates, another loss."""

from collections.abc import Callable

from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import LambdaCallback

from iqlightning.algorithms.behavior_cloning import BehaviorCloning
from iqlightning.algorithms.learner import Learner
from iqlightning.data.imitation_data import ImitationData
from iqlightning.data.updates import EmptyBatchLoader, UpdateLoader
from iqlightning.policies import AgentPolicy
from iqlightning.types import BatchSource

__all__ = ["expert_batches", "train_cloning"]

_UPDATES_PER_STEP = 25


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
    *,
    progress: Callable[[int], None] | None = None,
) -> AgentPolicy:
    """Trains :class:`~iqlightning.algorithms.behavior_cloning.BehaviorCloning` as a run of its own, without a trace.

    It begins with the learner's initial weights and has its optimizer, schedule, precision and device; batch k is the
    one that the learner's update k saw. The softmax has the learner's temperature, which made the baseline stronger
    than 1 does. Gradients are clipped at the learner's norm in units of the likelihood: the learner's objective is in
    units of reward, its temperature times as large. The last weights are kept, since none is validated on the way.

    Args:
        learner: of the run that is over; it is left untouched.
        source: serves ``{"expert": Transition}``.
        updates: gradient updates.
        progress: called with the number of updates that have been made since the last call.
    """
    cloning, device = _cloning_of(learner), learner.device
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


def _cloning_of(learner: Learner) -> BehaviorCloning:
    temperature = learner.agent.temperature
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
