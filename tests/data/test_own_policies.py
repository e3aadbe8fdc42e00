"""Functions, factories and objects of a user's own as players."""

import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from countdown import CountdownConfig
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from iqlightning import GymnasiumConfig, UserError
from iqlightning.data.collect import collect
from iqlightning.data.demonstrations import load_demonstrations
from iqlightning.data.own_policies import own_policy


class Secret(gymnasium.Env):
    """Which action is right is not to be seen; actions are numbered from 3, and episode k has 1 + k % 3 moves."""

    observation_space = spaces.Box(0, 100, (2,), np.float32)
    action_space = spaces.Discrete(4, start=3)

    def __init__(self) -> None:
        self.episode = -1

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.episode += 1
        self.move = 0
        self.secret = 3 + int(self.np_random.integers(4))
        return self._seen(), {}

    def _seen(self) -> np.ndarray:
        return np.array([self.episode, self.move], np.float32)

    def step(self, action: Any) -> Any:
        self.move += 1
        right = float(action == self.secret)
        self.secret = 3 + int(self.np_random.integers(4))
        return self._seen(), right, self.move > self.episode % 3, False, {}


@pytest.fixture
def env(monkeypatch):
    spec = EnvSpec("Secret-v0", entry_point=Secret, max_episode_steps=9)  # type: ignore[arg-type]
    monkeypatch.setitem(gymnasium.registry, "Secret-v0", spec)
    return GymnasiumConfig("Secret-v0")


def played(own, env, episodes=5, **options):
    return collect(own_policy(own, env, "mine:own"), env, episodes, 0, **options)


@pytest.mark.parametrize("num_envs", [1, 4])
def test_a_factory_is_called_for_each_episode_and_may_look_inside(env, num_envs):
    made = []

    def make_expert(env):
        made.append(env)
        assert env.unwrapped.move == 0  # an episode has just begun
        return lambda observation: env.unwrapped.secret if observation.shape == (2,) else None

    episodes = played(make_expert, env, num_envs=num_envs)
    assert episodes.num_episodes == len(made) == 5
    assert len(set(map(id, made))) == num_envs
    assert (episodes.rewards == 1).all()
    assert set(episodes.actions.tolist()) <= {0, 1, 2, 3}  # counted from 0, as everywhere in the package


def test_a_class_may_be_a_factory_and_its_objects_predict(env):
    class Bot:
        def __init__(self, env):
            self.env = env

        def predict(self, observation):
            return self.env.unwrapped.secret, None

    assert (played(Bot, env).rewards == 1).all()


def test_experts_of_continuous_actions():
    env = GymnasiumConfig("Pendulum-v1", {"max_episode_steps": 3})
    episodes = played(lambda env: lambda observation: np.array([observation[0]], np.float64), env, 2)
    assert torch.equal(episodes.actions[:, 0], episodes.transitions().obs[:, 0])


@pytest.mark.parametrize(
    "function",
    [
        lambda observations: 3 + observations[:, 1].long() % 4,
        lambda observations: (3 + observations[:, 1].numpy() % 4, None),
        lambda observations: [3.0 + float(move) % 4 for move in observations[:, 1]],
    ],
)
def test_a_function_speaks_the_numbers_of_the_environment(env, function):
    episodes = played(function, env, num_envs=3)
    assert torch.equal(episodes.actions, episodes.transitions().obs[:, 1].long() % 4)


def test_a_model_predicts_and_draws_only_if_asked():
    class Model:
        def predict(self, observation, state=None, deterministic=False):
            assert isinstance(observation, np.ndarray)
            return np.full(len(observation), int(deterministic)), None

    env = GymnasiumConfig("CartPole-v1", {"max_episode_steps": 4})
    assert (played(Model(), env).actions == 1).all()
    assert (played(Model(), env, sample=True).actions == 0).all()


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda observations: observations[:, 0] * 0 + 2, r"'mine:own' returned the action 2.0, .* from 3 to 6"),
        (lambda observations: observations[:, 0] * 0 + 7, r"'mine:own' returned the action 7.0, .*'Secret-v0'"),
        (lambda observations: observations[:, 0] * 0 + 3.5, r"'mine:own' returned the action 3.5, .* whole numbers"),
        (lambda observations: observations[:, 0] * torch.nan, r"'mine:own' returned the action nan"),
        (lambda observations: observations, r"'mine:own' returned actions of shape \(3, 2\) .* one whole number for"),
        (lambda observations: "left", r"'mine:own' must return actions as numbers, not str"),
        (lambda observations: [[1], [1, 2], 3], r"'mine:own' must return actions as numbers, not list"),
        (lambda env: lambda observation: 7, r"'mine:own' returned the action 7, .* from 3 to 6"),
        (lambda env: lambda observation: None, r"'mine:own' must return actions as numbers"),
        (lambda env: 3, r"'mine:own' must return a function from an observation to an action, not int"),
        (lambda observations, state: 3, r"'mine:own' takes observations and state"),
        (lambda: 3, r"'mine:own' takes nothing"),
        (3, r"'mine:own' is no function, but int"),
    ],
)
def test_a_mistake_names_the_function(env, function, says):
    with pytest.raises(UserError, match=says):
        played(function, env, num_envs=3)


def test_a_wrong_real_action_names_the_range():
    with pytest.raises(UserError, match=r"'mine:own' returned the action \[3.0\], .* from \[-2.0\] to \[2.0\]"):
        played(lambda observations: observations[:, :1] * 0 + 3, GymnasiumConfig("Pendulum-v1"))


def test_a_factory_needs_an_environment_of_gymnasium():
    with pytest.raises(UserError, match="name it with --gym ID"):
        played(lambda env: lambda observation: 0, CountdownConfig())


MINE = """
    import gymnasium

    class Bots:
        made = 0

        @classmethod
        def make(cls, env):
            cls.made += 1
            return lambda observation: int(observation[2] > 0)

    class Model:
        def predict(self, observations, deterministic=False):
            return (observations[:, 2] > 0).astype(int), None

    model = Model()
    gymnasium.register("mine/Pole-v0", "gymnasium.envs.classic_control.cartpole:CartPoleEnv", max_episode_steps=6)
"""


def test_from_the_command_line(workplace):
    workplace.write("bots.py", MINE)
    output = ("--output", "x.safetensors", "--force", "--episodes", "3", "--trust", "bots")
    for name, gym in (("Bots.make", "mine/Pole-v0"), ("model", "bots:mine/Pole-v0"), ("model.predict", "CartPole-v1")):
        assert workplace.run("collect", "--policy", f"bots:{name}", "--gym", gym, *output) == 0, workplace.shown()
        episodes, metadata = load_demonstrations(workplace.folder / "x.safetensors")
        assert torch.equal(episodes.actions, (episodes.transitions().obs[:, 2] > 0).long())
        assert metadata["env"]["id"] == gym
        assert episodes.lengths.max() <= 6 or gym == "CartPole-v1"
    assert sys.modules["bots"].Bots.made == 3
    bots = ("collect", "--policy", "bots:Bots.make", "--gym", "CartPole-v1", *output)
    assert "--sample says nothing to a function" in workplace.refused(*bots, "--sample")
    assert "has no function 'Bots.none'" in workplace.refused(*bots, "--policy", "bots:Bots.none")
    del sys.modules["bots"]
    other = ("collect", "--policy", "random", "--gym", "bots:mine/Pole-v0", "--output", "y")
    assert "say --trust bots" in workplace.refused(*other)
    gymnasium.registry.pop("mine/Pole-v0")


def test_a_time_limit_from_the_command_line(workplace):
    collecting = (
        "collect",
        "--policy",
        "random",
        "--gym",
        "CartPole-v1",
        "--episodes",
        "2",
        "--output",
        "x.safetensors",
    )
    assert workplace.run(*collecting, "--max_episode_steps", "5") == 0
    episodes, metadata = load_demonstrations(workplace.folder / "x.safetensors")
    assert episodes.lengths.tolist() == [5, 5]
    assert metadata["env"]["max_episode_steps"] == 5
    grid = ("collect", "--max_episode_steps", "5", "--episodes", "2")
    assert "GridWorld's is --max_moves" in workplace.refused(*grid)
    reading = ("collect", "--from", "x.safetensors", "--output", "y", "--max_episode_steps", "5")
    assert "--gym ID, which is missing" in workplace.refused(*reading)
