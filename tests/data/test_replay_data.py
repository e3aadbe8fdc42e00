"""The learner's own experience: played in the exact ratio, the same after a resume, with rewards."""

import math
from typing import Any

import pytest
import torch
from explorer import equal, fit

from iqlightning.data.experience import Experience, OnlineReplay, explore
from iqlightning.data.index_stream import IndexStream
from iqlightning.data.replay_data import ReplayData
from iqlightning.envs.gridworld.spec import GridWorldConfig
from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.errors import UserError
from iqlightning.keyed import Stream
from iqlightning.types import EnvConfig

ENV = GridWorldConfig(height=5, width=5, num_walls=3)
CART_POLE = GymnasiumConfig("CartPole-v1")


def experience(config: OnlineReplay, env: EnvConfig = ENV, act=None, **options) -> Experience:
    stream = IndexStream(1, 16, seed=0, stream=Stream.REPLAY)
    batch = env.make_batch(config.num_envs, seed=0, split="train")
    act = act or (lambda obs, *_: torch.ones(len(obs), dtype=torch.int64))
    return Experience(batch, act, config, stream, **options)


@pytest.mark.parametrize("ratio", [10.0, 1.0, 0.3, 64.0, 200.0])
@pytest.mark.parametrize("num_envs", [1, 7, 64])
def test_plays_exactly_what_is_due(ratio, num_envs):
    played = experience(OnlineReplay(num_envs, 20_000, 100, ratio), rewards=True)
    for update in range(20):
        played.transitions(update)
        exact = round(100 * 10 + ratio * 10 * update)  # in tenths, to stay among integers
        assert played.transitions_played == num_envs * math.ceil(exact / (10 * num_envs))


def test_warms_up_at_random_and_then_asks_the_learner():
    asked = []

    def act(observations, env_steps, envs):
        asked.append(env_steps)
        return torch.zeros(len(observations), dtype=torch.int64)

    played = experience(OnlineReplay(8, 1_000, 100, 8.0), act=act, rewards=True)
    played.transitions(0)
    assert not asked
    assert torch.bincount(played.buffer.actions[:104], minlength=4).min() > 10
    played.transitions(3)
    assert asked == [104, 112, 120]
    assert (played.buffer.actions[104:128] == 0).all()


def test_transitions_carry_rewards_only_on_request():
    config = OnlineReplay(8, 1_000, 100, 8.0)
    assert experience(config, rewards=False).transitions(0).rewards is None
    transition = experience(config, rewards=True).transitions(0)
    assert transition.rewards is not None
    assert torch.equal(transition.rewards == 10, transition.terminated)


def test_environments_that_cannot_be_restored_begin_anew_with_their_episodes_cut():
    config = OnlineReplay(4, 400, 40, 4.0)
    played = experience(config, CART_POLE, rewards=True)
    played.transitions(2)
    state = played.state_dict()
    restored = experience(config, CART_POLE, rewards=True)
    restored.load_state_dict(state)
    ended = restored.buffer.terminated | restored.buffer.truncated
    assert ended[len(restored.buffer) - 4 : len(restored.buffer)].all()
    restored.transitions(5)
    assert restored.transitions_played == 60


@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize("cut", [13, 20])
def test_a_resumed_run_is_served_the_same(tmp_path, n_step, cut):
    def data() -> ReplayData:
        options: dict[str, Any] = {
            "num_envs": 4,
            "capacity": 64,
            "batch_size": 16,
            "warmup_steps": 10,
            "steps_per_update": 2.5,
        }
        return ReplayData(ENV, n_step=n_step, updates_per_epoch=20, **options)

    whole = fit(data(), tmp_path, steps=45)
    fit(data(), tmp_path, steps=cut, save=tmp_path / "cut.ckpt")
    torch.load(tmp_path / "cut.ckpt", weights_only=True)
    resumed = fit(data(), tmp_path, steps=45, resume=tmp_path / "cut.ckpt")
    assert list(resumed.served) == list(range(cut, 45))
    assert all(equal(whole.served[u], resumed.served[u]) for u in range(cut, 45))
    policy = whole.served[0].get("policy")
    assert policy is not None
    assert policy.rewards is not None
    assert (policy.steps is None) == (n_step == 1)
    assert whole.explored == sorted(set(whole.explored))


def test_other_stages_play_nothing():
    data = ReplayData(ENV)
    data.setup("test")
    assert list(data.test_dataloader()) == [{}]
    assert data.state_dict() == {}
    data.load_state_dict({"experience": {}})


def test_a_learner_that_cannot_explore_is_a_plain_sentence():
    with pytest.raises(UserError, match="cannot collect transitions of its own"):
        explore(None, torch.zeros(1), 0, torch.zeros(1, dtype=torch.int64))


def test_nonsense_is_a_plain_sentence():
    cases: list[tuple[str, dict[str, Any]]] = [
        ("num_envs must be", {"num_envs": 0}),
        ("warmup_steps must not", {"warmup_steps": -1}),
        ("steps_per_update must be", {"steps_per_update": 0.0}),
        ("steps_per_update must be", {"steps_per_update": math.inf}),
        ("capacity 10 must be", {"capacity": 10}),
        ("n_step at least 1", {"n_step": 0}),
        ("gamma must be", {"gamma": 1.1}),
        ("batch_size", {"batch_size": 0}),
    ]
    for match, options in cases:
        with pytest.raises(UserError, match=match):
            ReplayData(ENV, **options)
