"""A Gymnasium class of one's own in every command, named with its module; and what it may do wrong."""

import sys

import gymnasium
import pytest
import torch

from iqlightning.checkpoints import load_policy

MINE = """
    import gymnasium
    import numpy as np
    from gymnasium import spaces


    class Chain(gymnasium.Env):
        metadata = {"render_modes": ["rgb_array"], "render_fps": 10}
        observation_space = spaces.Box(0, 10, (2,), np.float32)
        action_space = spaces.Discrete(2)

        def __init__(self, render_mode=None, where=None):
            self.render_mode, self.where = render_mode, where
            self.fail_in("constructor")

        def fail_in(self, where):
            if where == self.where:
                raise LookupError(f"no {where} today")

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.fail_in("reset")
            self.x, self.goal = int(self.np_random.integers(3, 8)), int(self.np_random.choice([0, 10]))
            return self.seen(), {}

        def seen(self):
            return np.array([self.x, self.goal], np.float32)

        def step(self, action):
            self.fail_in("step")
            self.x += 1 if action else -1
            return self.seen(), float(self.x == self.goal), self.x in (0, 10), False, {}

        def render(self):
            picture = np.zeros((1, 11, 3), np.uint8)
            picture[0, self.x, 0] = picture[0, self.goal, 1] = 255
            return picture


    def make_expert(env):
        return lambda observation: int(env.unwrapped.goal > env.unwrapped.x)


    gymnasium.register("mine/Chain-v0", Chain, max_episode_steps=30)
"""


@pytest.fixture
def chains(workplace, monkeypatch):
    """The module of a user's own, trusted."""
    workplace.write("chains.py", MINE)
    monkeypatch.setenv("IQLIGHTNING_TRUST", "chains")
    yield
    sys.modules.pop("chains", None)
    gymnasium.registry.pop("mine/Chain-v0", None)


def test_from_a_class_to_portable_files(workplace, chains, monkeypatch):
    gym = "chains:mine/Chain-v0"
    output = ("--episodes", "20", "--output", "data/my_task.safetensors")
    best = "logs/my_task/version_0/checkpoints/best.ckpt"
    fit = ("--trainer.max_steps=100", "--data.updates_per_epoch=100", "--trainer.accelerator=cpu")
    for command in (
        ("init", "my_task", "--gym", gym),
        ("collect", "--policy", "chains:make_expert", "--gym", gym, *output),
        ("fit", "--config", "my_task.yaml", *fit),
        ("evaluate", best, "--episodes", "5", "--video", "my_task.gif"),
        ("export", best, "--observations", "20"),
        ("collect", "--policy", best, "--episodes", "2", "--output", "own.safetensors"),
        ("data", "own.safetensors", "--gym", gym),
    ):
        assert workplace.run(*command) == 0, workplace.shown()
    film = workplace.folder / "my_task.gif"
    assert film.stat().st_size > 100
    again = ("evaluate", best, "--episodes", "5", "--video", "my_task.gif")
    assert workplace.run(*again) == 0  # its own film
    film.write_text("somebody's")
    assert "replace it with --force" in workplace.refused(*again)
    assert film.read_text() == "somebody's"
    assert workplace.run(*again, "--force") == 0
    assert film.read_bytes().startswith(b"GIF")
    assert (workplace.folder / "logs/my_task/version_0/export/policy.pt2").is_file()
    assert load_policy(best).act(torch.tensor([[5.0, 10.0], [5.0, 0.0]])).tolist() == [1, 0]
    gymnasium.registry.pop("mine/Chain-v0")
    del sys.modules["chains"]
    monkeypatch.delenv("IQLIGHTNING_TRUST")
    assert "--trust" in workplace.refused("evaluate", best, "--episodes", "5")


PLAYED = """
    model: {class_path: DQN, init_args: {encoder: {class_path: MLP, init_args: {hidden: [8]}}}}
    data:
      class_path: ReplayData
      init_args:
        env: {class_path: GymnasiumConfig, init_args: {id: mine/Chain-v0, kwargs: {where: %s}, vectorization: %s}}
        num_envs: 2
        warmup_steps: 20
    trainer: {accelerator: cpu, max_steps: 2}
"""


@pytest.mark.parametrize("vectorization", ["sync", "async"])
@pytest.mark.parametrize("where", ["constructor", "reset", "step"])
def test_a_class_that_fails_is_told_in_a_sentence_and_leaves_nothing(workplace, chains, where, vectorization):
    workplace.write("played.yaml", PLAYED % (where, vectorization))
    before = sorted(workplace.folder.rglob("*.*"))
    kwargs = f'{{"where": "{where}"}}'
    played = ("--policy", "random", "--gym", "mine/Chain-v0", "--gym_kwargs", kwargs, "--output", "x.safetensors")
    for command in (("fit", "--config", "played.yaml"), ("collect", *played)):
        sentence = workplace.refused(*command)
        failed = "cannot be made: " if where == "constructor" else f"itself failed in its {where}: "
        assert f"environment 'mine/Chain-v0' {failed}LookupError: no {where} today (chains.py, line " in sentence
    assert sorted(each for each in workplace.folder.rglob("*.*") if "__pycache__" not in each.parts) == before
    assert not (workplace.folder / "logs").exists()


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import no_such_module", "there is no module named 'no_such_module'"),
        ("1 / 0", "cannot be imported: ZeroDivisionError: division by zero (broken.py, line 1)"),
        ("def f(:", "cannot be imported: invalid syntax (broken.py, line 1)"),
    ],
)
def test_a_package_that_cannot_be_imported_is_told_in_a_sentence(workplace, code, says):
    workplace.write("broken.py", code)
    for command in (("collect",), ("fit", "--config", "tiny.yaml"), ("evaluate", "x.ckpt")):
        assert says in workplace.refused(*command, "--trust", "broken")


def test_an_expert_that_fails_is_told_in_a_sentence(workplace, chains):
    workplace.write("chains.py", f"{MINE}\n    def wrong(observations):\n        return {{}}['move']\n")
    sentence = workplace.refused("collect", "--policy", "chains:wrong", "--gym", "mine/Chain-v0", "--output", "x")
    assert "'chains:wrong' itself failed: KeyError: 'move' (chains.py, line " in sentence
