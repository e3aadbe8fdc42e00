"""An actor-critic trained by Lightning: it repeats, is saved, and is played from its checkpoint alone."""

from functools import partial
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from small_runs import quiet_trainer

import iqlightning
from iqlightning.agents.soft_actor_critic import SoftActorCritic
from iqlightning.algorithms import SAC, BehaviorCloning, IQLearn, Learner
from iqlightning.data.collect import collect
from iqlightning.data.demonstrations import save_demonstrations
from iqlightning.data.experience import OnlineReplay
from iqlightning.data.imitation_data import ImitationData
from iqlightning.data.replay_data import ReplayData
from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.evaluation.environment import evaluate_environment
from iqlightning.evaluation.reference_policies import RandomPolicy
from iqlightning.losses.divergences import Chi2Mixture
from iqlightning.losses.iq import InitialStates

PENDULUM = GymnasiumConfig("Pendulum-v1")
ACTOR = partial(SoftActorCritic, hidden=(16,), actor_average=0.9, exploration_noise=0.2)


def demonstrations(folder: Path, *, online: bool) -> ImitationData:
    path = folder / "pendulum.safetensors"
    played = collect(RandomPolicy(PENDULUM.spaces.action), PENDULUM, 2, 0, num_envs=2)
    save_demonstrations(path, played, {"env": PENDULUM.to_dict(), "source": "random policy"})
    replay = OnlineReplay(num_envs=2, capacity=200, warmup_steps=20, steps_per_update=1.0) if online else None
    return ImitationData(path=str(path), batch_size=16, validation_fraction=0.0, online=replay, updates_per_epoch=10)


def trained(model: Learner, data: Any) -> lightning.Trainer:
    trainer = quiet_trainer(max_steps=12)
    trainer.fit(model, data)
    assert trainer.global_step == 12
    return trainer


def iq_learn() -> IQLearn:
    divergence, term = Chi2Mixture(0.05), InitialStates()
    return IQLearn(
        agent=ACTOR, divergence=divergence, value_term=term, value_weight=10.0, clip_targets=True, log_every=6
    )


def test_a_run_repeats_and_its_checkpoint_plays_as_it_does(tmp_path):
    one, other = iq_learn(), iq_learn()
    trainer = trained(one, demonstrations(tmp_path, online=True))
    trained(other, demonstrations(tmp_path, online=True))
    weights = other.state_dict()
    assert all(torch.equal(each, weights[name]) for name, each in one.state_dict().items())
    logged = trainer.callback_metrics
    assert {"train/actor_entropy", "train/actor_saturation", "train/q_share", "train/q_gap"} <= set(logged)
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    policy = iqlightning.load_policy(tmp_path / "x.ckpt")
    obs = torch.randn(5, 3)
    with torch.no_grad():
        assert torch.equal(policy.act(obs), one.agent.act(obs))
    assert policy.env == PENDULUM
    results = evaluate_environment(policy, PENDULUM, 2, seed=0)
    assert results.metrics()["episodes"] == 2


def test_the_scale_of_observations_is_that_of_the_demonstrations(tmp_path):
    model, data = iq_learn(), demonstrations(tmp_path, online=True)
    trained(model, data)
    agent: Any = model.agent
    served = data.training.transitions().obs
    torch.testing.assert_close(agent.scale.mean, served.mean(0))
    torch.testing.assert_close(agent.scale.std, served.std(0, correction=0))


@pytest.mark.parametrize("algorithm", [BehaviorCloning, SAC])
def test_cloning_and_reinforcement_learning_run_on_it(algorithm, tmp_path):
    model = algorithm(agent=ACTOR)
    data: Any = demonstrations(tmp_path, online=False)
    if algorithm is SAC:
        data = ReplayData(PENDULUM, num_envs=2, capacity=200, warmup_steps=20, batch_size=16)
    trained(model, data)
    before = algorithm(agent=ACTOR)
    before.build(PENDULUM)
    agents: list[Any] = [before.agent, model.agent]
    old, new = (torch.nn.utils.parameters_to_vector(agent.actor.parameters()) for agent in agents)
    assert not torch.equal(old, new)
    assert all(each.isfinite().all() for each in model.agent.parameters())
