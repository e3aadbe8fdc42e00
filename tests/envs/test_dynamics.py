"""A model of the dynamics predicts what it has not seen, and episodes imagined with it are repeatable."""

import pytest
import torch
from gymnasium import spaces

from iqlightning.envs.dynamics.gaussian_process import GaussianProcess
from iqlightning.envs.dynamics.imagination import Imagination, ImaginedBatch
from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.errors import UserError
from iqlightning.keyed import Stream, integers
from iqlightning.spaces import Spaces, num_actions
from iqlightning.types import Transition

SPACES = Spaces(spaces.Box(-100, 100, (2,)), spaces.Discrete(2))


def played(env_id: str, count: int, seed: int = 0) -> Transition:
    """Transitions of random actions."""
    env = GymnasiumConfig(env_id).make_batch(4, seed=seed)
    obs, parts = env.reset(), []
    for step in range(count // 4):
        actions = integers(Stream.RANDOM_POLICY, seed, step, torch.arange(4), bound=num_actions(env.spaces.action))
        result = env.step(actions)
        parts.append((obs, actions, result.next_obs, result.terminated, result.truncated))
        obs = result.obs
    return Transition(*map(torch.cat, zip(*parts, strict=True)))


def moving(count: int) -> Transition:
    """A point that action 0 moves left and action 1 right by one, and whose second number halves."""
    obs = torch.stack([torch.arange(count) % 7, torch.arange(count) % 5], 1).float()
    actions = torch.arange(count) % 2
    change = torch.stack([2.0 * actions - 1, -obs[:, 1] / 2], 1)
    no = torch.zeros(count, dtype=torch.bool)
    return Transition(obs, actions, obs + change, no, no)


@pytest.mark.parametrize(("env_id", "actions", "count"), [("CartPole-v1", 2, 40), ("Acrobot-v1", 3, 80)])
def test_a_few_transitions_predict_others(env_id, actions, count):
    model = GaussianProcess(steps=80)
    model.fit(played(env_id, count), actions)
    others = played(env_id, 200, seed=99)
    errors = model(others.obs, others.actions) - others.next_obs
    changes = others.next_obs - others.obs
    assert (errors.square().mean(0) < 0.02 * changes.square().mean(0)).all()
    assert (model.explained > 0.95).all()


def test_leaving_one_out_is_what_the_closed_form_says():
    transitions = moving(24)
    model = GaussianProcess(steps=0)  # the kernel's numbers then do not depend on what is left out
    model.fit(transitions, 2)
    # noise has no part in what is predicted: the mean of all others, found by solving for them alone
    kernel = model._covariance()
    targets = ((transitions.next_obs - transitions.obs).double() / model._change).t()
    left_out = torch.empty_like(targets)
    for each in range(24):
        others = [index for index in range(24) if index != each]
        weights = torch.linalg.solve(kernel[:, others][:, :, others], targets[:, others])
        left_out[:, each] = targets[:, each] - (kernel[:, each][:, others] * weights).sum(1)
    expected = 1 - left_out.square().mean(1) / targets.var(1)
    torch.testing.assert_close(model.explained, expected)


def test_more_transitions_than_the_limit_are_thinned_out_evenly():
    model = GaussianProcess(steps=80, max_transitions=20)
    model.fit(moving(200), 2)
    assert len(model._inputs) == 20
    predicted = model(torch.tensor([[3.0, 4.0]]), torch.tensor([1]))
    torch.testing.assert_close(predicted, torch.tensor([[4.0, 2.0]]), atol=0.02, rtol=0)


def imagined(num_envs: int = 6, **options: int) -> ImaginedBatch:
    model = GaussianProcess(steps=40)
    return Imagination(model, episode_length=8.0).make_batch(moving(40), SPACES, num_envs, seed=3, **options)


def test_imagined_episodes_follow_the_model_and_begin_where_demonstrations_are():
    batch, starts = imagined(200), moving(40).obs
    assert (batch.observations[:, None] == starts).all(2).any(1).all()
    ended = 0
    for step in range(20):
        before = batch.observations
        result = batch.step(torch.full((200,), step % 2))
        going = ~result.truncated
        ended += int(result.truncated.sum())
        inside = (before[:, 0] > -5) & (before[:, 0] < 11)  # of what leaves the box only the box's edge is kept
        expected = before + torch.stack([torch.full((200,), 2.0 * (step % 2) - 1), -before[:, 1] / 2], 1)
        torch.testing.assert_close(result.next_obs[inside], expected[inside], atol=0.1, rtol=0)
        assert torch.equal(result.obs[going], result.next_obs[going])
        assert (result.obs[result.truncated][:, None] == starts).all(2).any(1).all()
        assert not result.terminated.any()
    assert 20 * 200 / 8 * 0.8 < ended < 20 * 200 / 8 * 1.3


def test_imagined_episodes_repeat_resume_and_shard():
    whole, again, halves = imagined(), imagined(), [imagined(3, first=rank, every=2) for rank in range(2)]
    for step in range(12):
        actions = torch.arange(6) % 2
        result = whole.step(actions)
        assert torch.equal(again.step(actions).next_obs, result.next_obs)
        for rank, half in enumerate(halves):
            torch.testing.assert_close(half.step(actions[rank::2]).next_obs, result.next_obs[rank::2])
        if step == 5:
            saved = again.state_dict()
            again = imagined()
            again.load_state_dict(saved)


def test_where_a_model_predicts_badly_a_sentence_says_so():
    noise = moving(40)._replace(next_obs=torch.rand(40, 2, generator=torch.Generator().manual_seed(0)) * 9)
    with pytest.warns(UserWarning, match=r"predicts \d+% of the changes of number"):
        Imagination(GaussianProcess(steps=40)).make_batch(noise, SPACES, 4, seed=0)


def test_what_cannot_be_imagined_is_refused_in_a_sentence():
    images = moving(4)._replace(obs=torch.zeros(4, 3, 5, 5))
    with pytest.raises(UserError, match=r"data.imagined models vectors of numbers"):
        Imagination().make_batch(images, SPACES, 4, seed=0)
    with pytest.raises(UserError, match="episode_length"):
        Imagination(episode_length=0.5)
    with pytest.raises(UserError, match="max_transitions"):
        GaussianProcess(max_transitions=1)
