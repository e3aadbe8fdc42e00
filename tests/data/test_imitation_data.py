"""The datamodule of imitation: what a learner is served, and that nothing but seed and batch size decides it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from explorer import are_rows, equal, fit
from small_runs import Always

from iqlightning.data.collect import collect
from iqlightning.data.demonstrations import save_demonstrations
from iqlightning.data.experience import OnlineReplay
from iqlightning.data.expert_source import keep_every
from iqlightning.data.held_out import split_episodes
from iqlightning.data.imitation_data import ImitationData
from iqlightning.data.placement import Placement
from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.errors import UserError
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.game.observation import parse
from iqlightning.gridworld.game.planning import optimal_actions, shortest_paths
from iqlightning.types import Trajectories

ENV = GridWorldConfig(height=5, width=5, num_walls=3)
CART_POLE = GymnasiumConfig("CartPole-v1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def cart_pole_file(folder) -> str:
    path = folder / "cart_pole.safetensors"
    trajectories = collect(Always(0), CART_POLE, 20, seed=0)
    save_demonstrations(path, trajectories, {"env": CART_POLE.to_dict(), "seed": 0, "source": "leftwards"})
    return str(path)


def ready(folder, env=ENV, **options) -> ImitationData:
    chosen: dict[str, Any] = {"episodes": 60, "batch_size": 24} | options
    data = ImitationData(env, directory=str(folder), **chosen)
    data.prepare_data()
    data.setup("fit")
    return data


OPTIONS: list[dict[str, Any]] = [
    {},
    {"symmetries": True},
    {"noise_std": 0.01},
    {"symmetries": True, "noise_std": 0.1, "per_episode": 4},
]


def in_memory(trajectories: object) -> Trajectories:
    assert isinstance(trajectories, Trajectories)
    return trajectories


@pytest.mark.parametrize("options", OPTIONS)
def test_serves_expert_moves_and_true_initial_states(folder, options):
    data = ready(folder, **options)
    firsts = {bytes(x.flatten().tolist()) for x in in_memory(data.training).first_observations}
    for update in (0, 1, 200):
        batch = data.source.batch(update)
        assert set(batch) == {"expert", "initial"}
        expert, initial = batch.get("expert"), batch.get("initial")
        assert expert is not None
        assert initial is not None
        assert expert.rewards is None
        assert expert.obs.shape == expert.next_obs.shape == initial.shape == (24, 3, 5, 5)
        walls, player, goal = parse(expert.obs)
        distances = shortest_paths(walls, goal)
        assert optimal_actions(distances, walls)[torch.arange(24), player, expert.actions].all()
        _, next_player, next_goal = parse(expert.next_obs)
        assert torch.equal(next_goal, goal)
        assert torch.equal(next_player == goal, expert.terminated)
        assert not expert.truncated.any()
        if not options:
            assert all(bytes(x.flatten().tolist()) in firsts for x in initial)
            assert expert.obs.dtype == torch.uint8


def test_served_transitions_are_those_of_the_demonstrations(folder):
    data = ready(folder)
    indices = data.source._stream.indices(5)
    assert are_rows(data.source.batch(5).get("expert"), data.training.transitions(indices), slice(None))


@pytest.mark.parametrize("options", OPTIONS)
def test_batches_are_a_function_of_the_update_in_any_order(folder, options):
    one, other = ready(folder, **options), ready(folder, **options)
    updates = [0, 5, 127, 128, 300, 129, 5]
    assert all(equal(one.source.batch(u), other.source.batch(u)) for u in sorted(updates) + updates)
    assert not equal(one.source.batch(0), one.source.batch(1))
    assert not equal(one.source.batch(0), ready(folder, seed=1, **options).source.batch(0))


@pytest.mark.parametrize("options", OPTIONS)
def test_two_processes_share_out_the_batch_of_one(folder, options, monkeypatch):
    whole = ready(folder, **options).source.batch(7)
    size = options.get("per_episode", 1)
    for rank in range(2):
        monkeypatch.setattr(Placement, "of", lambda trainer, rank=rank: Placement(rank=rank, world_size=2))
        part = ready(folder, **options).source.batch(7)
        mine = torch.arange(24).view(-1, size)[rank::2].flatten()
        initial = torch.arange(24)[rank::2]
        assert torch.equal(part.get("initial", torch.empty(0)), whole.get("initial", torch.empty(0))[initial])
        assert are_rows(part.get("expert"), whole.get("expert"), mine)


def test_a_group_shows_one_grid_under_one_symmetry(folder):
    expert: Any = ready(folder, symmetries=True, per_episode=4).source.batch(3).get("expert")
    walls, _, goal = parse(expert.obs)
    assert (walls.view(6, 4, -1) == walls.view(6, 4, -1)[:, :1]).all()
    assert (goal.view(6, 4) == goal.view(6, 4)[:, :1]).all()


@pytest.mark.parametrize("stride", [2, 5, 100])
def test_stride_keeps_every_so_many_moves(folder, stride):
    trajectories = in_memory(ready(folder).training)
    kept = keep_every(trajectories, stride, seed=0)
    episode = trajectories.episode_of[kept]
    assert len(episode.unique()) == trajectories.num_episodes
    gaps = kept[1:] - kept[:-1]
    assert (gaps[episode[1:] == episode[:-1]] == stride).all()
    within = kept - trajectories.starts[episode]
    assert within.max() < stride + trajectories.lengths.max()
    first = torch.cat([torch.tensor([True]), episode[1:] != episode[:-1]])
    assert len(within[first].unique()) > 1
    data = ready(folder, stride=2, per_episode=2, batch_size=4)
    expert: Any = data.source.batch(0).get("expert")
    assert len(expert.actions) == 4


def test_the_split_is_by_episode_and_stable(folder):
    training, held_out = split_episodes(100, 0.1, seed=3)
    assert sorted([*training.tolist(), *held_out.tolist()]) == list(range(100))
    assert len(held_out) == 10
    assert torch.equal(split_episodes(100, 0.1, seed=3)[1], held_out)
    more = set(split_episodes(110, 0.1, seed=3)[1].tolist())
    assert len(more & set(held_out.tolist())) >= 8
    assert not torch.equal(split_episodes(100, 0.1, seed=4)[1], held_out)
    data = ready(folder, validation_fraction=0.2)
    assert data.held_out is not None
    assert (data.training.num_episodes, data.held_out.num_episodes) == (48, 12)


def test_held_out_transitions_come_once_each_and_unchanged(folder):
    data = ready(folder, validation_fraction=0.2, symmetries=True, noise_std=0.1)
    assert data.held_out is not None
    loader = data.val_dataloader()
    batches = list(loader)
    assert len(batches) == len(loader)
    actions = torch.cat([batch["expert"].actions for batch in batches if "expert" in batch])
    obs = torch.cat([batch["expert"].obs for batch in batches if "expert" in batch])
    assert torch.equal(actions, data.held_out.actions)
    assert torch.equal(obs, in_memory(data.held_out).transitions().obs)
    firsts = {bytes(x.flatten().tolist()) for x in in_memory(data.held_out).first_observations}
    for batch in batches:
        assert all(bytes(x.flatten().tolist()) in firsts for x in batch.get("initial", ()))


def test_with_nothing_held_out_validation_has_one_empty_batch(folder):
    data = ready(folder, validation_fraction=0.0)
    assert data.held_out is None
    assert data.training.num_episodes == 60
    assert list(data.val_dataloader()) == [{}]
    assert list(data.test_dataloader()) == [{}]


def test_a_file_brings_its_environment(cart_pole_file):
    data = ImitationData(path=cart_pole_file, batch_size=16, stride=2, noise_std=0.01)
    assert data.env == CART_POLE
    data.prepare_data()
    data.setup("fit")
    expert: Any = data.source.batch(0).get("expert")
    assert expert.obs.shape == (16, 4)
    assert expert.rewards is None


def test_the_first_episodes_of_a_file_are_used(cart_pole_file):
    data = ImitationData(path=cart_pole_file, episodes=8, batch_size=16, validation_fraction=0.25)
    data.setup("fit")
    assert data.held_out is not None
    assert (data.training.num_episodes, data.held_out.num_episodes) == (6, 2)
    whole = ImitationData(path=cart_pole_file, batch_size=16, validation_fraction=0.0)
    whole.setup("fit")
    ours = {
        float(x)
        for x in torch.cat([in_memory(data.training).first_observations, in_memory(data.held_out).first_observations])[
            :, 0
        ]
    }
    assert ours == {float(x) for x in in_memory(whole.training).first_observations[:8, 0]}


def test_fewer_transitions_than_a_batch_are_drawn_again(cart_pole_file):
    options: dict[str, Any] = {"episodes": 1, "stride": 4, "validation_fraction": 0.0, "batch_size": 32}
    data = ImitationData(path=cart_pole_file, **options)
    data.setup("fit")
    there = in_memory(data.training).transitions(keep_every(in_memory(data.training), 4, 0)).obs
    assert len(there) < 8
    counts = torch.zeros(len(there))
    for update in range(200):
        expert: Any = data.batch(update).get("expert")
        counts += (expert.obs[:, None] == there).all(2).sum(0)
    assert counts.sum() == 200 * 32
    torch.testing.assert_close(counts / counts.sum(), torch.full((len(there),), 1 / len(there)), atol=0.02, rtol=0)


def test_what_cannot_be_is_a_plain_sentence(folder, cart_pole_file):
    def fails(match: str, **options) -> None:
        with pytest.raises(UserError, match=match):
            ready(folder, **options)

    fails("fewer than batch_size 24000", batch_size=24_000)
    fails("only 20; valid: 1 to 20", env=None, path=cart_pole_file, episodes=21)
    fails("do not fit the environment", path=cart_pole_file, episodes=None)
    fails(
        "no symmetry of 'MountainCar-v0' is known; set it to false",
        env=GymnasiumConfig("MountainCar-v0"),
        path=cart_pole_file,
        symmetries=True,
    )
    fails("'CartPole-v1' has no expert of its own", env=CART_POLE)
    fails("needs an environment: say with data.env which", env=None)
    fails("does not exist", env=None, path=str(folder / "none.safetensors"))
    fails("does not exist", path=str(folder / "none.safetensors"))
    fails("stride must be at least 1", stride=0)
    fails("episodes must be at least 1", episodes=0)
    fails("validation_fraction must be", validation_fraction=1.0)
    fails("validation_fraction must be", validation_fraction=-0.1)
    fails("none would be left for training", episodes=1, batch_size=1)
    fails("must not be negative", noise_std=-1.0)
    fails("not a multiple of 5", per_episode=5)


@pytest.mark.parametrize("online", [None, OnlineReplay(num_envs=4, capacity=64, warmup_steps=10, steps_per_update=1.5)])
@pytest.mark.parametrize("cut", [13, 20])
def test_training_is_the_same_whatever_the_chunks_and_wherever_it_is_resumed(folder, tmp_path, online, cut):
    def data(updates_per_step: int) -> ImitationData:
        sizes: dict[str, Any] = {"updates_per_epoch": 20, "updates_per_step": updates_per_step}
        return ImitationData(
            ENV, directory=str(folder), episodes=60, batch_size=24, symmetries=True, online=online, **sizes
        )

    whole = fit(data(8), tmp_path, steps=45)
    singly = fit(data(1), tmp_path, steps=45)
    fit(data(8), tmp_path, steps=cut, save=tmp_path / "cut.ckpt")
    torch.load(tmp_path / "cut.ckpt", weights_only=True)
    resumed = fit(data(8), tmp_path, steps=45, resume=tmp_path / "cut.ckpt")
    assert list(whole.served) == list(singly.served) == list(range(45))
    assert list(resumed.served) == list(range(cut, 45))
    assert all(equal(whole.served[u], singly.served[u]) for u in range(45))
    assert all(equal(whole.served[u], resumed.served[u]) for u in range(cut, 45))
    policy = whole.served[44].get("policy")
    assert (policy is None) == (online is None)
    assert policy is None or policy.rewards is None
