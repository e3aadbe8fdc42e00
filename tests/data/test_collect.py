"""Making demonstrations files: once for each recipe, whoever asks and however many at once."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
import torch
from filelock import FileLock
from small_runs import Always

from iqlightning.data.collect import collect, demonstrations_path, ensure_demonstrations
from iqlightning.data.demonstrations import load_demonstrations
from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.errors import UserError
from iqlightning.gridworld.config import GridWorldConfig

ENV = GridWorldConfig(height=4, width=4, num_walls=1)


def test_a_recipe_is_made_once(tmp_path):
    path = ensure_demonstrations(ENV, 20, 0, tmp_path)
    made = path.stat().st_mtime_ns
    assert path.name.startswith("gridworld-random_everything-4x4-w1-e20-s0-")
    assert ensure_demonstrations(ENV, 20, 0, tmp_path) == path == demonstrations_path(ENV, 20, 0, tmp_path)
    assert path.stat().st_mtime_ns == made
    trajectories, metadata = load_demonstrations(path)
    assert trajectories.num_episodes == 20
    assert metadata["env"] == ENV.to_dict()
    assert metadata["recipe"]["episodes"] == 20


def test_another_recipe_is_another_file(tmp_path):
    others = [(ENV, 21, 0), (ENV, 20, 1), (GridWorldConfig(height=4, width=4, num_walls=1, random_start=False), 20, 0)]
    paths = {demonstrations_path(*recipe, tmp_path) for recipe in [(ENV, 20, 0), *others]}
    assert len(paths) == 4


def test_a_damaged_file_is_not_taken_and_not_replaced(tmp_path):
    path = ensure_demonstrations(ENV, 20, 0, tmp_path)
    damaged = path.read_bytes()[:-1]
    path.write_bytes(damaged)
    with pytest.raises(UserError, match=r"delete .*, and it is made anew"):
        ensure_demonstrations(ENV, 20, 0, tmp_path)
    assert path.read_bytes() == damaged


def test_several_processes_may_make_it_at_once(tmp_path):
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        paths = list(pool.map(ensure_demonstrations, [ENV] * 4, [300] * 4, [0] * 4, [tmp_path] * 4))
    assert len(set(paths)) == 1
    assert load_demonstrations(paths[0])[0].num_episodes == 300
    assert list(tmp_path.iterdir()) == [paths[0]]


def test_an_environment_without_an_expert_is_refused(tmp_path):
    with pytest.raises(UserError, match="'CartPole-v1' has no expert of its own"):
        ensure_demonstrations(GymnasiumConfig("CartPole-v1"), 20, 0, tmp_path)
    with pytest.raises(UserError, match="at least 1"):
        ensure_demonstrations(ENV, 0, 0, tmp_path)


def test_collects_whole_episodes_of_any_policy():
    trajectories = collect(Always(0), ENV, 10, seed=0, num_envs=4)
    assert trajectories.num_episodes == 10
    assert (trajectories.terminated ^ trajectories.truncated).all()
    with pytest.raises(UserError, match="at least 1"):
        collect(Always(0), ENV, 0, seed=0)


class Drawing:
    def act(self, observations, *, sample=False):
        return torch.randint(4, (len(observations),))


def test_drawn_actions_repeat_with_the_seed_and_leave_the_callers_generator_alone():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one = collect(Drawing(), ENV, 5, seed=3, sample=True)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(collect(Drawing(), ENV, 5, seed=3, sample=True).actions, one.actions)
    other = collect(Drawing(), ENV, 5, seed=4, sample=True).actions
    assert other.shape != one.actions.shape or not torch.equal(other, one.actions)


def test_whoever_waits_for_another_process_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("iqlightning.data.collect._PATIENCE", 0.1)
    path = demonstrations_path(ENV, 20, 0, tmp_path)
    with FileLock(path.with_name(f".{path.name}.lock")):
        assert ensure_demonstrations(ENV, 20, 0, tmp_path) == path
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"waiting for another process that makes '{path}'" in told
