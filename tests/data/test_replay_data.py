"""The learner's own experience: played in the exact ratio, the same after a resume, with rewards."""

import math
from typing import Any

import pytest
import torch
from explorer import are_rows, equal, fit

from iqlightning.data.augment import symmetry_of
from iqlightning.data.experience import Experience, OnlineReplay, explore, own_environments
from iqlightning.data.index_stream import IndexStream
from iqlightning.data.placement import Placement
from iqlightning.data.replay_data import ReplayData
from iqlightning.data.shards import share_of
from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.errors import UserError
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.keyed import Stream, integers
from iqlightning.types import EnvConfig

ENV = GridWorldConfig(height=5, width=5, num_walls=3)
CART_POLE = GymnasiumConfig("CartPole-v1")


def experience(
    config: OnlineReplay, env: EnvConfig = ENV, act=None, rank: int = 0, world_size: int = 1, **options
) -> Experience:
    stream = IndexStream(1, 16, seed=0, stream=Stream.REPLAY, rank=rank, world_size=world_size)
    batch = own_environments(env, config.num_envs, 0, Placement(rank=rank, world_size=world_size))
    act = act or (lambda obs, *_: torch.ones(len(obs), dtype=torch.int64))
    return Experience(batch, act, config, stream, **options)


def by_key(obs: torch.Tensor, env_steps: int, envs: torch.Tensor) -> torch.Tensor:
    """Actions that depend on the environment's number among all."""
    return integers(Stream.SAMPLE, env_steps, envs, bound=2)


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


def test_symmetries_exchange_left_and_right_in_half_of_what_is_served():
    config = OnlineReplay(8, 400, 100, 8.0)
    mirror = symmetry_of(CART_POLE)
    plain = experience(config, CART_POLE, rewards=True, n_step=3)
    served = experience(config, CART_POLE, rewards=True, n_step=3, augmentations=[(Stream.SYMMETRY, mirror)])
    images = 0
    for update in range(150):
        expected, transition = plain.transitions(update), served.transitions(update)
        ones = torch.ones_like(expected.actions)
        image = mirror(expected, ones)
        own = (transition.obs == image.obs).all(1)
        for field in ("obs", "actions", "next_obs"):
            kept, turned, shown = (getattr(each, field) for each in (expected, image, transition))
            chosen = own if kept.dim() == 1 else own[:, None]
            assert torch.equal(shown, torch.where(chosen, turned, kept))
        for field in ("rewards", "terminated", "truncated", "steps"):
            assert torch.equal(getattr(transition, field), getattr(expected, field))
        images += int(own.sum())
    assert abs(images - 1200) < 150  # of 2,400; three standard deviations are 74


def test_the_datamodule_serves_mirrored_transitions_if_it_is_asked_to(tmp_path):
    def served(symmetries: bool) -> tuple[torch.Tensor, torch.Tensor]:
        data = ReplayData(CART_POLE, num_envs=4, batch_size=16, warmup_steps=40, symmetries=symmetries)
        batches = fit(data, tmp_path, steps=8).served.values()
        policies = [policy for batch in batches if (policy := batch.get("policy")) is not None]
        return torch.cat([each.obs for each in policies]), torch.cat([each.actions for each in policies])

    (plain, plain_actions), (shown, shown_actions) = served(False), served(True)
    same = (shown == plain).all(1)
    assert same.any()
    assert not same.all()
    assert torch.equal(shown[~same], -plain[~same])
    assert torch.equal(shown_actions, torch.where(same, plain_actions, 1 - plain_actions))


def test_symmetries_of_an_environment_without_any_are_refused_at_once():
    with pytest.raises(UserError, match=r"data\.symmetries turns .* no symmetry of 'MountainCar-v0' is known"):
        ReplayData(GymnasiumConfig("MountainCar-v0"), symmetries=True)


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
    policy: Any = whole.served[0].get("policy")
    assert policy.rewards is not None
    assert (policy.steps is None) == (n_step == 1)
    assert whole.explored == sorted(set(whole.explored))


# 16 samples a batch: g is 8, 4 and 16, of 8, 12 and 48 environments
@pytest.mark.parametrize(("num_envs", "world_size"), [(8, 4), (12, 2), (12, 4), (48, 2)])
@pytest.mark.parametrize(("env", "n_step"), [(ENV, 1), (ENV, 3), (CART_POLE, 2)])
def test_shares_of_the_environments_serve_what_one_process_does(num_envs, world_size, env, n_step):
    # 7 steps and a remainder, so that the oldest are overwritten; ends of episodes among them
    config = OnlineReplay(num_envs, 7 * num_envs + 5, 3 * num_envs, 0.9 * num_envs)
    options: dict[str, Any] = {"act": by_key, "n_step": n_step, "rewards": True}
    alone = experience(config, env, **options)
    shares = [experience(config, env, rank=rank, world_size=world_size, **options) for rank in range(world_size)]
    ended = 0
    for update in range(20):
        whole = alone.transitions(update)
        for rank, share in enumerate(shares):
            assert are_rows(share.transitions(update), whole, slice(rank, None, world_size))
            assert share.transitions_played == alone.transitions_played
        ended += int((whole.terminated | whole.truncated).sum())
    assert ended
    assert sum(len(share.buffer) for share in shares) == len(alone.buffer) == 7 * num_envs


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 4), (4, 2), (4, 1)])
def test_what_was_played_is_shared_out_anew(before, after):
    config = OnlineReplay(8, 80, 24, 6.0)
    alone = experience(config, act=by_key, rewards=True)
    shares = [experience(config, act=by_key, rank=r, world_size=before, rewards=True) for r in range(before)]
    for played in (alone, *shares):
        played.transitions(12)
    # what processes gather is what one would have
    whole = alone.state_dict()
    for rank, share in enumerate(shares):
        own = {"obs": share._obs, "env": share.env.state_dict(), "buffer": share.buffer.state_dict()}
        expected = share_of(whole, rank, before)
        for name, part in [("env", own["env"]), ("buffer", own["buffer"]), ("", {"obs": own["obs"]})]:
            for key, value in part.items():
                if isinstance(value, torch.Tensor):
                    wanted = (expected[name] if name else expected)[key]
                    if key == "apart":  # of another process's environments more may be kept apart
                        assert not wanted[len(value) :].any()
                        wanted = wanted[: len(value)]
                    assert torch.equal(value, wanted), key
    resumed = [experience(config, act=by_key, rank=r, world_size=after, rewards=True) for r in range(after)]
    for share in resumed:
        share.load_state_dict(whole)
    for update in range(13, 25):
        everyones = alone.transitions(update).obs
        for rank, share in enumerate(resumed):
            assert torch.equal(share.transitions(update).obs, everyones[rank::after])


@pytest.mark.parametrize(("num_envs", "each"), [(8, (2, 2)), (4, (4, 4)), (12, (0, 4)), (32, (0, 1))])
def test_every_transition_is_as_likely_and_environments_give_their_share(num_envs, each):
    # an observation tells its step and environment, which is all that is looked at
    played = experience(OnlineReplay(num_envs, 5 * num_envs, 4 * num_envs, 1e-9), rewards=True)
    played.transitions(1)  # five steps, and no more for a long time
    steps, envs = torch.meshgrid(torch.arange(5), torch.arange(num_envs), indexing="ij")
    played.buffer.actions[: 5 * num_envs].copy_((steps * num_envs + envs).flatten())
    updates = 3_000
    drawn = torch.stack([played.transitions(update).actions for update in range(updates)])
    shares = torch.nn.functional.one_hot(drawn % num_envs, num_envs).sum(1)
    assert each[0] <= int(shares.min())
    assert int(shares.max()) <= each[1]
    counts = torch.bincount(drawn.flatten(), minlength=5 * num_envs).double()
    expected = updates * 16 / (5 * num_envs)
    chi2 = float(((counts - expected) ** 2 / expected).sum())
    # 6 standard deviations; strata only make the counts more even
    assert chi2 < 5 * num_envs + 6 * math.sqrt(10 * num_envs)


def test_environments_that_cannot_be_shared_out_are_refused_with_the_nearest_numbers():
    for num_envs, world_size, valid in ((5, 2, "4 or 6"), (1, 3, "3"), (10, 4, "8 or 12")):
        with pytest.raises(UserError, match=f"num_envs {num_envs} is not a multiple of {world_size}.* valid: {valid}"):
            own_environments(ENV, num_envs, 0, Placement(rank=0, world_size=world_size))
    config = OnlineReplay(4, 40, 4, 1.0)
    other = experience(OnlineReplay(8, 40, 8, 1.0), rewards=True)
    other.transitions(0)
    with pytest.raises(UserError, match="of 8 environments, this run has 4"):
        experience(config, rewards=True).load_state_dict(other.state_dict())


def test_other_stages_play_nothing():
    data = ReplayData(ENV)
    data.setup("test")
    assert list(data.test_dataloader()) == [{}]
    assert data.state_dict() == {}
    data.load_state_dict({"experience": {}})


def test_a_learner_that_cannot_explore_is_a_plain_sentence():
    with pytest.raises(UserError, match="cannot collect transitions of its own"):
        explore(None, torch.zeros(1), 0, torch.zeros(1, dtype=torch.int64))


def test_a_memory_that_cannot_hold_a_step_is_a_plain_sentence():
    with pytest.raises(UserError, match="capacity 10 is too small for 16 environments; it must be at least 16"):
        OnlineReplay(num_envs=16, capacity=10)


def test_nonsense_is_a_plain_sentence():
    env: dict[str, Any] = {"env": ENV}
    cases: list[tuple[str, dict[str, Any]]] = [
        ("num_envs must be", {"num_envs": 0}),
        ("warmup_steps must not", {"warmup_steps": -1}),
        ("steps_per_update must be", {"steps_per_update": 0.0}),
        ("steps_per_update must be", {"steps_per_update": math.inf}),
        ("capacity 10 must be", {"capacity": 10}),
        ("num_envs must be", {"num_envs": -1}),
        ("n_step at least 1", {"n_step": 0}),
        ("gamma must be", {"gamma": 1.1}),
        ("batch_size", {"batch_size": 0}),
        ("say with data.env which", {"env": None}),
    ]
    for match, options in cases:
        with pytest.raises(UserError, match=match):
            ReplayData(**(env | options))
