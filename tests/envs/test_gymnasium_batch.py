from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from small_runs import Always

from iqlightning import GridWorldConfig, GymnasiumConfig, UserError
from iqlightning.data.collect import collect
from iqlightning.data.replay_data import ReplayData
from iqlightning.data.shards import share_of
from iqlightning.envs import gymnasium as module
from iqlightning.evaluation.environment import play_episodes
from iqlightning.keyed import Stream
from iqlightning.portable import probe_observations
from iqlightning.spaces import num_actions, observation_high, random_actions


class Stretch(gymnasium.Env):
    """Its actions are a box that is not supported."""

    observation_space: spaces.Space = spaces.Box(-1, 1, (2,))
    action_space: spaces.Space

    def __init__(self, whole: bool = False, inside: str | None = None, side: int = 1, words: bool = False) -> None:
        assert side >= 0, "the side must be positive"
        self.cells = 1 // side
        if inside is not None:
            gymnasium.make(inside)
        if words:
            self.observation_space = spaces.Dict({"task": spaces.Text(9), "place": spaces.Discrete(3)})
            self.action_space = spaces.Discrete(2)
            return
        self.action_space = spaces.Box(0, 9, (2,), np.int64) if whole else spaces.Box(-np.inf, np.inf, (2,))


def test_cartpole_has_the_facts_of_its_spaces():
    config = GymnasiumConfig("CartPole-v1")
    assert (config.observation_shape, num_actions(config.spaces.action)) == ((4,), 2)
    assert observation_high(config.spaces.observation) == 1.0
    assert config.name == "CartPole-v1"


def test_planes_of_zeros_and_ones_are_not_bytes_of_255():
    config = GymnasiumConfig("iqlightning/GridWorld-v0", {"height": 4, "width": 4})
    assert observation_high(config.spaces.observation) == 1.0
    assert config.name == "iqlightning-GridWorld-v0-height_4-width_4"
    assert config.make_batch(2, seed=0).reset().dtype == torch.uint8


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            GymnasiumConfig("CartPol-v1"),
            ["no environment 'CartPol-v1'", "may not be imported", "near ids: CartPole-v1, "],
        ),
        (GymnasiumConfig("Stretch-v0"), ["Stretch-v0", "Box without bounds", "Discrete and a Box", "with bounds"]),
        (GymnasiumConfig("Stretch-v0", {"whole": True}), ["Stretch-v0", "Box of whole numbers", "real numbers"]),
        (GymnasiumConfig("Stretch-v0", {"words": True}), ["Stretch-v0", "'task'", "Text", "FilterObservation"]),
        (GymnasiumConfig("CartPole-v1", {"wheels": 4}), ["CartPole-v1", "wheels"]),
        (GymnasiumConfig("nobody_has_this:CartPole-v1"), ["nobody_has_this:CartPole-v1", "--trust nobody_has_this"]),
        (GymnasiumConfig("antigravity:CartPole-v1"), ["antigravity:CartPole-v1", "is no package of your own"]),
        (GymnasiumConfig("json:CartPol-v1"), ["module 'json' is imported", "'CartPol-v1'; near ids: CartPole-v1, "]),
        (GymnasiumConfig("Stretch-v0", {"inside": "CartPol-v1"}), ["'CartPol-v1', which 'Stretch-v0' asks for"]),
        (
            GymnasiumConfig("Stretch-v0", {"side": 0}),
            ["'Stretch-v0' cannot be made: ZeroDivisionError", "batch.py, line"],
        ),
        (GymnasiumConfig("Stretch-v0", {"side": -1}), ["'Stretch-v0' cannot be made: the side must be positive"]),
    ],
)
def test_what_cannot_be_used_is_refused(config, words, monkeypatch):
    spec = EnvSpec("Stretch-v0", entry_point=Stretch)  # type: ignore[arg-type]
    monkeypatch.setitem(gymnasium.registry, "Stretch-v0", spec)
    with pytest.raises(UserError) as error:
        config.make_batch(1, seed=0)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(("env_id", "steps", "ends"), [("CartPole-v1", 120, 6), ("Pendulum-v1", 201, 3)])
def test_a_batch_plays_as_single_environments_do(env_id, steps, ends):
    count = 3
    batch = GymnasiumConfig(env_id).make_batch(count, seed=5)
    envs = [gymnasium.make(env_id) for _ in range(count)]
    first = np.stack([env.reset(seed=5 + i)[0] for i, env in enumerate(envs)])
    assert (batch.reset().numpy() == first).all()
    ended = 0
    for step in range(steps):
        actions = random_actions(batch.spaces.action, Stream.RANDOM_POLICY, step, torch.arange(count))
        result = batch.step(actions)
        assert torch.equal(batch.observations, result.obs)
        for i, env in enumerate(envs):
            successor, reward, terminated, truncated, _ = env.step(actions[i].numpy())
            assert (result.next_obs[i].numpy() == successor).all()
            flags = float(result.rewards[i]), bool(result.terminated[i]), bool(result.truncated[i])
            assert flags == (np.float32(reward), terminated, truncated)
            if terminated or truncated:
                ended += 1
                successor = env.reset()[0]
            assert (result.obs[i].numpy() == successor).all()
    assert ended >= ends


def test_our_own_game_through_gymnasium_is_the_native_one():
    options: dict[str, Any] = {"height": 4, "width": 5, "max_moves": 9}
    adapted = GymnasiumConfig("iqlightning/GridWorld-v0", options).make_batch(4, seed=3)
    native = GridWorldConfig(**options).make_batch(4, seed=3)
    assert torch.equal(adapted.reset(), native.reset())
    for actions in torch.randint(0, 4, (60, 4), generator=torch.Generator().manual_seed(0)):
        for x, y in zip(adapted.step(actions), native.step(actions), strict=True):
            assert torch.equal(x, y)


def test_splits_begin_differently_and_repeat():
    config = GymnasiumConfig("CartPole-v1")
    starts = {split: config.make_batch(2, seed=0, split=split).reset() for split in ("any", "train", "test")}
    assert not torch.equal(starts["train"], starts["test"])
    assert torch.equal(starts["train"], config.make_batch(5, seed=0, split="train").reset()[:2])
    with pytest.raises(UserError, match="no split"):
        config.make_batch(1, seed=0, split="dev")


@pytest.mark.parametrize("split", ["any", "train"])
@pytest.mark.parametrize("config", [GymnasiumConfig("CartPole-v1"), GridWorldConfig(height=4, width=4)])
def test_a_share_of_the_environments_plays_as_it_would_among_all(config, split):
    everything = config.make_batch(6, seed=7, split=split)
    shares = [config.make_batch(2, seed=7, split=split, first=rank, every=3) for rank in range(3)]
    observations = everything.reset()
    for rank, share in enumerate(shares):
        assert torch.equal(share.reset(), observations[rank::3])
    for actions in torch.randint(0, 2, (60, 6), generator=torch.Generator().manual_seed(0)):
        result = everything.step(actions)
        for rank, share in enumerate(shares):
            for ours, everyones in zip(share.step(actions[rank::3]), result, strict=True):
                assert torch.equal(ours, everyones[rank::3])
    whole = everything.state_dict()
    for rank, share in enumerate(shares):
        share.load_state_dict(share_of(whole, rank, 3))
        assert share.state_dict().keys() == whole.keys()


def test_an_id_with_a_module_plays_as_without_it():
    plain, named = (GymnasiumConfig(each).make_batch(2, seed=3) for each in ("CartPole-v1", "gymnasium:CartPole-v1"))
    assert torch.equal(plain.reset(), named.reset())


class Endless(gymnasium.Env):
    observation_space = spaces.Box(0, 1, (1,))
    action_space = spaces.Discrete(2)

    def __init__(self, max_steps: int | None = None) -> None:
        self.max_steps = max_steps

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.moves = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        self.moves += 1
        return np.zeros(1, np.float32), 0.0, False, self.moves == self.max_steps, {}


@pytest.fixture
def endless(monkeypatch):
    spec = EnvSpec("Endless-v0", entry_point=Endless, disable_env_checker=True)  # type: ignore[arg-type]
    monkeypatch.setitem(gymnasium.registry, "Endless-v0", spec)
    monkeypatch.setattr(module, "LONGEST_EPISODE", 7)
    module._warn_of_no_limit.cache_clear()
    yield "Endless-v0"
    module._warn_of_no_limit.cache_clear()


def length_of_an_episode(config):
    batch = config.make_batch(1, seed=0)
    batch.reset()
    for step in range(1, 20):
        result = batch.step(torch.tensor([0]))
        if bool(result.truncated):
            assert not bool(result.terminated)
            return step
    return None


def test_an_episode_without_a_time_limit_is_cut_off_and_that_is_said_once(endless, recwarn):
    for _ in range(2):
        assert length_of_an_episode(GymnasiumConfig(endless)) == 7
    (said,) = [str(each.message) for each in recwarn]
    assert "'Endless-v0' has no time limit" in said
    assert "cut off after 7 steps" in said
    assert "--max_episode_steps N" in said


def test_a_time_limit_that_is_set_holds_in_silence(endless, recwarn):
    assert length_of_an_episode(GymnasiumConfig(endless, {"max_episode_steps": 3})) == 3
    assert length_of_an_episode(GymnasiumConfig(endless, {"max_steps": 9})) == 9  # one of the environment's own
    assert length_of_an_episode(GymnasiumConfig("CartPole-v1", {"max_episode_steps": 4})) == 4
    assert not list(recwarn)


def test_none_may_be_asked_for(endless):
    with pytest.warns(UserWarning, match="never ends"):
        assert length_of_an_episode(GymnasiumConfig(endless, {"max_episode_steps": -1})) is None


def test_a_resumed_batch_repeats():
    config = GymnasiumConfig("CartPole-v1")
    batch = config.make_batch(2, seed=0)
    batch.reset()
    for _ in range(10):
        batch.step(torch.tensor([0, 1]))
    state = batch.state_dict()
    resumed = [config.make_batch(2, seed=0) for _ in range(2)]
    for copy in resumed:
        copy.load_state_dict(state)
    for _ in range(30):
        first, second = (copy.step(torch.tensor([1, 0])) for copy in resumed)
        assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))
    with pytest.raises(UserError, match="2 environments, not of 3"):
        config.make_batch(3, seed=0).load_state_dict(state)


class Failing(gymnasium.Env):
    """Fails in one of its methods, and counts how many of it are open."""

    observation_space = spaces.Box(0, 1, (1,))
    action_space = spaces.Discrete(2)
    open = 0

    def __init__(self, where: str = "") -> None:
        self.where = where
        self.fail_in("__init__")
        Failing.open += 1

    def fail_in(self, method: str) -> None:
        if self.where == method:
            raise LookupError(f"no {method} today")

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.fail_in("reset")
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        self.fail_in("step")
        return np.zeros(1, np.float32), 0.0, True, False, {}

    def close(self) -> None:
        Failing.open -= 1
        self.fail_in("close")


@pytest.fixture
def failing(monkeypatch):
    spec = EnvSpec("Failing-v0", entry_point=Failing, max_episode_steps=5)  # type: ignore[arg-type]
    monkeypatch.setitem(gymnasium.registry, "Failing-v0", spec)
    monkeypatch.setattr(Failing, "open", 0)
    return lambda where="", **settings: GymnasiumConfig("Failing-v0", {"where": where}, **settings)


@pytest.mark.filterwarnings("ignore::UserWarning:gymnasium.vector.async_vector_env")
@pytest.mark.parametrize("vectorization", ["sync", "async", "auto"])
@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("__init__", "the Gymnasium environment 'Failing-v0' cannot be made: LookupError: no __init__ today"),
        ("reset", "the environment 'Failing-v0' itself failed in its reset: LookupError: no reset today"),
        ("step", "the environment 'Failing-v0' itself failed in its step: LookupError: no step today"),
        ("close", "the environment 'Failing-v0' itself failed in its close: LookupError: no close today"),
    ],
)
def test_an_environment_that_fails_is_named_with_its_own_words(failing, vectorization, where, words):
    with pytest.raises(UserError, match=rf"{words} \(test_gymnasium_batch.py, line \d+\)$"):
        play_episodes(Always(0), failing(where, vectorization=vectorization), 2, 0)


@pytest.mark.parametrize(
    "play",
    [
        lambda env: play_episodes(Always(0), env, 3, 0),
        lambda env: collect(Always(0), env, 3, 0),
        lambda env: probe_observations(env, 8),
        lambda env: ReplayData(env).some_observations(),
    ],
)
def test_environments_are_closed_when_they_are_played_no_longer(failing, play):
    play(failing())
    assert Failing.open == 0


def test_misuse_is_refused():
    batch = GymnasiumConfig("CartPole-v1").make_batch(2, seed=0)
    with pytest.raises(RuntimeError, match="reset"):
        batch.step(torch.tensor([0, 0]))
    batch.reset()
    with pytest.raises(UserError, match=r"actions of 'CartPole-v1' must be from 0 to 1, but one is 2"):
        batch.step(torch.tensor([0, 2]))
    with pytest.raises(UserError, match=r"needs actions of shape \(2,\) and type torch.int64"):
        batch.step(torch.tensor([0.0, 1.0]))


def test_misuse_of_real_actions_is_refused():
    batch = GymnasiumConfig("Pendulum-v1").make_batch(3, seed=5)
    batch.reset()
    batch.step(torch.full((3, 1), 2.0) * (1 + 2**-23))  # the bound, but for rounding
    with pytest.raises(UserError, match=r"'Pendulum-v1' must be from \[-2.0\] to \[2.0\], but one is \[2.5\]"):
        batch.step(torch.tensor([[0.0], [2.5], [-9.0]]))
    with pytest.raises(UserError, match=r"must be from .*, but one is \[nan\]"):
        batch.step(torch.full((3, 1), torch.nan))
    with pytest.raises(UserError, match=r"needs actions of shape \(3, 1\) and type torch.float32, not \(3,\)"):
        batch.step(torch.zeros(3))
