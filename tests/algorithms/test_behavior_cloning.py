"""What cloning minimises, of either kind of action."""

from functools import partial
from typing import Any

import pytest
import torch
from continuous_checkpoints import PENDULUM

from iqlightning.agents.soft_actor_critic import SoftActorCritic
from iqlightning.algorithms import BehaviorCloning
from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.errors import UserError
from iqlightning.nets.encoders import MLP
from iqlightning.types import Batch, Transition

ACTOR = partial(SoftActorCritic, hidden=(16,), scale="none")


def batch() -> Any:
    obs, next_obs = torch.randn(2, 32, 3, generator=torch.Generator().manual_seed(0))
    flags = torch.zeros(32, dtype=torch.bool)
    return Batch(expert=Transition(obs, obs[:, :1].clamp(-2, 2), next_obs, flags, flags))


def cloning(**options: Any) -> Any:
    model = BehaviorCloning(agent=ACTOR, seed=1, **options)
    model.build(PENDULUM)
    return model


def test_the_squared_error_is_that_of_the_mean_action_in_units_of_half_the_range():
    model, given = cloning(loss="mse"), batch()
    objective = model.objective(given)
    distance = (model.agent.act(given["expert"].obs) - given["expert"].actions) / 2  # Pendulum's torque: -2 to 2
    torch.testing.assert_close(objective.loss, distance.square().mean())
    assert objective.terms.keys() == {"mse"}
    assert cloning().objective(given).terms.keys() == {"log_likelihood"}


def test_the_squared_error_is_learnt_from():
    model, given = cloning(loss="mse"), batch()
    (step,) = model.steps()
    optimizer = torch.optim.Adam(step.module.parameters(), lr=1e-2)
    before = step.objective(given).loss.item()
    for _ in range(100):
        optimizer.zero_grad()
        step.objective(given).loss.backward()
        optimizer.step()
    assert step.objective(given).loss < 0.1 * before


def test_discrete_actions_have_no_mean():
    model = BehaviorCloning(MLP, loss="mse")
    with pytest.raises(UserError, match="needs continuous ones, and SoftQ's are discrete: take loss nll"):
        model.build(GymnasiumConfig("CartPole-v1"))


def test_a_loss_that_there_is_not_and_one_that_does_not_fit_are_refused_in_a_sentence(workplace):
    fit = ("fit", "--config", "tiny.yaml")
    assert "model.loss must be nll or mse, not 'mae'" in workplace.refused(*fit, "--model.loss", "mae")
    assert "take loss nll" in workplace.refused(*fit, "--model.loss", "mse")
    assert not list(workplace.folder.glob("logs/*/*"))
