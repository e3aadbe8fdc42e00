import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode

import iqlightning
from iqlightning import UserError
from iqlightning.gridworld.game.layouts import draw_layouts

ID = "iqlightning/GridWorld-v0"


@pytest.fixture
def no_warnings(recwarn):
    yield
    assert not [str(warning.message) for warning in recwarn]


@pytest.mark.parametrize("render_mode", [None, "rgb_array", "ansi"])
@pytest.mark.parametrize("options", [{}, {"height": 3, "width": 7, "random_walls": False, "random_goal": False}])
@pytest.mark.usefixtures("no_warnings")
def test_gymnasium_finds_nothing_wrong(render_mode, options):
    check_env(gymnasium.make(ID, render_mode=render_mode, **options).unwrapped)


def test_the_interface_is_as_published():
    env = gymnasium.make(
        ID, height=10, width=10, num_walls=5, random_start=True, random_walls=True, random_goal=True, max_moves=100
    )
    assert env.observation_space == gymnasium.spaces.Box(0, 1, (3, 10, 10), np.uint8)
    assert env.action_space == gymnasium.spaces.Discrete(4)
    observation, info = env.reset(seed=4)
    assert env.observation_space.contains(observation)
    layouts = draw_layouts(iqlightning.GridWorldConfig(), torch.tensor([4]), torch.tensor([0]))
    assert (observation[0] == layouts.walls[0].numpy()).all()
    assert info["shortest"] >= info["manhattan"] >= 1


def test_a_seed_gives_the_same_episodes_again():
    env = gymnasium.make(ID)
    first = [env.reset(seed=1)[0], env.reset()[0], env.reset()[0]]
    second = [env.reset(seed=1)[0], env.reset()[0], env.reset()[0]]
    assert all((x == y).all() for x, y in zip(first, second, strict=True))
    assert (first[0] != first[1]).any()


def test_an_episode_that_is_over_needs_a_reset():
    env = gymnasium.make(ID, max_moves=1, num_walls=0).unwrapped
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(0)
    env.reset(seed=0)
    assert any(env.step(0)[2:4])
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(0)


def pair(mode: str, count: int = 6, **options: Any) -> tuple[Any, Any]:
    native = gymnasium.make_vec(
        ID, num_envs=count, vectorization_mode="vector_entry_point", autoreset_mode=mode, **options
    )
    plain = gymnasium.make_vec(
        ID, num_envs=count, vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode}, **options
    )
    return native, plain


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
@pytest.mark.parametrize(
    "options",
    [
        {"height": 4, "width": 5, "max_moves": 7},
        {"height": 3, "width": 3, "num_walls": 1, "random_walls": False, "split": "train"},
        {"height": 3, "width": 4, "num_walls": 0, "random_start": False, "random_goal": False, "max_moves": 5},
    ],
)
@pytest.mark.usefixtures("no_warnings")
def test_the_vector_environment_is_many_single_ones(mode, options):
    native, plain = pair(mode, **options)
    assert native.observation_space == plain.observation_space
    assert native.action_space == plain.action_space
    assert native.metadata["autoreset_mode"] is AutoresetMode(mode)
    assert data_equivalence(native.reset(seed=5), plain.reset(seed=5), exact=True)
    native.action_space.seed(0)
    for step in range(150):
        actions = native.action_space.sample()
        assert data_equivalence(native.step(actions), plain.step(actions), exact=True), step
        if step == 100:
            assert data_equivalence(native.reset(), plain.reset(), exact=True)
    assert data_equivalence(native.reset(seed=[9, 8, 7, 3, 2, 1]), plain.reset(seed=[9, 8, 7, 3, 2, 1]), exact=True)


def test_without_autoreset_only_masked_environments_begin_anew():
    native, plain = pair("Disabled", height=3, width=3, num_walls=0, max_moves=4)
    assert data_equivalence(native.reset(seed=1), plain.reset(seed=1), exact=True)
    native.action_space.seed(0)
    for _ in range(60):
        actions = native.action_space.sample()
        ours, theirs = native.step(actions), plain.step(actions)
        assert data_equivalence(ours, theirs, exact=True)
        ended = ours[2] | ours[3]
        if ended.any():
            with pytest.raises(gymnasium.error.ResetNeeded):
                native.step(actions)
            options = {"reset_mask": ended}
            assert data_equivalence(native.reset(options=dict(options)), plain.reset(options=dict(options)), exact=True)


def test_the_vector_environment_refuses_misuse():
    envs: Any = gymnasium.make_vec(ID, num_envs=2, vectorization_mode="vector_entry_point")
    with pytest.raises(gymnasium.error.ResetNeeded):
        envs.step(np.zeros(2, dtype=np.int64))
    with pytest.raises(ValueError, match="3 seeds do not fit 2"):
        envs.reset(seed=[1, 2, 3])
    with pytest.raises(ValueError, match="reset_mask"):
        envs.reset(options={"reset_mask": np.zeros(2, dtype=bool)})
    envs.reset()
    for actions in ([0, 4], [0, -1], [0]):
        with pytest.raises(ValueError, match="actions"):
            envs.step(np.array(actions))
    with pytest.raises(UserError, match="no autoreset mode 'sometimes'"):
        gymnasium.make_vec(ID, num_envs=2, vectorization_mode="vector_entry_point", autoreset_mode="sometimes")


def test_unseeded_environments_differ():
    envs: Any = gymnasium.make_vec(ID, num_envs=20, vectorization_mode="vector_entry_point")
    observations, _ = envs.reset()
    assert len({observation.tobytes() for observation in observations}) > 15


def test_bad_options_are_refused():
    with pytest.raises(UserError, match="200 walls"):
        gymnasium.make(ID, num_walls=200)
    with pytest.raises(UserError, match="no render mode 'human'; valid: rgb_array, ansi"):
        iqlightning.gridworld.game.env.GridWorldEnv(render_mode="human")


def test_pictures_of_a_vector_environment():
    envs: Any = gymnasium.make_vec(
        ID, num_envs=2, vectorization_mode="vector_entry_point", render_mode="rgb_array", height=3
    )
    envs.reset(seed=0)
    frames = envs.render()
    assert [frame.shape for frame in frames] == [(96, 320, 3)] * 2


def test_importing_stays_light():
    code = (
        "import sys, gymnasium, iqlightning; gymnasium.spec('iqlightning/GridWorld-v0'); iqlightning.__version__;"
        "print(sorted({'torch', 'lightning', 'tensorboard', 'matplotlib', 'aiohttp'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_name_that_does_not_exist_is_an_attribute_error():
    for module in (iqlightning, iqlightning.envs):
        with pytest.raises(AttributeError, match="nonsense"):
            module.nonsense  # noqa: B018
