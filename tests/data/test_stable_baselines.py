"""Models of Stable-Baselines3 as players; where the library is not installed, a stand-in for it is asked."""

import json
import sys
import types
import zipfile
from importlib.util import find_spec

import numpy as np
import pytest
from gymnasium import spaces

from iqlightning.data.demonstrations import load_demonstrations
from iqlightning.data.stable_baselines import algorithm_of
from iqlightning.errors import UserError

INSTALLED = find_spec("stable_baselines3") is not None
COLLECT = ("collect", "--policy", "model.zip", "--gym", "Pendulum-v1", "--episodes", "2", "--output", "x.safetensors")
TRUSTED = (*COLLECT, "--trust", "stable_baselines3")

OWN = "stable_baselines3.common.policies"
ACTOR_CRITIC = {"gae_lambda": 0.95, "n_steps": 5}
DELAYED = {"target_policy_noise": 0.1, "policy_delay": 2, "target_noise_clip": 0.5}


def model(path, policy=OWN, **settings):
    """A file with the settings of a model, and no weights."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", json.dumps({"policy_class": {":serialized:": "", "__module__": policy}} | settings))
    return path


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (ACTOR_CRITIC | {"clip_range": 0.2}, "PPO"),
        (ACTOR_CRITIC, "A2C"),
        ({"exploration_initial_eps": 1.0}, "DQN"),
        ({"target_entropy": -1.0}, "SAC"),
        (DELAYED, "TD3"),
        (DELAYED | {"policy_delay": 1, "target_noise_clip": 0.0}, "DDPG"),
    ],
)
def test_a_file_says_which_algorithm_it_is_of(tmp_path, settings, name):
    assert algorithm_of(model(tmp_path / "model.zip", **settings)) == name


@pytest.mark.parametrize(
    ("policy", "settings", "what"),
    [
        ("sb3_contrib.common.recurrent.policies", ACTOR_CRITIC | {"clip_range": 0.2}, "an algorithm of sb3_contrib"),
        ("sb3_contrib.tqc.policies", {"target_entropy": -1.0}, "an algorithm of sb3_contrib"),
        (OWN, ACTOR_CRITIC | {"cg_max_steps": 15}, "an algorithm of sb3_contrib"),
        ("mine", {}, "an unknown algorithm"),
    ],
)
def test_models_of_other_algorithms_are_refused_with_what_to_do(tmp_path, policy, settings, what):
    with pytest.raises(UserError, match=f"a model of {what}; .* --policy MODULE:NAME"):
        algorithm_of(model(tmp_path / "model.zip", policy, **settings))


def test_what_is_no_model_is_refused(tmp_path):
    path = tmp_path / "model.zip"
    with pytest.raises(UserError, match="no file"):
        algorithm_of(path)
    path.write_text("nothing")
    with pytest.raises(UserError, match="not a model"):
        algorithm_of(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", "[1, 2]")
    with pytest.raises(UserError, match="not a model"):
        algorithm_of(path)


def test_a_model_is_read_only_where_it_is_trusted(workplace, library):
    model(workplace.folder / "model.zip", **ACTOR_CRITIC)
    sentence = workplace.refused(*COLLECT)
    assert "pickled parts that can run anything" in sentence
    assert "--trust stable_baselines3" in sentence
    assert "there is no file 'none.zip'" in workplace.refused("collect", "--policy", "none.zip")
    untold = ("collect", "--policy", "model.zip", "--trust", "stable_baselines3")
    assert "name it with --gym ID" in workplace.refused(*untold)
    assert "leave out --sample" in workplace.refused(*TRUSTED, "--sample")
    assert "--sb3 says of which algorithm" in workplace.refused("collect", "--sb3", "PPO")
    assert "--sb3" in workplace.refused(*TRUSTED, "--sb3", "PPPO")


class StandIn:
    """Torque by the angular velocity; where the model's spaces are Pendulum's."""

    observation_space = spaces.Box(-np.inf, np.inf, (3,))
    action_space = spaces.Box(-2.0, 2.0, (1,))

    @classmethod
    def load(cls, path, device, custom_objects):
        assert custom_objects["buffer_size"] == 1
        return cls()

    def predict(self, observations, deterministic):
        assert deterministic
        return np.clip(observations[:, 2:], -2, 2), None


@pytest.fixture
def library(monkeypatch):
    """Whatever there is: the library, else the stand-in."""
    if not INSTALLED:
        stand_in = types.ModuleType("stable_baselines3")
        stand_in.__dict__.update(PPO=StandIn, SAC=StandIn)
        monkeypatch.setitem(sys.modules, "stable_baselines3", stand_in)


@pytest.mark.skipif(INSTALLED, reason="Stable-Baselines3 is installed: its own models are played instead")
def test_a_stand_in_is_played(workplace, library):
    model(workplace.folder / "model.zip", **ACTOR_CRITIC, clip_range=0.2)
    assert workplace.run(*TRUSTED) == 0, workplace.shown()
    played, metadata = load_demonstrations(workplace.folder / "x.safetensors")
    assert metadata["source"] == "Stable-Baselines3 PPO (model.zip)"
    assert played.num_episodes == 2
    moves = played.transitions()
    assert (moves.actions == moves.obs[:, 2:].clamp(-2, 2)).all()
    assert "cannot read 'model.zip' as a model of TD3" in workplace.refused(*TRUSTED, "--force", "--sb3", "TD3")
    other = (*TRUSTED, "--force", "--gym", "CartPole-v1")
    assert "observations of shape (3,)" in workplace.refused(*other)


def test_without_the_library_the_sentence_says_what_to_install(workplace, monkeypatch):
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    model(workplace.folder / "model.zip", **ACTOR_CRITIC)
    assert "pip install 'iqlightning[sb3]'" in workplace.refused(*TRUSTED)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "env"),
    [("PPO", "Pendulum-v1"), ("SAC", "Pendulum-v1"), ("TD3", "Pendulum-v1"), ("DDPG", "Pendulum-v1"),
     ("A2C", "CartPole-v1"), ("DQN", "CartPole-v1")],
)  # fmt: skip
def test_a_real_model_is_played_as_the_library_plays_it(workplace, name, env):
    library = pytest.importorskip("stable_baselines3", reason="Stable-Baselines3 is an optional extra")
    made = getattr(library, name)("MlpPolicy", env, seed=0, policy_kwargs={"net_arch": [8]})
    made.save(workplace.folder / "model.zip")
    assert algorithm_of(workplace.folder / "model.zip") == name
    assert workplace.run(*TRUSTED, "--gym", env) == 0, workplace.shown()
    played, metadata = load_demonstrations(workplace.folder / "x.safetensors")
    assert metadata["source"] == f"Stable-Baselines3 {name} (model.zip)"
    moves = played.transitions()
    expected = made.predict(moves.obs.numpy(), deterministic=True)[0]
    np.testing.assert_allclose(moves.actions.numpy(), expected, rtol=1e-4, atol=1e-5)
