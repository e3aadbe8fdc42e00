from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from lightning.pytorch.callbacks import ModelCheckpoint
from small_runs import quiet_trainer

import iqlightning
from iqlightning.agents import SoftQ
from iqlightning.agents.observation_scale import observation_scale
from iqlightning.algorithms import LSIQ, IQFromObservations, IQLearn
from iqlightning.data.imitation_data import ImitationData
from iqlightning.errors import UserError
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.game.state import GridWorldBatch
from iqlightning.losses.divergences import Chi2Mixture, Hellinger, Penalized, TotalVariation, Wasserstein1
from iqlightning.losses.iq import ExpertAndPolicyStates, InitialStates
from iqlightning.losses.values import AnnealedSoftValue, SoftValue
from iqlightning.nets.encoders import MLP, LocalCNN
from iqlightning.nets.inverse_dynamics import InverseDynamics
from iqlightning.spaces import Spaces
from iqlightning.types import Batch, Transition

ENV = GridWorldConfig(level="static", height=4, width=4, num_walls=2)


def transitions(seed: int, size: int = 16) -> Transition:
    generator = torch.Generator().manual_seed(seed)
    obs, next_obs = torch.randint(2, (2, size, 3, 4, 4), generator=generator, dtype=torch.uint8).unbind(0)
    actions = torch.randint(4, (size,), generator=generator)
    return Transition(obs, actions, next_obs, torch.rand(size, generator=generator) < 0.2, torch.zeros(size).bool())


def batch() -> Batch:
    return Batch(expert=transitions(0), policy=transitions(1), initial=transitions(2).obs[:5])


def built(kind: Any = IQLearn, **options: Any) -> Any:
    model = kind(lambda shape: MLP(shape, hidden=(16,)), seed=1, **options)
    model.build(ENV)
    return model


def test_q_is_bounded_where_a_penalty_bounds_rewards_on_all_data():
    assert built(divergence=Chi2Mixture(0.5), gamma=0.99).q_bound == pytest.approx(200.0)
    assert built(divergence=Penalized(Chi2Mixture(0.05)), gamma=0.9).q_bound == pytest.approx(2.0)
    assert built(LSIQ, c=0.5, gamma=0.99).q_bound == pytest.approx(200.0)
    assert built().q_bound is None
    # chi2's optimum on what only the policy does is -4 alpha value_weight
    assert built(divergence=Chi2Mixture(0.05), gamma=0.9, value_weight=3.0).q_bound == pytest.approx(6.0)
    assert built(divergence=Chi2Mixture(0.05), gamma=0.9, value_weight=0.5).q_bound == pytest.approx(2.0)


def test_q_on_policy_data_is_shown_beside_that_on_expert_data():
    model = built(divergence=Chi2Mixture(0.5), gamma=0.9)
    parts: Any = batch()
    scalars = {name: float(value) for name, value in model.objective(parts).diagnostics().items()}
    with torch.no_grad():
        expert, policy = (model.agent.q(parts[name].obs, parts[name].actions)[0] for name in ("expert", "policy"))
    assert scalars["q_gap"] == pytest.approx(float(expert.mean() - policy.mean()), abs=1e-6)
    assert scalars["policy_q"] == pytest.approx(float(policy.mean()), abs=1e-6)
    mean = (float(expert.abs().mean()) + float(policy.abs().mean())) / 2
    assert scalars["q_share"] == pytest.approx(mean / 20, abs=1e-6)


def test_a_gradient_penalty_is_added_and_logged():
    model = built(divergence=Wasserstein1(weight=3.0))
    objective = model.objective(batch())
    terms = objective.terms
    total = terms["value_term"] - terms["expert_term"] + terms["penalty"]
    assert objective.loss.item() == pytest.approx(total.item(), rel=1e-5)
    objective.loss.backward()
    assert all(p.grad is not None for p in model.agent.network.parameters())


def test_the_share_at_the_guard_is_logged():
    found = built(divergence=Penalized(Hellinger())).objective(batch()).diagnostics()
    assert 0 <= found["guarded"] <= 1
    assert "guarded" not in built().objective(batch()).diagnostics()


def test_the_guard_is_held_against_the_rewards_that_the_divergence_sees():
    # a terminal reward of -2 is beyond the bound of 1/2, the -0.02 of each step after it is not
    model = built(divergence=TotalVariation(0.5), absorbing_states=True, gamma=0.99)
    expert = transitions(0)._replace(terminated=torch.ones(16).bool())
    with torch.no_grad():
        for weights in model.agent.network.parameters():
            weights.zero_()
        model.agent.network.head.q[-1].bias.fill_(-2.0)
    assert model.objective(Batch(expert=expert)).diagnostics()["guarded"] == 0.0
    model.inverse_soft_q = replace(model.inverse_soft_q, absorbing_states=False)
    assert model.objective(Batch(expert=expert)).diagnostics()["guarded"] == 1.0


def test_absorbing_states_change_the_loss():
    assert built(absorbing_states=True).objective(batch()).loss != built().objective(batch()).loss


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"divergence": Chi2Mixture()}, "--data.online"),
        ({"value_term": ExpertAndPolicyStates()}, "--data.online"),
        ({"value_term": InitialStates()}, "whole episodes"),
    ],
)
def test_missing_data_is_named_with_a_remedy(options: dict, remedy: str):
    with pytest.raises(UserError, match=remedy):
        built(**options).objective(Batch(expert=transitions(0)))


def test_observations_alone_make_the_loss_of_imitation_from_observations():
    model = built(IQFromObservations)
    full, expert = batch(), transitions(0)
    other = Batch(expert=expert._replace(actions=3 - expert.actions), policy=transitions(1))
    assert torch.equal(model.objective(full).loss, model.objective(other).loss)


def test_a_sure_inverse_model_turns_it_into_iq_learn(monkeypatch):
    options = {"divergence": Chi2Mixture(), "value_term": ExpertAndPolicyStates()}
    ours, theirs = built(IQFromObservations, **options), built(IQLearn, **options)
    both = batch()
    actions = torch.cat([transitions(0).actions, transitions(1).actions])
    sure = 100.0 * torch.nn.functional.one_hot(actions, 4).float()
    monkeypatch.setattr(ours.inverse, "forward", lambda *_: sure)
    assert ours.objective(both).loss.item() == pytest.approx(theirs.objective(both).loss.item(), rel=1e-5)


@pytest.mark.parametrize(("unsure", "learns"), [(0.5, False), (1.0, True)])
def test_q_waits_until_the_inverse_model_is_surer(unsure, learns):
    model = built(IQFromObservations, unsure=unsure)
    model.objective(batch()).loss.backward()
    assert (
        any(bool((each.grad != 0).any()) for each in model.agent.network.parameters() if each.grad is not None)
        == learns
    )
    assert all(bool((each.grad != 0).any()) for each in model.inverse.head.parameters())


@pytest.mark.parametrize("unsure", [0.0, 1.5])
def test_a_share_of_the_entropy_is_a_share(unsure):
    with pytest.raises(UserError, match="unsure"):
        built(IQFromObservations, unsure=unsure)


def test_the_inverse_model_learns_moves_wherever_they_are_made():
    config = GridWorldConfig(height=6, width=6)
    batches = GridWorldBatch(config, 512)
    obs, actions = batches.reset(), torch.randint(4, (512,), generator=torch.Generator().manual_seed(0))
    next_obs = batches.step(actions).next_obs
    moved = (obs != next_obs).flatten(1).any(1)
    torch.manual_seed(0)
    inverse = InverseDynamics(config.spaces, LocalCNN, observation_scale(config.spaces))
    optimizer = torch.optim.Adam(inverse.parameters(), lr=3e-3)
    for _ in range(150):
        loss = torch.nn.functional.cross_entropy(inverse(obs[:256], next_obs[:256]), actions[:256])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    unseen = moved.clone()
    unseen[:256] = False
    assert (inverse(obs[unseen], next_obs[unseen]).argmax(1) == actions[unseen]).float().mean() > 0.95


def test_the_inverse_model_sees_what_the_agent_sees():
    symbols = Spaces(spaces.Box(0, 3, (2, 5, 5), np.uint8), spaces.Discrete(4))
    agent = SoftQ(symbols, lambda shape: MLP(shape, hidden=(8,)), scale="one-hot")
    inverse = InverseDynamics(symbols, LocalCNN, agent.sees)
    given: list[torch.Tensor] = []
    inverse.encoder.register_forward_pre_hook(lambda module, inputs: given.append(inputs[0]))
    obs = torch.randint(4, (6, 2, 5, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    inverse(obs, obs.flip(0))
    (seen,) = given
    one_hot = torch.nn.functional.one_hot(obs.long(), 4).permute(0, 1, 4, 2, 3).flatten(1, 2).float()
    assert torch.equal(seen[:, :8], one_hot)
    assert torch.equal(seen[:, 8:], one_hot.flip(0) - one_hot)


def test_twins_with_a_falling_temperature_come_back_from_their_checkpoint(tmp_path):
    value = AnnealedSoftValue(1.0, 0.1, updates=20)
    model: Any = IQLearn(lambda shape: MLP(shape, hidden=(16,)), copies=2, value=value, gamma=0.9)
    keep = ModelCheckpoint(dirpath=str(tmp_path), save_last=True)
    quiet_trainer(max_steps=20, callbacks=[keep], enable_checkpointing=True, default_root_dir=tmp_path).fit(
        model, ImitationData(ENV, episodes=40, batch_size=16, directory=str(tmp_path / "data"), updates_per_epoch=10)
    )
    policy = iqlightning.load_policy(tmp_path / "last.ckpt")
    agent = policy.agent
    assert isinstance(agent, SoftQ)
    assert isinstance(agent.value, SoftValue)
    # the last of 20 updates is number 19
    assert policy.temperature == pytest.approx(0.1 ** (19 / 20))
    observations = transitions(3).obs
    assert torch.equal(policy.q_values(observations), model.agent.network(observations).detach())
    assert torch.equal(policy.values(observations), model.policy.values(observations))
    assert (policy.gamma, policy.env, policy.info["algorithm"]) == (0.9, ENV, "IQLearn")
