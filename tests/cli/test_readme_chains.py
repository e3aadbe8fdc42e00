"""From what a user has to a policy, by the lines that the READMEs show: each runs from an empty folder, shortened."""

import os
import re
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

import gymnasium
import lightning
import numpy as np
import pytest
import torch

import iqlightning as iq

ROOT = Path(iq.__file__).parents[1]

#: For ``fit``: a few updates, on whatever machine.
SHORT = ("--trainer.max_steps=20", "--data.updates_per_epoch=20", "--trainer.accelerator=cpu")


def block(readme: str, line: str) -> list[str]:
    """The lines of a README's block that holds a line beginning so: five at most."""
    blocks = re.findall(r"```(?:python)?\n(.*?)```", (ROOT / readme).read_text(), re.DOTALL)
    (found,) = [each for each in blocks if re.search(rf"^{re.escape(line)}", each, re.MULTILINE)]
    lines = [each for each in found.splitlines() if each.strip()]
    assert len(lines) <= 5
    return lines


def run(workplace, lines: list[str], **replaced: str) -> None:
    """Runs commands of this package among the lines, with some words replaced."""
    for line in lines:
        for old, new in replaced.items():
            line = line.replace(old, new)
        words = shlex.split(line, comments=True)
        if words[:3] == ["python", "-m", "iqlightning"]:
            words = words[2:]
        if words[0] == "iqlightning":
            more = SHORT if words[1] == "fit" else ()
            assert workplace.run(*words[1:], *more) == 0, f"{line}\n{workplace.shown()}"


def policy_of(workplace) -> iq.AgentPolicy:
    (best,) = workplace.folder.glob("logs/*/version_0/checkpoints/best.ckpt")
    return iq.load_policy(best)


def moves(count: int) -> list[np.ndarray]:
    """Episodes of CartPole, as somebody who pushes left and right in turn would have recorded them."""
    env, episodes = gymnasium.make("CartPole-v1"), []
    for seed in range(count):
        episodes.append([env.reset(seed=seed)[0]])
        for move in range(9):
            episodes[-1].append(env.step(move % 2)[0])
    return [np.stack(each) for each in episodes]


def test_a_table_becomes_a_policy(workplace):
    names = "episode,obs_0,obs_1,obs_2,obs_3,action,reward,terminated,truncated\n"
    rows = [
        f"{number},{','.join(map(str, state))},{move % 2},1,0,{int(move == 9)}\n"
        for number, episode in enumerate(moves(4))
        for move, state in enumerate(episode)
    ]
    workplace.write("mine.csv", names + "".join(rows))
    run(workplace, block("data/README.md", "iqlightning collect --from mine.csv"))
    assert policy_of(workplace).env == iq.GymnasiumConfig("CartPole-v1")
    assert (workplace.folder / "mine.png").is_file()


def test_a_minari_dataset_becomes_a_policy(workplace, monkeypatch):
    pytest.importorskip("minari", reason="Minari is an optional extra")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(workplace.folder / "minari"))
    make = ("collect", "--policy", "random", "--gym", "CartPole-v1", "--episodes", "4", "--to_minari", "cart/x-v0")
    assert workplace.run(*make) == 0, workplace.shown()
    lines = block("data/README.md", "iqlightning collect --from mujoco/hopper/expert-v0")
    run(workplace, lines, **{"mujoco/hopper/expert-v0": "cart/x-v0", "Hopper-v5": "CartPole-v1"})
    assert policy_of(workplace).env == iq.GymnasiumConfig("CartPole-v1")


@pytest.mark.slow
def test_a_model_of_stable_baselines_becomes_a_policy(workplace):
    library = pytest.importorskip("stable_baselines3", reason="Stable-Baselines3 is an optional extra")
    library.PPO("MlpPolicy", "CartPole-v1", seed=0).save(workplace.folder / "model.zip")
    lines = block("configs/README.md", "python -m iqlightning collect --policy model.zip")
    run(workplace, lines)
    (best,) = workplace.folder.glob("logs/*/version_0/checkpoints/best.ckpt")
    assert workplace.run("evaluate", str(best), "--episodes", "3") == 0, workplace.shown()


@pytest.fixture
def quiet(monkeypatch, tmp_path):
    """Trainers as the READMEs make them, of few updates, that write and show nothing."""
    real = lightning.Trainer
    off = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    monkeypatch.setattr(lightning, "Trainer", lambda max_steps: real(max_steps=20, accelerator="cpu", **off))
    monkeypatch.chdir(tmp_path)


def test_arrays_become_a_policy(quiet):
    observations = moves(4)
    names = {"observations": observations, "actions": [np.arange(9) % 2] * 4, "rewards": [np.ones(9)] * 4}
    names |= {"terminated": [False] * 4, "truncated": [True] * 4}
    exec("\n".join(block("data/README.md", "iq.from_arrays(")), names)
    assert names["action"].shape == (10,)
    assert os.listdir() == ["data"]


def test_a_notebook_becomes_a_checkpoint_and_a_policy(quiet):
    names = {}
    exec("\n".join(block("iqlightning/README.md", 'policy = iq.load_policy("grid.ckpt")')), names)
    policy, model = names["policy"], names["model"]
    observations = iq.GridWorldConfig().make_batch(5, seed=0).reset()
    assert torch.equal(policy.q_values(observations), model.policy.q_values(observations))


MINE = """
    import gymnasium
    import numpy as np
    from gymnasium import spaces


    class Task(gymnasium.Env):
        metadata = {"render_modes": ["rgb_array"], "render_fps": 10}
        observation_space = spaces.Box(-9, 9, (1,), np.float32)
        action_space = spaces.Discrete(2)

        def __init__(self, render_mode=None):
            self.render_mode = render_mode

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.x = int(self.np_random.choice([-3, 3]))
            return self.seen(), {}

        def seen(self):
            return np.array([self.x], np.float32)

        def step(self, action):
            self.x += 1 if action else -1
            return self.seen(), float(self.x == 0), self.x in (-9, 0, 9), False, {}

        def render(self):
            picture = np.zeros((8, 19, 3), np.uint8)
            picture[:, self.x + 9] = 255
            return picture


    def make_expert(env):
        return lambda observation: int(observation[0] < 0)


    gymnasium.register("mine/Task-v0", Task, max_episode_steps=200)
"""


def test_a_class_of_ones_own_becomes_policy_evaluation_video_and_onnx(workplace, monkeypatch):
    workplace.write("mine.py", MINE)
    films = ".mp4" if find_spec("imageio_ffmpeg") else ".gif"
    lines = block("configs/README.md", "python -m iqlightning init my_task --gym mine/Task-v0")
    try:
        run(workplace, lines, **{".mp4": films})
        assert policy_of(workplace).act(torch.tensor([[-2.0], [2.0]])).tolist() == [1, 0]
    finally:
        sys.modules.pop("mine", None)
        gymnasium.registry.pop("mine/Task-v0", None)
    assert (workplace.folder / f"my_task{films}").stat().st_size > 100
    exported = {each.name for each in (workplace.folder / "logs/my_task/version_0/export").iterdir()}
    assert exported >= {"policy.pt2", "weights.safetensors", *(["policy.onnx"] if find_spec("onnxscript") else [])}
