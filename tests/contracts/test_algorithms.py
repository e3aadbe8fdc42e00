"""What every algorithm promises, run on every one found in the package."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable

import lightning
import pytest
import torch

from iqlightning import algorithms
from iqlightning.algorithms import Learner
from iqlightning.data.experience import OnlineReplay
from iqlightning.data.imitation_data import ImitationData
from iqlightning.data.replay_data import ReplayData
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


@pytest.mark.parametrize("algorithm", found())
def test_one_update_lowers_the_loss_on_a_fixed_batch(algorithm):
    model = learner(algorithm)
    model.build(ENV)
    batch = fixed_batch()
    before = model.objective(batch).loss
    before.backward()
    torch.optim.SGD(model.steps()[0].module.parameters(), lr=1e-3).step()
    assert model.objective(batch).loss < before


@pytest.mark.parametrize("algorithm", found())
def test_terms_and_diagnostics_are_finite_scalars(algorithm):
    model = learner(algorithm)
    model.build(ENV)
    objective = model.objective(fixed_batch())
    for name, value in {**objective.terms, **objective.diagnostics()}.items():
        assert value.ndim == 0, name
        assert value.isfinite(), name


@pytest.mark.parametrize("algorithm", found())
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
