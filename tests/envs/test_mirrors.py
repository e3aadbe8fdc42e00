"""Mirrors: the environments commute with them, step by step."""

from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from iqlightning import GymnasiumConfig, UserError
from iqlightning.data.augment import symmetry_of
from iqlightning.envs.mirrors import MIRRORS, MirrorSymmetry
from iqlightning.types import Augmentation, Transition


def mirrored(env_id: str, observations: np.ndarray) -> np.ndarray:
    ones = torch.ones(len(observations), dtype=torch.int64)
    return MirrorSymmetry(MIRRORS[env_id]).observations(torch.from_numpy(observations), ones).numpy()


def mirror_state(env_id: str, env) -> None:
    """Mirrors the inner state of an environment that has just been reset."""
    env.unwrapped.state = -np.asarray(env.unwrapped.state)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Acrobot-v1"])
def test_the_environment_commutes_with_its_mirror(env_id):
    env, image = gymnasium.make(env_id), gymnasium.make(env_id)
    actions = MIRRORS[env_id].actions
    rng = np.random.default_rng(0)
    for seed in range(5):
        seen = [env.reset(seed=seed)[0]]
        image.reset(seed=seed)
        mirror_state(env_id, image)
        shown = []
        for _ in range(30):
            action = int(rng.integers(len(actions)))
            observation, reward, over, _, _ = env.step(action)
            mirrored_observation, mirrored_reward, mirrored_over, _, _ = image.step(actions[action])
            seen.append(observation)
            shown.append(mirrored_observation)
            assert (reward, over) == (mirrored_reward, mirrored_over)
            if over:
                break
        np.testing.assert_allclose(mirrored(env_id, np.stack(seen[1:])), np.stack(shown), atol=1e-5)


def test_the_heuristic_of_lunar_lander_commutes_with_its_mirror():
    pytest.importorskip("Box2D", reason="LunarLander needs the extra box2d")
    from gymnasium.envs.box2d.lunar_lander import heuristic

    env: Any = SimpleNamespace(unwrapped=SimpleNamespace(continuous=False))  # all that it asks of the environment

    def act(seen):
        return torch.tensor([int(heuristic(env, each)) for each in seen.numpy()])

    observations = torch.randn(300, 8, generator=torch.Generator().manual_seed(0)) * 0.3
    observations[:, 6:] = (observations[:, 6:] > 0.2).float()
    image = torch.from_numpy(mirrored("LunarLander-v3", observations.numpy()))
    actions = torch.tensor(MIRRORS["LunarLander-v3"].actions)
    assert torch.equal(act(image), actions[act(observations)])
    assert len(act(observations).unique()) == 4


@pytest.mark.parametrize("env_id", list(MIRRORS))
def test_a_mirror_undoes_itself_and_each_sample_has_its_own(env_id):
    mirror = MIRRORS[env_id]
    count, features = 40, len(mirror.signs)
    obs = torch.randn(count, features, generator=torch.Generator().manual_seed(1))
    actions = torch.arange(count) % len(mirror.actions)
    nothing = torch.zeros(count, dtype=torch.bool)
    keys = torch.arange(count)
    symmetry = MirrorSymmetry(mirror)
    assert isinstance(symmetry, Augmentation)
    once = symmetry(Transition(obs, actions, obs + 1, nothing, nothing), keys)
    assert torch.equal(once.obs[::2], obs[::2])
    assert torch.equal(once.actions[::2], actions[::2])
    assert not (once.obs[1::2] == obs[1::2]).all(1).any()
    assert torch.equal(once.next_obs, symmetry.observations(obs + 1, keys))
    twice = symmetry(once, keys)
    assert torch.equal(twice.obs, obs)
    assert torch.equal(twice.actions, actions)


def test_what_has_no_known_symmetry_is_refused():
    assert isinstance(symmetry_of(GymnasiumConfig("CartPole-v1")), MirrorSymmetry)
    for env in (GymnasiumConfig("MountainCar-v0"), GymnasiumConfig("LunarLander-v3", {"enable_wind": True})):
        with pytest.raises(UserError, match=r"no symmetry of .* is known; set it to false") as error:
            symmetry_of(env)
        assert "CartPole-v1" in str(error.value)
