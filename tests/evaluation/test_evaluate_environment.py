import numpy as np
import pytest
import torch
from countdown import CountdownConfig
from gymnasium import spaces
from small_runs import Always

from iqlightning.errors import UserError
from iqlightning.evaluation.environment import evaluate_environment, play_episodes
from iqlightning.evaluation.reference_policies import RandomPolicy
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.evaluation.results import GridWorldResults
from iqlightning.keyed import Stream
from iqlightning.spaces import contains_actions


def test_every_episode_is_whole_and_none_is_favoured_for_being_short() -> None:
    results = play_episodes(Always(0), CountdownConfig(), 7, 0, num_envs=3)
    assert results.lengths.tolist() == [1, 2, 3, 1, 2, 3, 1]
    assert results.returns.tolist() == [1.0, 4.0, 9.0, 1.0, 4.0, 9.0, 1.0]


def test_an_evaluation_with_drawn_actions_repeats_itself() -> None:
    config = GridWorldConfig(height=4, width=4)
    policy = RandomPolicy(config.spaces.action)
    one, other, another = (play_episodes(policy, config, 40, seed, sample=True).returns for seed in (0, 0, 1))
    assert torch.equal(one, other)
    assert not torch.equal(one, another)


def test_figures_are_those_of_the_episodes() -> None:
    results = play_episodes(Always(0), CountdownConfig(), 4, 0, num_envs=8)
    figures = results.metrics()
    assert figures["episodes"] == 4
    assert figures["mean_return"] == pytest.approx(results.returns.mean().item())
    assert figures["std_return"] == pytest.approx(results.returns.std().item())
    assert figures["mean_length"] == pytest.approx(results.lengths.double().mean().item())


def test_ranks_share_the_episodes_and_play_different_ones() -> None:
    shares = [play_episodes(Always(0), CountdownConfig(), 5, 0, num_envs=4, rank=r, world_size=2) for r in range(2)]
    assert [len(share.returns) for share in shares] == [3, 2]
    assert shares[1].returns.tolist() == [5.0 * (1 + 4 % 3), 6.0 * (1 + 5 % 3)]
    nothing = play_episodes(Always(0), CountdownConfig(), 1, 0, rank=1, world_size=2)
    assert len(nothing.returns) == 0


def test_progress_counts_every_episode_once() -> None:
    finished: list[int] = []
    play_episodes(Always(0), CountdownConfig(), 10, 0, num_envs=4, progress=finished.append)
    assert sum(finished) == 10


def test_an_environment_that_plays_in_its_own_way_is_asked_first() -> None:
    config = GridWorldConfig(height=4, width=4)
    policy = RandomPolicy(config.spaces.action)
    assert isinstance(evaluate_environment(policy, config, 5, 0), GridWorldResults)
    results = evaluate_environment(Always(0), CountdownConfig(), 4, 0)
    assert set(results.metrics()) >= {figure.name for figure in CountdownConfig.FIGURES}


def test_random_actions_of_a_box_lie_within_it_and_depend_on_the_keys_alone() -> None:
    box = spaces.Box(np.array([[-1.0, 0.0]], dtype=np.float32), np.array([[1.0, 10.0]], dtype=np.float32))
    policy, episodes = RandomPolicy(box), torch.arange(2000)
    actions = policy.draw(torch.zeros(2000, 3), (Stream.SAMPLE, 0, episodes, 7))
    assert actions.shape == (2000, 1, 2)
    assert contains_actions(box, actions).all()
    torch.testing.assert_close(actions.mean(0), torch.tensor([[0.0, 5.0]]), atol=0.3, rtol=0)
    torch.testing.assert_close(actions[5:6], policy.draw(torch.zeros(1, 3), (Stream.SAMPLE, 0, episodes[5:6], 7)))
    assert not torch.equal(policy.act(torch.zeros(8, 3)), policy.act(torch.zeros(8, 3)))
    with pytest.raises(UserError, match="between the bounds"):
        RandomPolicy(spaces.Box(-np.inf, np.inf, (2,)))
