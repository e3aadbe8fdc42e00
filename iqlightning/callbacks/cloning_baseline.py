"""Behaviour cloning as the bar to beat: the run's own network, batches and number of updates, another loss."""

from collections.abc import Callable
from typing import Any, cast

from torch import nn

from iqlightning.agents.soft_q import SoftQ
from iqlightning.algorithms.learner import Learner
from iqlightning.data.imitation_data import ImitationData
from iqlightning.losses.cloning import cloning_loss
from iqlightning.losses.values import SoftValue
from iqlightning.policies import AgentPolicy
from iqlightning.types import BatchSource

__all__ = ["expert_batches", "train_cloning"]


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
    """Trains a fresh copy of the learner's network to repeat the expert's actions, and leaves the learner untouched.

    Initial weights, optimizer and schedule are the learner's; batch k is the one that its update k saw. The softmax has
    the learner's temperature, which made the baseline stronger than 1 does. Gradients are clipped at the learner's norm
    in units of the likelihood: the learner's objective is in units of reward, its temperature times as large. The
    baseline keeps its last weights, since it is not validated on the way.

    Args:
        learner: whose recipe to follow.
        source: serves ``{"expert": Transition}``.
        updates: gradient updates.
        progress: called with 1 after each update.
    """
    temperature = learner.agent.temperature
    network: Any = cast(SoftQ, learner.fresh_agent()).network.to(next(learner.agent.parameters()))
    parameters = list(network.parameters())
    optimizer = learner.optimizer_factory(parameters)
    rates = [group["lr"] for group in optimizer.param_groups]
    for update in range(updates):
        expert = source.batch(update).get("expert")
        assert expert is not None, "cloning needs demonstrations"
        factor = learner.schedule.factor(update, updates)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * factor
        q = network(expert.obs.to(learner.device))
        loss = cloning_loss(q, expert.actions.to(learner.device), temperature)
        optimizer.zero_grad()
        loss.backward()
        if learner.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(parameters, learner.max_grad_norm / temperature)
        optimizer.step()
        if progress is not None:
            progress(1)
    network.eval().requires_grad_(False)
    return AgentPolicy(SoftQ.of(learner.agent.spaces, network, SoftValue(temperature)), learner.gamma, learner.env)
