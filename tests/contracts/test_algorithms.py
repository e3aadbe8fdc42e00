"""What every algorithm promises, run on every one found in the package."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from functools import partial

import lightning
import pytest
import torch

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
from iqlightning.types import Batch, Transition

ENV = GridWorldConfig(level="static", height=4, width=4, num_walls=2)


def found() -> list[Callable[..., Learner]]:
    modules = [
        importlib.import_module(f"{algorithms.__name__}.{m.name}") for m in pkgutil.iter_modules(algorithms.__path__)
    ]
    classes = {c for m in modules for _, c in inspect.getmembers(m, inspect.isclass) if issubclass(c, Learner)}
    return sorted((c for c in classes if not inspect.isabstract(c)), key=lambda c: c.__name__)


def of_discrete_actions() -> list[Callable[..., Learner]]:
    """Those that take an encoder, and with it SoftQ as their agent."""
    return [each for each in found() if "encoder" in inspect.signature(each).parameters]


def learner(algorithm: Callable[..., Learner]) -> Learner:
    return algorithm(lambda shape: MLP(shape, hidden=(64, 32)), seed=1)


def fixed_batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    size = 32
    transition = Transition(
        obs=torch.randint(2, (size, 3, 4, 4), generator=generator, dtype=torch.uint8),
        actions=torch.randint(4, (size,), generator=generator),
        next_obs=torch.randint(2, (size, 3, 4, 4), generator=generator, dtype=torch.uint8),
        terminated=torch.rand(size, generator=generator) < 0.2,
        truncated=torch.zeros(size, dtype=torch.bool),
    )
    rewards = torch.randn(size, generator=generator)
    return Batch(expert=transition, policy=transition._replace(rewards=rewards), initial=transition.obs[:8])


def test_the_search_finds_the_algorithms():
    assert {"IQLearn", "DQN", "BehaviorCloning"} <= {getattr(c, "__name__", "") for c in found()}


@pytest.mark.parametrize("algorithm", of_discrete_actions())
def test_one_update_lowers_the_loss_on_a_fixed_batch(algorithm):
    model = learner(algorithm)
    model.build(ENV)
    batch = fixed_batch()
    before = model.objective(batch).loss
    before.backward()
    torch.optim.SGD(model.steps()[0].module.parameters(), lr=1e-3).step()
    assert model.objective(batch).loss < before


@pytest.mark.parametrize("algorithm", of_discrete_actions())
def test_terms_and_diagnostics_are_finite_scalars(algorithm):
    model = learner(algorithm)
    model.build(ENV)
    objective = model.objective(fixed_batch())
    for name, value in {**objective.terms, **objective.diagnostics()}.items():
        assert value.ndim == 0, name
        assert value.isfinite(), name


@pytest.mark.parametrize("algorithm", of_discrete_actions())
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
    trainer = lightning.Trainer(
        max_steps=600,
        max_epochs=-1,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    trainer.fit(model, data)
    assert trainer.global_step == 600
    # On one grid the splits can only hold out starts; the expert's paths cross nearly all of them.
    results = evaluate_gridworld(model.policy, ENV, 200, seed=3, split="any")
    assert results.success.float().mean() >= 0.95


PENDULUM = GymnasiumConfig("Pendulum-v1")


def with_an_actor(algorithm: Callable[..., Learner]) -> Learner:
    model = algorithm(agent=partial(SoftActorCritic, hidden=(16,), standardise=False), seed=1)
    model.build(PENDULUM)
    return model


def batch_of_boxes() -> Batch:
    generator = torch.Generator().manual_seed(0)
    obs, next_obs = torch.randn(2, 32, 3, generator=generator)
    actions = torch.rand(32, 1, generator=generator) * 4 - 2
    flags = torch.rand(32, generator=generator) < 0.2
    part = Transition(obs, actions, next_obs, flags, torch.zeros(32, dtype=torch.bool))
    rewards = torch.randn(32, generator=generator)
    return Batch(expert=part, policy=part._replace(rewards=rewards), initial=obs[:8])


@pytest.mark.parametrize("algorithm", [each for each in found() if each is not algorithms.DQN])
def test_continuous_actions_need_no_line_of_an_algorithm(algorithm):
    model = with_an_actor(algorithm)
    batch = model.agent.with_noise(batch_of_boxes(), seed=0, update=0, rank=0, world_size=1)
    for step in model.steps():
        before = step.objective(batch)
        for name, value in {**before.terms, **before.diagnostics()}.items():
            assert value.ndim == 0, name
            assert value.isfinite(), name
        before.loss.backward()
        torch.optim.SGD(step.module.parameters(), lr=1e-3).step()
        assert step.objective(batch).loss < before.loss, step.name
        model.zero_grad()


def test_an_algorithm_of_discrete_actions_and_one_of_continuous_ones_say_so_on_the_wrong_task():
    with pytest.raises(UserError, match="SoftQ needs discrete actions"):
        algorithms.DQN(MLP).build(PENDULUM)
    with pytest.raises(UserError, match="an actor draws continuous actions"):
        algorithms.IQLearn(agent=SoftActorCritic).build(ENV)
