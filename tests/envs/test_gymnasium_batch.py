from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from iqlightning import GridWorldConfig, GymnasiumConfig, UserError
from iqlightning.data.shards import share_of
from iqlightning.spaces import num_actions, observation_high


class Stretch(gymnasium.Env):
    """Its actions are a box that is not supported."""

    observation_space = spaces.Box(-1, 1, (2,))

    def __init__(self, whole: bool = False) -> None:
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
        (GymnasiumConfig("CartPol-v1"), ["CartPol-v1", "did you mean 'CartPole-v"]),
        (GymnasiumConfig("Stretch-v0"), ["Stretch-v0", "Box without bounds", "Discrete and a Box", "with bounds"]),
        (GymnasiumConfig("Stretch-v0", {"whole": True}), ["Stretch-v0", "Box of whole numbers", "real numbers"]),
        (GymnasiumConfig("FrozenLake-v1"), ["FrozenLake-v1", "Discrete", "Box"]),
        (GymnasiumConfig("CartPole-v1", {"wheels": 4}), ["CartPole-v1", "wheels"]),
        (GymnasiumConfig("antigravity:CartPole-v1"), ["antigravity:CartPole-v1", "import"]),
    ],
)
def test_what_cannot_be_used_is_refused(config, words, monkeypatch):
    spec = EnvSpec("Stretch-v0", entry_point=Stretch)  # type: ignore[arg-type]
    monkeypatch.setitem(gymnasium.registry, "Stretch-v0", spec)
    with pytest.raises(UserError) as error:
        config.make_batch(1, seed=0)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_a_batch_plays_as_single_environments_do():
    count, steps = 3, 120
    batch = GymnasiumConfig("CartPole-v1").make_batch(count, seed=5)
    envs = [gymnasium.make("CartPole-v1") for _ in range(count)]
    first = np.stack([env.reset(seed=5 + i)[0] for i, env in enumerate(envs)])
    assert (batch.reset().numpy() == first).all()
    generator = torch.Generator().manual_seed(0)
    ended = 0
    for _ in range(steps):
        actions = torch.randint(0, 2, (count,), generator=generator)
        result = batch.step(actions)
        assert torch.equal(batch.observations, result.obs)
        for i, env in enumerate(envs):
            successor, reward, terminated, truncated, _ = env.step(int(actions[i]))
            assert (result.next_obs[i].numpy() == successor).all()
            flags = float(result.rewards[i]), bool(result.terminated[i]), bool(result.truncated[i])
            assert flags == (reward, terminated, truncated)
            if terminated or truncated:
                ended += 1
                successor = env.reset()[0]
            assert (result.obs[i].numpy() == successor).all()
    assert ended > 5


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


def test_misuse_is_refused():
    batch = GymnasiumConfig("CartPole-v1").make_batch(2, seed=0)
    with pytest.raises(RuntimeError, match="reset"):
        batch.step(torch.tensor([0, 0]))
    batch.reset()
    with pytest.raises(UserError, match=r"actions of 'CartPole-v1' must be from 0 to 1, but one is 2"):
        batch.step(torch.tensor([0, 2]))
    with pytest.raises(UserError, match=r"needs actions of shape \(2,\) and type torch.int64"):
        batch.step(torch.tensor([0.0, 1.0]))


def test_real_actions_are_played_as_they_are():
    batch = GymnasiumConfig("Pendulum-v1").make_batch(3, seed=5)
    envs = [gymnasium.make("Pendulum-v1") for _ in range(3)]
    first = np.stack([env.reset(seed=5 + i)[0] for i, env in enumerate(envs)])
    assert (batch.reset().numpy() == first).all()
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        actions = torch.rand((3, 1), generator=generator) * 4 - 2
        result = batch.step(actions)
        for i, env in enumerate(envs):
            successor, reward, *_ = env.step(actions[i].numpy())
            assert (result.next_obs[i].numpy() == successor).all()
            assert float(result.rewards[i]) == pytest.approx(float(reward))
    batch.step(torch.full((3, 1), 2.0) * (1 + 2**-23))  # the bound, but for rounding
    with pytest.raises(UserError, match=r"'Pendulum-v1' must be from \[-2.0\] to \[2.0\], but one is \[2.5\]"):
        batch.step(torch.tensor([[0.0], [2.5], [-9.0]]))
    with pytest.raises(UserError, match=r"must be from .*, but one is \[nan\]"):
        batch.step(torch.full((3, 1), torch.nan))
    with pytest.raises(UserError, match=r"needs actions of shape \(3, 1\) and type torch.float32, not \(3,\)"):
        batch.step(torch.zeros(3))
