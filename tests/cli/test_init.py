"""``init``: what it writes runs, and so do the commands that it says."""

import shlex

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec


class Picture(gymnasium.Env):
    """Pictures of bytes; it never ends by itself."""

    observation_space = spaces.Box(0, 255, (3, 12, 12), np.uint8)

    def __init__(self, real=False):
        self.action_space = spaces.Box(-1.0, 1.0, (2,)) if real else spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.integers(0, 256, (3, 12, 12), dtype=np.uint8), {}

    def step(self, action):
        return self.np_random.integers(0, 256, (3, 12, 12), dtype=np.uint8), 0.0, False, False, {}


@pytest.fixture(autouse=True)
def picture(monkeypatch):
    spec = EnvSpec("Picture-v0", entry_point=Picture, max_episode_steps=5)  # type: ignore[arg-type]
    monkeypatch.setitem(gymnasium.registry, "Picture-v0", spec)
    spec = EnvSpec("Forever-v0", entry_point=Picture)  # type: ignore[arg-type]
    monkeypatch.setitem(gymnasium.registry, "Forever-v0", spec)


SHORT = ("--trainer.max_steps=2", "--trainer.accelerator=cpu", "--data.updates_per_epoch=1", "--data.batch_size=4")
REAL = ("--gym", "Picture-v0", "--gym_kwargs", '{"real": true}')


def next_commands(workplace):
    marks = "  python -m iqlightning "
    lines = [line for line in workplace.shown().splitlines() if line.startswith(marks)]
    head = (workplace.folder / "mine.yaml").read_text().partition("model:")[0]
    assert all(f"# {line}" in head for line in lines)
    return [shlex.split(line.removeprefix(marks)) for line in lines]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--gym", "CartPole-v1", "--max_episode_steps", "20"),
        ("--gym", "Picture-v0"),
        pytest.param(("--gym", "Pendulum-v1", "--max_episode_steps", "9"), marks=pytest.mark.slow),
        REAL,
        pytest.param(("--gym", "CartPole-v1", "--algorithm", "BehaviorCloning"), marks=pytest.mark.slow),
        pytest.param((*REAL, "--algorithm", "BehaviorCloning"), marks=pytest.mark.slow),
    ],
)
def test_a_policy_is_two_commands_away(workplace, arguments):
    assert workplace.run("init", "mine", *arguments) == 0, workplace.shown()
    collect, fit = next_commands(workplace)
    assert workplace.run(*collect) == 0, workplace.shown()
    more = () if "online" not in (workplace.folder / "mine.yaml").read_text() else ("--data.online.warmup_steps=5",)
    assert workplace.run(*fit, *SHORT, *more) == 0, workplace.shown()
    assert (workplace.folder / "logs/mine/version_0/checkpoints/best.ckpt").is_file()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--gym", "Picture-v0", "--algorithm", "DQN"),
        pytest.param((*REAL, "--algorithm", "SAC"), marks=pytest.mark.slow),
        pytest.param(
            ("--gym", "Pendulum-v1", "--max_episode_steps", "9", "--algorithm", "SAC"), marks=pytest.mark.slow
        ),
    ],
)
def test_or_an_expert(workplace, arguments):
    assert workplace.run("init", "mine", *arguments) == 0, workplace.shown()
    fit, evaluate = next_commands(workplace)
    assert workplace.run(*fit, *SHORT, "--data.warmup_steps=5") == 0, workplace.shown()
    assert workplace.run(*evaluate) == 0, workplace.shown()


def test_a_time_limit_is_written_where_there_is_none(workplace):
    assert workplace.run("init", "mine", "--gym", "Forever-v0") == 0
    (collect, _) = next_commands(workplace)
    assert "--max_episode_steps 1000" in " ".join(collect)
    assert "cut off after 1000 steps" in (workplace.folder / "mine.yaml").read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "needs the environment: --gym ID"),
        (("--gym", "CartPol-v1"), "near ids: CartPole-v1"),
        (("--gym", "CartPole-v1", "--algorithm", "SAC"), "SAC is for continuous actions; take DQN"),
        (("--gym", "Pendulum-v1", "--algorithm", "DQN"), "DQN is for discrete actions; take SAC"),
        (("--gym", "CartPole-v1", "--algorithm", "DQN", "--policy", "random"), "--policy says who demonstrates"),
    ],
)
def test_a_mistake_is_one_sentence(workplace, arguments, says):
    assert says in workplace.refused("init", "mine", *arguments)
    assert not (workplace.folder / "mine.yaml").exists()


def test_nothing_is_overwritten(workplace):
    workplace.write("mine.yaml", "here: already")
    assert "exists already" in workplace.refused("init", "mine", "--gym", "CartPole-v1")
    assert workplace.run("init", "mine.yaml", "--gym", "CartPole-v1", "--force", "--policy", "a:b") == 0
    assert "--policy a:b --gym CartPole-v1" in (workplace.folder / "mine.yaml").read_text()
