import gymnasium
import numpy as np
import pytest
import torch
from continuous_checkpoints import PENDULUM, actor
from gymnasium.spaces import Box, Discrete

from iqlightning.agents.soft_q import SoftQ
from iqlightning.errors import UserError
from iqlightning.losses.values import SoftValue
from iqlightning.nets.encoders import MLP
from iqlightning.policies import AgentPolicy
from iqlightning.spaces import Spaces


def policy(temperature: float = 0.5) -> AgentPolicy:
    torch.manual_seed(0)
    spaces = Spaces(Box(-10, 10, (4,)), Discrete(3))
    return AgentPolicy(SoftQ(spaces, MLP, value=SoftValue(temperature)), gamma=0.9)


def test_shapes_and_dtypes_for_any_real_dtype():
    for dtype in (torch.uint8, torch.float32, torch.float64, torch.int64):
        observations = torch.ones(5, 4, dtype=dtype)
        assert policy().act(observations).dtype == torch.int64
        assert policy().q_values(observations).dtype == torch.float32
        assert policy().q_values(observations).shape == (5, 3)
        assert policy().values(observations).shape == (5,)


def test_reward_is_q_minus_discounted_value():
    p = policy()
    obs, next_obs = torch.randn(6, 4), torch.randn(6, 4)
    actions, terminated = torch.arange(6) % 3, torch.tensor([True, False] * 3)
    expected = p.q_values(obs)[torch.arange(6), actions] - 0.9 * (~terminated) * p.values(next_obs)
    torch.testing.assert_close(p.rewards(obs, actions, next_obs, terminated), expected)


def test_drawn_actions_follow_the_softmax():
    p = policy()
    obs = torch.randn(1, 4)
    torch.manual_seed(0)
    drawn = p.act(obs.expand(40_000, -1), sample=True)
    expected = torch.softmax(p.q_values(obs)[0] / 0.5, 0)
    torch.testing.assert_close(torch.bincount(drawn, minlength=3) / 40_000, expected, atol=0.01, rtol=0)


def test_a_missing_batch_dimension_is_named():
    with pytest.raises(UserError, match="batches of observations"):
        policy().act(torch.ones(4))


def test_numpy_arrays_are_read_as_gymnasium_gives_them():
    p = policy()
    obs = torch.randn(3, 4)
    assert torch.equal(p.act(obs.numpy()), p.act(obs))
    actions, terminated = torch.tensor([0, 1, 2]), torch.tensor([True, False, False])
    expected = p.rewards(obs, actions, obs, terminated)
    assert torch.equal(p.rewards(obs.numpy(), actions.numpy(), obs.numpy(), terminated.numpy()), expected)


def continuous() -> AgentPolicy:
    return AgentPolicy(actor(), gamma=0.9, env=PENDULUM)


def test_an_actors_policy_acts_and_values_within_its_spaces():
    p, obs = continuous(), 100 * torch.randn(50, 3, generator=torch.Generator().manual_seed(1))
    best, drawn = p.act(obs.double().numpy()), p.act(obs, sample=True)
    for actions in (best, drawn):
        assert (actions.dtype, actions.shape) == (torch.float32, (50, 1))
        assert all(PENDULUM.spaces.action.contains(action.numpy()) for action in actions)
    assert torch.equal(best, p.act(obs))
    assert not torch.equal(drawn, p.act(obs, sample=True))
    assert p.values(obs).shape == p.q(obs, best).shape == (50,)
    torch.manual_seed(0)
    next_v = p.values(obs)
    torch.manual_seed(0)
    rewards = p.rewards(obs, best.numpy(), obs, torch.arange(50) % 2 == 0)
    torch.testing.assert_close(rewards, p.q(obs, best) - 0.9 * (torch.arange(50) % 2) * next_v)


def test_an_actor_has_no_list_of_q_values_and_no_temperature_of_drawn_actions():
    p, obs = continuous(), torch.zeros(2, 3)
    with pytest.raises(UserError, match="no list of Q-values"):
        p.q_values(obs)
    with pytest.raises(UserError, match="an actor has none"):
        p.act(obs, sample=True, temperature=1.0)


def test_observations_and_actions_of_another_size_are_named():
    p = continuous()
    with pytest.raises(UserError, match=r"observations of shape \(3,\), not a tensor of shape \(2, 4\)"):
        p.act(torch.zeros(2, 4))
    with pytest.raises(UserError, match=r"actions of shape \(1,\), not a tensor of shape \(2, 2\)"):
        p.q(torch.zeros(2, 3), torch.zeros(2, 2))
    with pytest.raises(UserError, match=r"actions of shape \(\), not a tensor of shape \(2, 1\)"):
        policy().q(torch.zeros(2, 4), torch.zeros(2, 1))


def test_predict_gives_what_the_environment_takes_as_stable_baselines_does():
    p, env = policy(), gymnasium.make("CartPole-v1")
    observation, _ = env.reset(seed=0)
    action, state = p.predict(observation)
    assert (type(action), state) == (np.int64, None)
    assert env.action_space.contains(p.predict(observation)[0] % 2)
    many, state = p.predict(np.stack([observation] * 3), state="kept", episode_start=np.ones(3, bool))
    assert (many.shape, many.dtype, state) == ((3,), np.int64, "kept")
    assert (many == action).all()
    assert p.predict(observation.tolist())[0] == p.act(observation[None]).item() == action


def test_predict_draws_where_it_need_not_be_deterministic():
    p, observations = policy(), np.tile(np.array([1.0, -1, 2, 0]), (4000, 1))
    torch.manual_seed(0)
    shares = np.bincount(p.predict(observations, deterministic=False)[0], minlength=3) / 4000
    expected = torch.softmax(p.q_values(observations[:1])[0] / 0.5, 0).numpy()
    np.testing.assert_allclose(shares, expected, atol=0.03)


def test_predict_counts_actions_as_the_environment_does():
    p = policy()
    counted = AgentPolicy(p.agent, 0.9, first_action=1)
    observations = np.random.default_rng(0).normal(size=(50, 4))
    assert (counted.predict(observations)[0] == p.predict(observations)[0] + 1).all()


def test_predict_of_an_actor_stays_within_its_space_and_type():
    p, env = continuous(), gymnasium.make("Pendulum-v1")
    observation, _ = env.reset(seed=0)
    for scale in (1, 1000):
        action, _ = p.predict(scale * observation)
        assert (action.shape, action.dtype) == ((1,), np.float32)
        assert env.action_space.contains(action)
    assert p.predict(observation[None])[0].shape == (1, 1)


@pytest.mark.parametrize(
    ("observation", "sentence"),
    [
        (np.zeros(3), r"observations of shape \(4,\)"),
        (np.zeros((2, 3)), r"observations of shape \(4,\)"),
        (np.zeros((2, 3, 4)), r"one observation of shape \(4,\) or a batch of them, not an array of shape \(2, 3, 4\)"),
        (np.array(3.0), "one observation of shape"),
        (np.array([0, 0, np.nan, 0]), "not finite"),
        (np.array([[0, 0, 0, 0], [0, np.inf, 0, 0]]), r"not finite \(number 1 of 2"),
        ((np.zeros(4), {}), r"of what env\.reset\(\) returns it is the first part"),
        ("words", "an array of numbers, not this str"),
    ],
)
def test_wrong_observations_are_told_in_a_sentence(observation, sentence):
    with pytest.raises(UserError, match=sentence):
        policy().predict(observation)


def test_stable_baselines_evaluates_it_as_a_model():
    evaluation = pytest.importorskip("stable_baselines3.common.evaluation", reason="the extra sb3 is not installed")
    env = gymnasium.make("Pendulum-v1", max_episode_steps=5)
    mean, _ = evaluation.evaluate_policy(continuous(), env, n_eval_episodes=2, warn=False)
    assert mean < 0
