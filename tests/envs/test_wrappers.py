import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from iqlightning import GymnasiumConfig, UserError
from iqlightning.registration import env_config_from_dict

STACK = {"class_path": "gymnasium.wrappers.FrameStackObservation", "init_args": {"stack_size": 4}}


class Odd(gymnasium.Env):
    """What it draws is not what its space says."""

    def __init__(self, space: str = "box", drawn: object = 0, mask: bool = False) -> None:
        kinds: dict[str, spaces.Space] = {
            "box": spaces.Box(-1, 1, (2,)),
            "bytes": spaces.Box(0, 255, (2,), np.uint8),
            "discrete": spaces.Discrete(3),
            "symbols": spaces.Box(0, 255, (4, 4, 2), np.uint8),
        }
        self.observation_space, self.action_space = kinds[space], spaces.Discrete(2)
        if mask:
            self.observation_space = spaces.Dict(o=kinds[space], action_mask=spaces.MultiBinary(2))
        self.drawn, self.mask = drawn, mask

    def _observation(self):
        drawn = np.asarray(self.drawn)
        shape = self.observation_space.shape
        if drawn.ndim == 0 and shape and not self.mask:
            bytes_ = self.observation_space.dtype == np.uint8 and drawn.dtype.kind == "i"
            drawn = np.full(shape, self.drawn, dtype=np.uint8 if bytes_ else None)
        return {"o": drawn, "action_mask": np.array([self.moves < 3, 0], np.int8)} if self.mask else drawn

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.moves = 0
        return self._observation(), {}

    def step(self, action):
        self.moves += 1
        return self._observation(), 0.0, False, False, {}


@pytest.fixture(autouse=True)
def odd(monkeypatch):
    for name in ("Odd-v0", "MinAtar/Odd-v0"):
        spec = EnvSpec(name, entry_point=Odd, disable_env_checker=True)  # type: ignore[arg-type]
        monkeypatch.setitem(gymnasium.registry, name, spec)


def played(config, moves, num_envs=2):
    batch = config.make_batch(num_envs, seed=0)
    seen = [batch.reset()]
    for move in range(moves):
        actions = config.spaces.random_actions(seen[-1], 1, move, torch.arange(num_envs))
        seen.append(batch.step(actions).obs)
    batch.close()
    return torch.stack(seen)


def test_wrappers_and_time_limit_are_played_named_and_kept():
    config = GymnasiumConfig("CartPole-v1", wrappers=["TimeAwareObservation", STACK], max_episode_steps=5)
    assert config.observation_shape == (20,)
    assert config.name == "CartPole-v1-TimeAwareObservation-FrameStackObservation_stack_size_4-5_steps"
    assert env_config_from_dict(config.to_dict()) == config
    assert hash(env_config_from_dict(config.to_dict())) == hash(config)
    batch = config.make_batch(2, seed=0)
    batch.reset()
    flags = torch.stack([batch.step(torch.tensor([0, 1])).truncated for _ in range(5)])
    assert flags.sum(0).tolist() == [1, 1]
    assert flags[-1].all()
    assert config.symmetry() is None


def test_what_needs_no_word_leaves_none_in_files():
    assert GymnasiumConfig("CartPole-v1").to_dict() == {"kind": "GymnasiumConfig", "id": "CartPole-v1", "kwargs": {}}
    assert GymnasiumConfig("FrozenLake-v1").to_dict()["layout"] == "auto"


def test_pictures_of_files_that_say_no_layout_stay_as_they_were():
    config = GymnasiumConfig("Odd-v0", {"space": "symbols"})
    assert config.observation_shape == (2, 4, 4)
    before = env_config_from_dict({"kind": "GymnasiumConfig", "id": "Odd-v0", "kwargs": {"space": "symbols"}})
    assert before.observation_shape == (4, 4, 2)
    assert env_config_from_dict(config.to_dict()).observation_shape == (2, 4, 4)


def test_bounds_are_narrowed_and_held_to():
    bounds = {"class_path": "Bounds", "init_args": {"high": [10, 1]}}
    config = GymnasiumConfig("Odd-v0", {"space": "symbols", "drawn": 1}, [bounds])
    box = config.spaces.observation
    assert isinstance(box, spaces.Box)
    assert box.high[:, 0, 0].tolist() == [10, 1]
    assert (played(config, 2) == 1).all()
    with pytest.raises(UserError, match=r"other bounds .* one is 2"):
        played(GymnasiumConfig("Odd-v0", {"space": "symbols", "drawn": 2}, [bounds]), 1)


def test_a_number_is_taken_apart():
    config = GymnasiumConfig("Taxi-v4", wrappers=[{"class_path": "Unravel", "init_args": {"sizes": [5, 5, 5, 4]}}])
    assert config.observation_shape == (19,)
    game = gymnasium.make("Taxi-v4")
    number, _ = game.reset(seed=0)
    assert config.spaces.codec is not None
    own = config.spaces.codec.decode(config.make_batch(1, seed=0).reset())[0]
    assert own.tolist() == list(game.unwrapped.decode(number))  # type: ignore[attr-defined]


def test_masks_of_info_become_part_of_observations_and_are_obeyed():
    config = GymnasiumConfig("Taxi-v4", wrappers=["ActionMaskFromInfo"])
    assert config.observation_shape == (506,)
    batch, game = config.make_batch(1, seed=3), gymnasium.make("Taxi-v4")
    _, info = game.reset(seed=3)
    obs = batch.reset()
    for move in range(30):
        allowed = config.spaces.allowed(obs)
        assert allowed is not None
        assert allowed[0].tolist() == info["action_mask"].astype(bool).tolist()
        action = config.spaces.random_actions(obs, 5, move, torch.arange(1))
        assert bool(allowed[0, action])
        obs = batch.step(action).obs
        _, _, _, _, info = game.step(int(action))


@pytest.mark.parametrize(
    ("wrappers", "words"),
    [
        (["FrameStackObservations"], ["no wrapper", "did you mean 'FrameStackObservation'"]),
        ([{"class_path": "FrameStackObservation"}], ["FrameStackObservation cannot be made", "stack_size"]),
        ([STACK | {"init_args": {"stack_size": -1}}], ["FrameStackObservation", "around this environment"]),
        (["RecordVideo"], ["RecordVideo", "writes files"]),
        (["gymnasium.wrappers.rendering.RecordVideo"], ["RecordVideo", "writes files"]),
        (["NormalizeObservation"], ["part of no checkpoint", "standardise"]),
        (["os.path.join"], ["'os.path.join' is no wrapper that may be named", "--trust os"]),
        (["gymnasium.core.Wrapper"], ["no wrapper that may be named"]),
        ([{"class_path": "Bounds", "high": 3}], ["class_path and init_args"]),
        ([{"class_path": "Bounds", "init_args": {"high": [1, 2, 3]}}], ["do not fit", "(4,)"]),
        ([{"class_path": "Unravel", "init_args": {"sizes": [2, 2]}}], ["do not make up"]),
        (["ActionMaskFromInfo"], ["no 'action_mask'"]),
    ],
)
def test_what_is_no_wrapper_here_is_refused(wrappers, words):
    with pytest.raises(UserError) as error:
        GymnasiumConfig("CartPole-v1", wrappers=wrappers).make_batch(1, seed=0).reset()
    assert all(word in str(error.value) for word in words), str(error.value)


def test_settings_out_of_range_are_refused():
    with pytest.raises(UserError, match="max_episode_steps must be at least 1"):
        GymnasiumConfig("CartPole-v1", max_episode_steps=0)
    with pytest.raises(UserError, match="given twice"):
        GymnasiumConfig("CartPole-v1", {"max_episode_steps": 3}, max_episode_steps=3)
    with pytest.raises(UserError, match="has wrappers"):
        GymnasiumConfig("CartPole-v1", wrappers=[STACK]).gymnasium_spec()


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"space": "discrete", "drawn": 3}, "from 0 to 2, and there is 3"),
        ({"space": "box", "drawn": [0.0, 0.0, 0.0]}, "other observations than its space says"),
        ({"space": "bytes", "drawn": 0.5}, "other observations than its space says"),
    ],
)
def test_other_observations_than_the_space_says_are_told_in_a_sentence(kwargs, words):
    with pytest.raises(UserError, match=words):
        played(GymnasiumConfig("Odd-v0", kwargs), 1)


def test_numbers_beyond_the_bounds_are_warned_of_once():
    with pytest.warns(UserWarning, match="'Odd-v0' gives other observations .* 3, beyond its bounds") as warned:
        played(GymnasiumConfig("Odd-v0", {"drawn": 3.0}), 5)
    assert len(warned) == 1


def test_a_mask_that_allows_nothing_is_told_in_a_sentence():
    with pytest.raises(UserError, match="'Odd-v0' allows no action at all at step 3"):
        played(GymnasiumConfig("Odd-v0", {"space": "discrete", "mask": True}), 5)


def test_processes_play_the_same_and_are_taken_where_steps_are_long(monkeypatch):
    together = GymnasiumConfig("CartPole-v1", vectorization="sync")
    apart = GymnasiumConfig("CartPole-v1", vectorization="async")
    assert torch.equal(played(together, 60, 2), played(apart, 60, 2))
    config = GymnasiumConfig("CartPole-v1")
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1})
    for seconds, chosen in ((1e-5, "sync"), (0.05, "async")):
        monkeypatch.setattr("iqlightning.envs.gymnasium_batch._step_seconds", lambda config, seconds=seconds: seconds)
        batch = config.make_batch(2, seed=0)
        assert batch.vectorization == chosen
        batch.close()


def test_a_recording_under_other_wrappers_is_known():
    stacked, bare = GymnasiumConfig("CartPole-v1", wrappers=[STACK]), GymnasiumConfig("CartPole-v1")
    assert "FrameStackObservation(stack_size=4), and this environment has no wrapper" in bare.differs_from(stacked)
    assert stacked.differs_from(GymnasiumConfig("CartPole-v1", wrappers=[dict(STACK)])) == ""
    assert stacked.differs_from(GymnasiumConfig("Acrobot-v1")) == ""


@pytest.mark.parametrize(
    ("env_id", "preset", "library", "shape"),
    [
        ("ALE/Pong-v5", "atari", "ale_py", (4, 84, 84)),
        ("MiniGrid-Empty-5x5-v0", "minigrid", "minigrid", (3, 7, 7)),
        ("MinAtar/Seaquest-v1", "minatar", "minatar", (10, 10, 10)),
    ],
)
def test_presets_of_libraries(env_id, preset, library, shape):
    pytest.importorskip(library)
    config = GymnasiumConfig(env_id, wrappers=[preset])
    assert config.observation_shape == shape
    seen = played(config, 5)
    assert seen.dtype == torch.uint8
    assert (seen != seen[0, 0]).any()


def test_a_library_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "minatar.gym", None)
    with pytest.raises(UserError, match="needs the package minatar: pip install minatar"):
        GymnasiumConfig("MinAtar/Breakout-v9").make_batch(1, seed=0)
