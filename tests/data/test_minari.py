import dataclasses
import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from iqlightning import GridWorldConfig, GymnasiumConfig, UserError
from iqlightning.data.collect import collect
from iqlightning.data.demonstrations import load_demonstrations, save_demonstrations
from iqlightning.data.minari import check_new_minari, from_minari, read_minari, to_minari
from iqlightning.keyed import Stream
from iqlightning.spaces import random_actions
from iqlightning.types import EnvConfig, Trajectories

minari = pytest.importorskip("minari", reason="Minari is an optional extra")

FIELDS = ("observations", "actions", "rewards", "starts", "terminated", "truncated")


class Snow(gymnasium.Env):
    """Noise as an image of bytes, larger than what Minari would take for an image to compress; actions from 1 on."""

    observation_space = spaces.Box(0, 255, (3, 40, 36), np.uint8)
    action_space = spaces.Discrete(3, start=1)

    def __init__(self, length: int = 4) -> None:
        self.length = length

    def _snow(self):
        return self.np_random.integers(0, 256, self.observation_space.shape, dtype=np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.moves = 0
        return self._snow(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.moves += 1
        return self._snow(), float(action), action == 3, self.moves >= self.length, {}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.setitem(gymnasium.registry, "Snow-v0", EnvSpec("Snow-v0", entry_point=Snow))  # type: ignore[arg-type]
    return tmp_path / "minari"


def played(env: EnvConfig, episodes: int = 6) -> Trajectories:
    class Random:
        moves = 0

        def act(self, observations, *, sample=False):
            self.moves += 1
            return random_actions(env.spaces.action, Stream.RANDOM_POLICY, self.moves, torch.arange(len(observations)))

    return collect(Random(), env, episodes, 0, num_envs=3)


def foreign(dataset: str, observation_space, action_space, observations, actions) -> Path:
    """A dataset as someone else may have written it, of one episode."""
    moves = len(actions)
    flags = np.arange(moves) == moves - 1
    buffer = minari.data_collector.EpisodeBuffer(
        observations=observations,
        actions=actions,
        rewards=np.ones(moves),
        terminations=flags & False,
        truncations=flags,
    )
    minari.create_dataset_from_buffers(
        dataset, [buffer], env=None, observation_space=observation_space, action_space=action_space, data_format="hdf5"
    )
    return minari.storage.get_dataset_path(dataset)


@pytest.mark.parametrize(
    "env",
    [
        GymnasiumConfig("CartPole-v1"),
        GymnasiumConfig("CartPole-v1", {"sutton_barto_reward": True}),
        GymnasiumConfig("Snow-v0", {"length": 5}),
        GymnasiumConfig("Pendulum-v1", {"g": 9.0}),
        GridWorldConfig(height=4, width=5, num_walls=2, max_moves=9),
        GridWorldConfig(level="random_walls", wall_density=0.1, random_start=False, max_moves=12),
    ],
    ids=lambda env: env.name,
)
def test_a_round_trip_changes_no_bit(env):
    there = played(env)
    to_minari(f"{type(env).__name__}/random-v3", there, env, "random policy")
    back, named, dataset = from_minari(f"{type(env).__name__}/random-v3")
    assert (named, dataset) == (env, f"{type(env).__name__}/random-v3")
    for name in FIELDS:
        assert getattr(back, name).dtype == getattr(there, name).dtype
        assert torch.equal(getattr(back, name), getattr(there, name)), name


def test_minari_itself_reads_what_was_written():
    env = GymnasiumConfig("Snow-v0")
    there = played(env)
    to_minari("snow-v0", there, env, "me")
    dataset = minari.load_dataset("snow-v0")
    assert (dataset.total_episodes, dataset.total_steps) == (there.num_episodes, there.num_transitions)
    assert dataset.env_spec.id == "Snow-v0"
    for index, episode in enumerate(dataset.iterate_episodes()):
        one = there.select(torch.tensor([index]))
        assert (episode.observations == one.observations.numpy()).all()
        assert (episode.actions == one.actions.numpy() + 1).all()  # its own numbering
        assert (episode.terminations[-1], episode.truncations[-1]) == (bool(one.terminated), bool(one.truncated))
        assert not (episode.terminations[:-1] | episode.truncations[:-1]).any()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_dataset_of_minaris_own_recording_becomes_a_file_that_fit_reads(tmp_path):
    foreign(
        "others/cart-v1",
        spaces.Box(-9, 9, (4,), np.float64),
        spaces.Discrete(2),
        np.linspace(-1, 1, 24).reshape(6, 4),
        np.array([0, 1, 1, 0, 1]),
    )
    with pytest.raises(UserError, match="does not say which environment"):
        from_minari("others/cart-v1")
    trajectories, env, _ = from_minari("others/cart-v1", GymnasiumConfig("CartPole-v1"))
    assert trajectories.observations.dtype == torch.float32
    assert trajectories.truncated.tolist() == [True]
    save_demonstrations(tmp_path / "cart.safetensors", trajectories, {"env": env.to_dict()})
    again, _ = load_demonstrations(tmp_path / "cart.safetensors")
    assert torch.equal(again.actions, torch.tensor([0, 1, 1, 0, 1]))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("observation_space", "action_space", "words"),
    [
        (spaces.Box(-1, 1, (4,)), spaces.Box(-1, 1, (2,)), ["actions of", "have shape (2,)", "have ()"]),
        (spaces.Box(-1, 1, (4,)), spaces.MultiBinary(2), ["actions", "MultiBinary", "only Discrete and Box"]),
        (spaces.Discrete(9), spaces.Discrete(2), ["observations", "have shape ()", "have (4,)"]),
        (spaces.Box(-1, 1, (5,)), spaces.Discrete(2), ["have shape (5,)", "have (4,)"]),
        (spaces.Box(-1, 1, (4,)), spaces.Discrete(7, start=5), ["whole numbers from 5 to 6", "but one is"]),
    ],
)
def test_wrong_spaces_are_named(observation_space, action_space, words):
    observation_space.seed(0)
    observations = np.stack([observation_space.sample() for _ in range(3)])
    actions = np.stack([action_space.sample() for _ in range(2)])
    if isinstance(action_space, spaces.Discrete):
        actions[-1] = action_space.start + action_space.n - 1
    foreign("wrong-v0", observation_space, action_space, observations, actions)
    with pytest.raises(UserError) as error:
        from_minari("wrong-v0", GymnasiumConfig("CartPole-v1"))
    for word in (*words, "wrong-v0"):
        assert word in str(error.value)


@pytest.mark.parametrize("dataset", ["../secret-v0", "a/../../secret-v0", "a//b-v0", "no-version", "a b-v0", "", "-v0"])
def test_what_is_no_identifier_becomes_no_path(dataset, folder):
    secret = folder.parent / "secret-v0" / "data"
    secret.mkdir(parents=True)
    for act in (from_minari, check_new_minari):
        with pytest.raises(UserError) as error:
            act(dataset)
        assert "identifier" in str(error.value)
    assert not folder.exists()


def test_a_missing_or_taken_one_is_named(folder):
    env = GymnasiumConfig("CartPole-v1")
    to_minari("CartPole-v1/mine-v0", played(env, 1), env, "me")
    with pytest.raises(UserError, match="did you mean 'CartPole-v1/mine-v0'"):
        from_minari("CartPole-v1/mine-v1")
    with pytest.raises(UserError, match="exists already"):
        to_minari("CartPole-v1/mine-v0", played(env, 1), env, "me")
    with pytest.raises(UserError, match="a folder 'data'"):
        from_minari(str(folder))
    assert from_minari(str(folder / "CartPole-v1" / "mine-v0"))[1] == env


def test_a_dataset_cannot_have_an_environment_made_or_imported(folder, tmp_path, monkeypatch):
    env = GymnasiumConfig("CartPole-v1")
    path = to_minari("trap-v0", played(env, 1), env, "me") / "data" / "metadata.json"
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "trap.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')\ndef make(**kwargs): pass\n")
    metadata = json.loads(path.read_text())
    spec = json.loads(metadata["env_spec"]) | {"entry_point": "trap:make"}
    path.write_text(json.dumps(metadata | {"env_spec": json.dumps(spec)}))
    assert from_minari("trap-v0")[1] == env  # by its id: the entry point is not looked at
    path.write_text(json.dumps(metadata | {"env_spec": json.dumps(spec | {"id": "trap:Trap-v0"})}))
    with pytest.raises(UserError, match="module to import"):
        from_minari("trap-v0")
    without = {name: value for name, value in metadata.items() if name != "action_space"}
    path.write_text(json.dumps(without | {"env_spec": json.dumps(spec)}))
    with pytest.raises(UserError, match="does not say its action_space"):
        from_minari("trap-v0")
    assert not (tmp_path / "sprung").exists()


def test_damage_is_a_sentence(folder):
    env = GymnasiumConfig("CartPole-v1")
    data = to_minari("torn-v0", played(env, 2), env, "me") / "data"
    content = (data / "main_data.hdf5").read_bytes()
    (data / "main_data.hdf5").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="'torn-v0' is damaged"):
        from_minari("torn-v0")
    (data / "metadata.json").write_text("{")
    with pytest.raises(UserError, match=r"metadata\.json cannot be read"):
        from_minari("torn-v0")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("observation", "action", "words"),
    [(np.nan, 0, "an observation of 'bad-v0' is not finite"), (0.0, -1, "must be .* but one is -1")],
)
def test_what_no_environment_gives_is_refused(observation, action, words):
    observations = np.zeros((3, 4), np.float32)
    observations[1, 2] = observation
    foreign("bad-v0", spaces.Box(-1, 1, (4,)), spaces.Discrete(2), observations, np.array([action, 1]))
    with pytest.raises(UserError, match=words):
        from_minari("bad-v0", GymnasiumConfig("CartPole-v1"))


def test_what_is_not_valid_is_not_written(folder):
    env = GymnasiumConfig("CartPole-v1")
    there = played(env, 2)
    for wrong, words in (
        (dataclasses.replace(there, rewards=there.rewards * torch.nan), "a reward is not finite"),
        (dataclasses.replace(there, actions=there.actions + 2), "valid actions are 0 to 1"),
    ):
        with pytest.raises(UserError, match=words):
            to_minari("bad-v0", wrong, env, "me")
    with pytest.raises(UserError, match="near ids: CartPole-v1"):
        to_minari("bad-v0", there, GymnasiumConfig("CartPol-v1"), "me")
    assert not folder.exists()


@pytest.mark.parametrize(
    ("limit", "kept"), [(7, {"max_episode_steps": 7}), (500, {}), (None, {"max_episode_steps": -1})]
)
def test_the_time_limit_of_the_recording_is_that_of_the_environment(folder, limit, kept):
    env = GymnasiumConfig("CartPole-v1")
    metadata = to_minari("limited-v0", played(env, 2), env, "me") / "data" / "metadata.json"
    change_spec(metadata, max_episode_steps=limit)
    _, named, _ = from_minari("limited-v0")
    assert named == GymnasiumConfig("CartPole-v1", kept)
    if limit == 7:
        batch = named.make_batch(1, seed=0)
        batch.reset()
        ends = [bool(batch.step(torch.tensor([move % 2])).truncated) for move in range(7)]
        assert ends == [False] * 6 + [True]
        to_minari("again-v0", played(named, 2), named, "me")
        assert from_minari("again-v0")[1] == named
        assert any("time limit of 7 steps" in note for note in read_minari("limited-v0").notes)


def test_a_recording_through_wrappers_is_refused_unless_its_environment_has_a_name(folder, monkeypatch):
    env = GymnasiumConfig("CartPole-v1")
    metadata = to_minari("wrapped-v0", played(env, 2), env, "me") / "data" / "metadata.json"
    wrapper = {"name": "NormalizeObservation", "entry_point": "x:NormalizeObservation", "kwargs": {}}
    change_spec(metadata, additional_wrappers=[wrapper])
    for named in (None, env):
        with pytest.raises(UserError, match="was recorded through NormalizeObservation, and the environment has no"):
            from_minari("wrapped-v0", named)
    spec = EnvSpec("Normalised-v1", entry_point=gymnasium.spec("CartPole-v1").entry_point)
    monkeypatch.setitem(gymnasium.registry, "Normalised-v1", spec)
    kinds: tuple[list[Any], ...] = ([], ["FlattenObservation"])
    for wrappers in kinds:  # what it has besides is for its author to know
        other = GymnasiumConfig("Normalised-v1", wrappers=wrappers, max_episode_steps=500)
        notes = read_minari("wrapped-v0", other).notes
        assert f"it says that it is of 'CartPole-v1', and is taken for '{other.name}'" in notes
        assert any(f"'{other.name}' must give the same" in note for note in notes)
    change_spec(metadata, additional_wrappers=[wrapper | {"name": "RecordEpisodeStatistics"}])
    assert from_minari("wrapped-v0")[1] == env


def change_spec(metadata: Path, **changes) -> None:
    raw = json.loads(metadata.read_text())
    metadata.write_text(json.dumps(raw | {"env_spec": json.dumps(json.loads(raw["env_spec"]) | changes)}))


def test_what_someone_else_wrote_meanwhile_stays(folder, monkeypatch):
    env = GymnasiumConfig("CartPole-v1")
    there, theirs = played(env, 2), folder / "both-v0" / "data" / "theirs"
    create = minari.create_dataset_from_buffers

    def race(*arguments, **options):
        theirs.parent.mkdir(parents=True)
        theirs.write_text("whole")
        return create(*arguments, **options)

    monkeypatch.setattr(minari, "create_dataset_from_buffers", race)
    with pytest.raises(UserError, match="'both-v0' cannot be written"):
        to_minari("both-v0", there, env, "me")
    assert theirs.read_text() == "whole"
    assert [each.name for each in folder.iterdir() if each.is_dir()] == ["both-v0"]
