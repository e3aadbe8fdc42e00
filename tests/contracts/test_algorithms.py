"""What every algorithm promises, run on every one found in the package."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import lightning
import pytest
import torch
from families import members
from small_runs import quiet_trainer

from iqlightning import algorithms
from iqlightning.agents.soft_actor_critic import SoftActorCritic
from iqlightning.algorithms import Learner
from iqlightning.data.experience import OnlineReplay
from iqlightning.data.imitation_data import ImitationData
from iqlightning.data.replay_data import ReplayData
from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.errors import UserError
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.evaluation.play import evaluate_gridworld
from iqlightning.nets.encoders import MLP
from iqlightning.nets.target import TargetUpdate
from iqlightning.types import Batch, Transition

ENV = GridWorldConfig(level="static", height=4, width=4, num_walls=2)


FOUND = members(Learner, algorithms)
#: Those that take an encoder, and with it SoftQ as their agent.
OF_DISCRETE_ACTIONS = [each for each in FOUND if "encoder" in inspect.signature(each).parameters]


def learner(algorithm: Callable[..., Learner], **options: Any) -> Learner:
    return algorithm(lambda shape: MLP(shape, hidden=(64, 32)), seed=1, **options)


def built(algorithm: Callable[..., Learner], **options: Any) -> Any:
    model = learner(algorithm, **options)
    model.build(ENV)
    return model


def batch_of(obs: torch.Tensor, next_obs: torch.Tensor, actions: torch.Tensor) -> Any:
    generator = torch.Generator().manual_seed(1)
    terminated = torch.rand(len(obs), generator=generator) < 0.2
    part = Transition(obs, actions, next_obs, terminated, torch.zeros(len(obs), dtype=torch.bool))
    rewards = torch.randn(len(obs), generator=generator)
    return Batch(expert=part, policy=part._replace(rewards=rewards), initial=obs[:8])


def batch_of_grids() -> Any:
    generator = torch.Generator().manual_seed(0)
    grids = torch.randint(2, (2, 32, 3, 4, 4), generator=generator, dtype=torch.uint8)
    return batch_of(grids[0], grids[1], torch.randint(4, (32,), generator=generator))


PENDULUM = GymnasiumConfig("Pendulum-v1")


def with_an_actor(algorithm: Callable[..., Learner]) -> Learner:
    model = algorithm(agent=partial(SoftActorCritic, hidden=(16,), scale="none"), seed=1)
    model.build(PENDULUM)
    return model


def batch_of_boxes() -> Any:
    generator = torch.Generator().manual_seed(0)
    obs = torch.randn(2, 32, 3, generator=generator)
    return batch_of(obs[0], obs[1], torch.rand(32, 1, generator=generator) * 4 - 2)


def test_the_search_finds_the_algorithms():
    assert {"IQLearn", "DQN", "BehaviorCloning"} <= {c.__name__ for c in FOUND}


DISCRETE = [(each, built, batch_of_grids) for each in OF_DISCRETE_ACTIONS]
CONTINUOUS = [(each, with_an_actor, batch_of_boxes) for each in FOUND if each is not algorithms.DQN]


@pytest.mark.parametrize(("algorithm", "build", "served"), DISCRETE + CONTINUOUS)
def test_each_step_of_an_update_lowers_its_loss_and_gives_finite_figures(algorithm, build, served):
    model = build(algorithm)
    batch = model.agent.with_noise(served(), seed=0, update=0, rank=0, world_size=1)
    for step in model.steps():
        before = step.objective(batch)
        for name, value in {**before.terms, **before.diagnostics()}.items():
            assert value.ndim == 0, name
            assert value.isfinite(), name
        before.loss.backward()
        torch.optim.SGD(step.module.parameters(), lr=1e-3).step()
        assert step.objective(batch).loss < before.loss, step.name
        model.zero_grad()


@pytest.mark.parametrize("target", [None, TargetUpdate()])
@pytest.mark.parametrize("algorithm", [algorithms.IQLearn, algorithms.LSIQ, algorithms.SQIL])
def test_each_of_two_copies_of_q_learns_and_two_equal_ones_are_one_network(algorithm, target):
    batch = batch_of_grids()
    one, twins = built(algorithm, target=target), built(algorithm, target=target, copies=2)
    network = twins.agent.network
    assert torch.equal(one.agent.network(batch["initial"]), network.each(batch["initial"])[0])
    twins.objective(batch).loss.backward()
    for part in (network.head, network.others):
        assert all(weights.grad is not None and weights.grad.any() for weights in part.parameters())
    network.others[0].load_state_dict(one.agent.network.state_dict())
    if twins.agent.target_network is not None:
        twins.agent.target_network.load_state_dict(network.state_dict())
    ours, theirs = (model.objective(batch) for model in (one, twins))
    assert theirs.loss.item() == pytest.approx(ours.loss.item(), rel=1e-6)
    figures = [{name: value.item() for name, value in each.diagnostics().items()} for each in (ours, theirs)]
    assert figures[1] == pytest.approx(figures[0], rel=1e-5)


@pytest.mark.parametrize("algorithm", OF_DISCRETE_ACTIONS)
def test_learns_a_small_static_grid(algorithm, tmp_path):
    model = learner(algorithm)
    data: lightning.LightningDataModule
    if {"expert", "policy"} <= model.needs:
        online = OnlineReplay(num_envs=16, capacity=5000, warmup_steps=256, steps_per_update=4.0)
        data = ImitationData(ENV, episodes=60, batch_size=32, directory=str(tmp_path), seed=1, online=online)
    elif "policy" in model.needs:
        data = ReplayData(
            ENV, num_envs=16, capacity=5000, warmup_steps=256, steps_per_update=4.0, batch_size=64, gamma=0.99, seed=1
        )
    else:
        data = ImitationData(ENV, episodes=60, batch_size=32, directory=str(tmp_path), seed=1)
    trainer = quiet_trainer(max_steps=600, limit_val_batches=0)
    trainer.fit(model, data)
    assert trainer.global_step == 600
    # On one grid the splits can only hold out starts; the expert's paths cross nearly all of them.
    results = evaluate_gridworld(model.policy, ENV, 200, seed=3, split="any")
    assert results.success.float().mean() >= 0.95


def test_an_algorithm_of_discrete_actions_and_one_of_continuous_ones_say_so_on_the_wrong_task():
    with pytest.raises(UserError, match="SoftQ needs discrete actions"):
        algorithms.DQN(MLP).build(PENDULUM)
    with pytest.raises(UserError, match="an actor draws continuous actions"):
        algorithms.IQLearn(agent=SoftActorCritic).build(ENV)
