"""The step loop: whole episodes, true successors, no preference for short ones."""

import pytest
import torch
from countdown import Countdown

from iqlightning.rollout import rollout


class Alternating:
    def act(self, observations, *, sample=False):
        return observations[:, 2] % 2 + (0 if not sample else 10)


@pytest.mark.parametrize(("num_envs", "episodes"), [(1, 1), (1, 5), (3, 3), (4, 11), (8, 2)])
def test_plays_each_episode_whole_and_in_order(num_envs, episodes):
    finished = []
    played = rollout(Alternating(), Countdown(num_envs), episodes, progress=finished.append)
    assert played.num_episodes == sum(finished) == episodes
    for e in range(episodes):
        env, episode = e % num_envs, e // num_envs
        moves = 1 + (env + episode) % 3
        assert int(played.lengths[e]) == moves
        frames = played.observations[int(played.starts[e]) + e :][: moves + 1]
        assert frames.tolist() == [[env, episode, move] for move in range(moves + 1)]
        assert bool(played.truncated[e]) == (episode % 2 == 1)
        assert bool(played.terminated[e]) == (episode % 2 == 0)
    assert torch.equal(played.actions, played.transitions().obs[:, 2] % 2)
    assert torch.equal(played.rewards, played.transitions().obs[:, 0] + 1.0)


def test_hands_on_whether_to_draw():
    assert (rollout(Alternating(), Countdown(2), 4, sample=True).actions >= 10).all()


def test_nothing_to_play_is_a_mistake():
    with pytest.raises(ValueError, match="nothing to play"):
        rollout(Alternating(), Countdown(2), 0)


def test_short_episodes_are_not_preferred():
    # Taking the first 300 of 3 environments to finish would give a mean length below the true 2.
    assert rollout(Alternating(), Countdown(3), 300).lengths.float().mean() == 2.0
