"""The step loop: whole episodes, true successors, no preference for short ones."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.rollout import rollout
from iqlightning.spaces import Spaces
from iqlightning.types import StepResult


class Countdown:
    """Environment i's k-th episode has 1 + (i + k) % 3 moves; an observation is (environment, episode, move)."""

    spaces = Spaces(spaces.Box(0, 100, (3,), np.int64), spaces.Discrete(2))

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs
        self.device = torch.device("cpu")
        self.reset()

    def reset(self):
        self.env, self.episode = torch.arange(self.num_envs), torch.zeros(self.num_envs, dtype=torch.int64)
        self.move = torch.zeros_like(self.episode)
        return self.observations

    @property
    def observations(self) -> torch.Tensor:
        return torch.stack([self.env, self.episode, self.move], 1)

    def step(self, actions):
        self.move = self.move + 1
        last = self.observations
        done = self.move > (self.env + self.episode) % 3
        odd = self.episode % 2 == 1
        self.episode, self.move = self.episode + done, self.move * ~done
        return StepResult(self.observations, last, actions.float(), done & ~odd, done & odd)

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


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
    assert torch.equal(played.rewards, played.actions.float())


def test_hands_on_whether_to_draw():
    assert (rollout(Alternating(), Countdown(2), 4, sample=True).actions >= 10).all()


def test_nothing_to_play_is_a_mistake():
    with pytest.raises(ValueError, match="nothing to play"):
        rollout(Alternating(), Countdown(2), 0)


def test_short_episodes_are_not_preferred():
    # Taking the first 300 of 3 environments to finish would give a mean length below the true 2.
    assert rollout(Alternating(), Countdown(3), 300).lengths.float().mean() == 2.0


class Leftwards:
    def act(self, observations, *, sample=False):
        return torch.zeros(len(observations), dtype=torch.int64)


@pytest.mark.parametrize("env", [GridWorldConfig(height=3, width=3, num_walls=1), GymnasiumConfig("CartPole-v1")])
def test_plays_real_environments(env):
    played = rollout(Leftwards(), env.make_batch(3, seed=0), 7)
    assert played.num_episodes == 7
    assert played.observations.shape[1:] == env.observation_shape
    moves = played.transitions()
    inner = ~(moves.terminated | moves.truncated)
    following = moves.obs[1:][inner[:-1]]
    assert torch.equal(moves.next_obs[:-1][inner[:-1]], following)
