"""The actor-critic: its densities, its value, its steps, its noise and its checkpoint."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from scipy.integrate import quad

from iqlightning import algorithms
from iqlightning.agents import agent_from_recipe
from iqlightning.agents.soft_actor_critic import SoftActorCritic
from iqlightning.errors import UserError
from iqlightning.nets.encoders import MLP
from iqlightning.nets.squashed_gaussian import Parameters, SquashedGaussian
from iqlightning.nets.target import TargetUpdate
from iqlightning.spaces import Spaces
from iqlightning.types import Batch, Transition

SPACES = Spaces(
    spaces.Box(-np.inf, np.inf, (3,)), spaces.Box(np.array([-2, 0], np.float32), np.array([2, 1], np.float32))
)


def agent(**changes: Any) -> SoftActorCritic:
    torch.manual_seed(0)
    return SoftActorCritic(SPACES, **({"hidden": (16,), "scale": "none"} | changes))


def transitions(size: int, seed: int) -> Transition:
    generator = torch.Generator().manual_seed(seed)
    obs, next_obs = torch.randn(2, size, 3, generator=generator)
    actions = torch.rand(size, 2, generator=generator) * torch.tensor([4.0, 1.0]) - torch.tensor([2.0, 0.0])
    return Transition(obs, actions, next_obs, torch.arange(size) % 4 == 0, torch.zeros(size, dtype=torch.bool))


def batch(seed: int = 0) -> Any:
    return Batch(expert=transitions(6, seed), policy=transitions(6, seed + 1), initial=transitions(4, 9).obs)


@pytest.mark.parametrize(("mean", "log_std"), [(0.0, 0.0), (1.5, -1.0), (-3.0, 0.5), (0.3, 2.0)])
def test_the_density_of_an_action_integrates_to_one(mean, log_std):
    distribution = SquashedGaussian(spaces.Box(-2.0, 6.0, (1,)))
    given = Parameters(torch.tensor([[mean]], dtype=torch.float64), torch.tensor([[log_std]], dtype=torch.float64))

    def density_of_u(u: float) -> float:  # by substitution a = middle + half tanh(u), whose poles are at infinity
        units = torch.tanh(torch.tensor([[u]], dtype=torch.float64))
        action = 2.0 + 4.0 * units
        if abs(float(units)) > 1 - 1e-6:
            return 0.0
        return float(distribution.log_prob(given, action).exp()) * 4.0 * (1 - float(units) ** 2)

    inside = quad(density_of_u, -7.2, 7.2, limit=400)[0]
    normal = torch.distributions.Normal(mean, math.exp(log_std))
    edge = math.atanh(1 - 1e-6)
    expected = float(normal.cdf(torch.tensor(min(7.2, edge))) - normal.cdf(torch.tensor(-min(7.2, edge))))
    assert inside == pytest.approx(expected, abs=2e-4)


def test_the_log_probability_of_a_draw_is_exact_where_tanh_is_one_in_float32():
    distribution = SquashedGaussian(spaces.Box(-1.0, 1.0, (1,)))
    given = Parameters(torch.tensor([[20.0]]), torch.tensor([[0.0]]))
    units, log_pi = distribution.sample(given, torch.zeros(1, 1))
    assert float(units) == 1.0
    # log N(0) - log(1 - tanh(20)^2), the latter 2 (log 2 - 20) up to e^-40
    assert float(log_pi) == pytest.approx(-0.5 * math.log(2 * math.pi) - 2 * (math.log(2) - 20), rel=1e-6)
    assert torch.isfinite(distribution.log_prob(given, torch.ones(1, 1))).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_rounding_takes_an_action_out_of_its_space(dtype):
    numbers = np.random.default_rng(0).normal(size=(2, 500)) * 10.0 ** np.arange(-3, 2).repeat(100)
    space = spaces.Box(numbers.min(0).astype(dtype), numbers.max(0).astype(dtype), dtype=dtype)
    distribution = SquashedGaussian(space)
    for units in (-1.0, -1 + 1e-7, 0.3, 1 - 1e-7, 1.0):
        action = distribution.from_units(torch.full((1, 500), units))
        assert action.dtype == torch.float32
        assert space.contains(action[0].numpy())


def test_actions_are_within_the_bounds_and_repeat_with_their_keys():
    ours = agent()
    obs = 100 * torch.randn(50, 3, generator=torch.Generator().manual_seed(1))
    rows = torch.arange(50)
    drawn = ours.act(obs, sample=True, keys=(7, 1, rows))
    assert all(SPACES.action.contains(action.detach().numpy()) for action in drawn)
    assert torch.equal(drawn, ours.act(obs, sample=True, keys=(7, 1, rows)))
    halves = torch.cat([ours.act(obs[part], sample=True, keys=(7, 1, rows[part])) for part in (rows[:20], rows[20:])])
    torch.testing.assert_close(halves, drawn)
    assert not torch.equal(drawn, ours.act(obs, sample=True, keys=(7, 2, rows)))


def test_exploration_noise_is_added_to_what_is_drawn_and_keyed_apart_from_it():
    rows = torch.arange(5_000)
    obs, keys = torch.zeros(5_000, 3), (7, 0, 1, rows)
    ours = agent(exploration_noise=0.1)
    drawn, explored = ours.act(obs, sample=True, keys=keys), ours.explore(obs, keys)
    assert torch.equal(agent().explore(obs, keys), drawn)
    assert all(SPACES.action.contains(action.numpy()) for action in explored.detach())
    assert torch.equal(explored[3_000:], ours.explore(obs[3_000:], (7, 0, 1, rows[3_000:])))
    added = (ours.distribution.to_units(explored) - ours.distribution.to_units(drawn)).detach()
    within = (ours.distribution.to_units(explored).abs() < 1).all(1) & (
        ours.distribution.to_units(drawn).abs() < 0.5
    ).all(1)  # what lies beyond the bounds is cut off
    assert added[within].std(0).tolist() == pytest.approx([0.1, 0.1], rel=0.05)
    assert added[within].mean(0).tolist() == pytest.approx([0.0, 0.0], abs=0.01)
    noise = torch.corrcoef(torch.cat([added, ours.noise(5_000, keys, obs.device)[0]], 1)[within].T)
    assert (noise - torch.eye(4)).abs().max() < 0.08


@pytest.mark.parametrize("target", [None, "soft"])
@pytest.mark.parametrize("samples", [1, 3])
def test_the_bellman_terms_are_q_and_v_at_the_noise_of_the_update(target, samples):
    options = {"target": None} if target is None else {}
    ours = agent(samples=samples, **options)
    given = batch()
    noise = ours.noise.of_update(given, seed=3, update=5, rank=0, world_size=1)
    ours.noise.given = noise
    bellman = ours.bellman([given["expert"], given["policy"]], given["initial"])
    expert, policy = given["expert"], given["policy"]
    torch.testing.assert_close(
        torch.stack([copy[1].q_a for copy in bellman.copies]), ours.q(policy.obs, policy.actions)
    )

    def value(obs: torch.Tensor, rows: slice, by_target: bool) -> torch.Tensor:
        ours.noise.given = noise[:, rows]
        found = ours.v(obs, target=by_target)
        ours.noise.given = None
        return found

    torch.testing.assert_close(bellman.parts[0].v, value(expert.obs, slice(0, 6), False))
    assert bellman.initial_v is not None
    torch.testing.assert_close(bellman.initial_v, value(given["initial"], slice(12, 16), False))
    torch.testing.assert_close(bellman.parts[1].next_v, value(policy.next_obs, slice(22, 28), target is not None))


def test_v_is_the_mean_of_q_minus_the_temperature_times_log_pi():
    ours = agent(temperature=0.5, samples=20_000)
    obs = torch.randn(1, 3, generator=torch.Generator().manual_seed(2))
    v, many = ours.v(obs), obs.expand(20_000, -1)
    actions = ours.act(many, sample=True)
    expected = (ours.q(many, actions).amin(0) - 0.5 * ours.log_prob(many, actions)).mean()
    assert v.item() == pytest.approx(expected.item(), abs=0.02)


def test_the_noise_of_an_update_is_the_same_on_one_and_two_processes():
    ours, given = agent(samples=2), batch()
    whole = ours.noise.of_update(given, 1, 2, 0, 1)

    def share(rank: int) -> Any:
        def part(data: Any) -> Transition:
            fields: Any = (None if each is None else each[rank::2] for each in data)
            return Transition(*fields)

        return Batch(expert=part(given["expert"]), policy=part(given["policy"]), initial=given["initial"][rank::2])

    for rank in range(2):
        own = ours.noise.of_update(share(rank), 1, 2, rank, 2)
        assert torch.equal(own[:, :3], whole[:, rank:6:2])  # the expert's states
        assert torch.equal(own[:, 6:8], whole[:, 12 + rank : 16 : 2])  # initial states


def test_each_step_reaches_its_own_weights_only():
    ours = agent(learn_temperature=True)
    given = batch() | {"noise": ours.noise.of_update(batch(), 0, 0, 0, 1)}
    from iqlightning.algorithms.sac import SAC

    learner = SAC(agent=lambda _: ours)
    learner.agent = ours
    given["policy"] = given["policy"]._replace(rewards=torch.ones(6))
    for step in learner.steps():
        ours.zero_grad()
        step.objective(given).loss.backward()
        reached = {id(each) for each in ours.parameters() if each.grad is not None and bool(each.grad.any())}
        own = {id(each) for each in step.module.parameters()}
        assert reached
        assert reached <= own, step.name


def test_a_recipe_and_the_weights_rebuild_it():
    ours = agent(copies=3, layer_norm=True, actor_average=0.9, scale="standardise")
    scale: Any = ours.scale
    scale.fit(torch.randn(100, 3) * 5 + 2)
    again = agent_from_recipe(ours.recipe)
    again.load_weights(ours.state_dict())
    obs = torch.randn(5, 3)
    assert torch.equal(again.act(obs), ours.act(obs))
    actions = ours.act(obs)
    assert torch.equal(again.q(obs, actions), ours.q(obs, actions))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"aggregate": "max"}, "aggregate"),
        ({"temperature": 0.0}, "temperatures"),
        ({"samples": 0}, "samples"),
        ({"learn_temperature": True, "final_temperature": 0.1}, "schedule"),
        ({"actor_average": 1.0}, "actor_average"),
        ({"exploration_noise": -0.1}, "exploration_noise"),
    ],
)
def test_settings_out_of_range_are_refused_in_a_sentence(changes, word):
    with pytest.raises(UserError, match=word):
        agent(**changes)


@pytest.mark.parametrize(
    ("space", "word"),
    [(spaces.Discrete(3), "leave out model.agent"), (spaces.Box(-np.inf, np.inf, (2,)), "bounds")],
)
def test_action_spaces_that_an_actor_cannot_fill_are_refused(space, word):
    with pytest.raises(UserError, match=word):
        SoftActorCritic(Spaces(SPACES.observation, space))


@pytest.mark.parametrize(
    ("algorithm", "settings", "culprit"),
    [
        (algorithms.IQLearn, {"encoder": MLP}, "model.encoder"),
        (algorithms.SQIL, {"target": TargetUpdate(every=5)}, "model.target"),
        (algorithms.LSIQ, {"copies": 2}, "model.copies"),
        (algorithms.BehaviorCloning, {"temperature": 0.5}, "model.temperature"),
    ],
)
def test_settings_of_the_other_agent_are_not_ignored(algorithm, settings, culprit):
    with pytest.raises(UserError, match=culprit):
        algorithm(agent=SoftActorCritic, **settings)


def test_nothing_is_cut_or_shifted_before_observations_are_known():
    far = torch.tensor([[8.0, -20.0, 0.5]])
    own = agent(scale="standardise")
    assert torch.equal(own._seen(far), far)
    own.fit_observations(torch.randn(64, 3, generator=torch.Generator().manual_seed(0)))
    assert own._seen(far).abs().max() == 5.0


def test_figures_without_keys_repeat_and_drawn_actions_do_not():
    own, obs = agent(), transitions(5, 1).obs
    assert torch.equal(own.v(obs), own.v(obs))
    assert torch.equal(own.entropy(obs), own.entropy(obs))
    assert not torch.equal(own.act(obs, sample=True), own.act(obs, sample=True))


def test_the_entropy_aimed_at_does_not_depend_on_the_units_of_actions():
    # half ranges of 2 and 1/2: -2 nats in their units
    assert agent().target_entropy == pytest.approx(-2.0)
    narrow = Spaces(SPACES.observation, spaces.Box(-0.1, 0.1, (2,)))
    assert SoftActorCritic(narrow, hidden=(16,)).target_entropy == pytest.approx(-2 + 2 * math.log(0.1))


def test_standardising_without_demonstrations_is_refused_where_it_was_asked_for():
    agent(scale="auto").fit_observations(None)
    with pytest.raises(UserError, match=r"model\.agent\.scale standardise"):
        agent(scale="standardise").fit_observations(None)
