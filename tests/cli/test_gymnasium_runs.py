"""Runs on environments of Gymnasium: images, online imitation, and what is refused."""

import json
import sys
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from iqlightning.checkpoint_files import read_checkpoint
from iqlightning.checkpoints import load_policy
from iqlightning.data.demonstrations import load_demonstrations
from iqlightning.envs.gymnasium import _facts
from iqlightning.errors import UserError
from iqlightning.types import Trajectories


class Lamp(gymnasium.Env):
    """A bright square on the left, in the middle or on the right of a dark image of bytes; the action is to name it."""

    observation_space = spaces.Box(0, 255, (3, 32, 32), np.uint8)
    action_space = spaces.Discrete(3)

    def _image(self) -> Any:
        self.place = int(self.np_random.integers(3))
        image = self.np_random.integers(0, 40, (3, 32, 32), dtype=np.uint8)
        image[:, 8:24, 10 * self.place + 1 : 10 * self.place + 11] = 230
        return image

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.moves = 0
        return self._image(), {}

    def step(self, action):
        right = float(action == self.place)
        self.moves += 1
        return self._image(), right, False, self.moves >= 6, {}


@pytest.fixture(autouse=True)
def lamp(monkeypatch):
    monkeypatch.setitem(gymnasium.registry, "Lamp-v0", EnvSpec("Lamp-v0", entry_point=Lamp))  # type: ignore[arg-type]


IMAGES = """
    model:
      class_path: IQLearn
      init_args:
        encoder: {class_path: TorchvisionBackbone, init_args: {name: shufflenet_v2_x0_5}}
        optimizer: {class_path: torch.optim.Adam, init_args: {lr: 0.002}}
    data:
      class_path: ImitationData
      init_args: {path: lamp.safetensors, batch_size: 32, updates_per_epoch: 60, updates_per_step: 4}
    trainer:
      accelerator: cpu
      max_steps: 60
      callbacks:
        - {class_path: PolicyEvaluation, init_args: {episodes: 5, test_episodes: 5}}
    checkpoint: {monitor: val/mean_return, mode: max}
"""


TEACHER = """
    def teacher(observations):
        columns = observations[:, 0, 8:24].float().mean(1)
        return columns[:, 1:31].reshape(len(observations), 3, 10).mean(2).argmax(1)
"""


def test_images_are_learnt_from_and_scaled_once(workplace, monkeypatch):
    workplace.write("bright.py", TEACHER)
    arguments = ("--policy", "bright:teacher", "--trust", "bright", "--gym", "Lamp-v0", "--episodes", "60")
    assert workplace.run("collect", *arguments, "--output", "lamp.safetensors") == 0, workplace.shown()
    played, _ = load_demonstrations(workplace.folder / "lamp.safetensors")
    assert str(played.observations.dtype) == "torch.uint8"
    assert played.observations.max() == 230
    assert (played.returns == 6).all()
    workplace.write("lamp.yaml", IMAGES)
    run = workplace.fit(config="lamp.yaml")
    checkpoint = run / "checkpoints" / "last.ckpt"
    assert read_checkpoint(checkpoint)["iqlightning"]["agent"]["network"]["observation_high"] == 255.0
    assert workplace.run("evaluate", str(checkpoint), "--episodes", "10", "--json", "lamp.json") == 0
    assert json.loads((workplace.folder / "lamp.json").read_text())["mean_return"] > 4  # a guess is worth 2
    monkeypatch.delitem(sys.modules, "bright")


ONLINE = """
    model:
      class_path: IQLearn
      init_args:
        encoder: {class_path: MLP, init_args: {hidden: [32]}}
        divergence: Chi2Mixture
        value_term: ExpertAndPolicyStates
        log_every: 10
    data:
      class_path: ImitationData
      init_args:
        path: cart.safetensors
        batch_size: 16
        updates_per_epoch: 20
        online: {num_envs: 4, warmup_steps: 40, steps_per_update: 4}
    trainer:
      accelerator: cpu
      max_steps: 40
      callbacks:
        - {class_path: PolicyEvaluation, init_args: {episodes: 4, test_episodes: 4}}
    checkpoint: {monitor: val/mean_return, mode: max}
"""


@pytest.fixture
def cart(workplace) -> Trajectories:
    arguments = ("--policy", "random", "--gym", "CartPole-v1", "--episodes", "12", "--output", "cart.safetensors")
    assert workplace.run("collect", *arguments) == 0
    return load_demonstrations(workplace.folder / "cart.safetensors")[0]


def test_iq_learn_online_on_a_vector_environment(workplace, cart):
    workplace.write("online.yaml", ONLINE)
    run = workplace.fit(config="online.yaml")
    assert "train/policy_reward" in (run / "metrics.csv").read_text()
    stored = read_checkpoint(run / "checkpoints" / "last.ckpt")
    (experience,) = [v["experience"] for v in stored.values() if isinstance(v, dict) and "experience" in v]
    # before update u: the warm-up and four transitions for each update up to it
    assert experience["steps_played"] * 4 == 40 + 39 * 4


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        (("--data.online", "null"), ["policy", "--data.online"]),
        (
            ("--data.online", "null", "--model.value_term", "ExpertStates"),
            ["Chi2Mixture needs policy data", "--data.online"],
        ),
        (
            ("--data.env", "GymnasiumConfig", "--data.env.id", "Pendulum-v1"),
            ["do not fit", "Pendulum-v1", "(4,)", "(3,)"],
        ),
        (("--data.env", "GymnasiumConfig", "--data.env.id", "Acrobot-v1"), ["do not fit", "(4,)", "(6,)"]),
        (("--model.divergence", "Chi3"), ["Chi3", "Chi2Mixture"]),
        (("--model.value_term", "V0"), ["V0", "InitialStates"]),
        (("--data.symmetries", "true", "--data.env", "GymnasiumConfig", "--data.env.id", "MountainCar-v0"), ["turns"]),
    ],
)
def test_what_cannot_be_is_one_sentence(workplace, cart, changes, parts):
    workplace.write("online.yaml", ONLINE)
    sentence = workplace.refused("fit", "--config", "online.yaml", *changes)
    for part in parts:
        assert part in sentence, sentence


DICTIONARIES = """
    model:
      class_path: IQLearn
      init_args: {encoder: {class_path: LocalCNN, init_args: {hidden: 8}}, log_every: 2}
    data:
      class_path: ImitationData
      init_args: {path: mixed.safetensors, batch_size: 16, updates_per_epoch: 4}
    trainer:
      accelerator: cpu
      max_steps: 4
      callbacks:
        - {class_path: PolicyEvaluation, init_args: {episodes: 2, test_episodes: 2}}
        - {class_path: UpdateProgressBar}
    checkpoint: {monitor: val/mean_return, mode: max}
"""


class Mixed(Lamp):
    """The lamp beside a number and a mask of all but one wrong action."""

    parts: ClassVar[dict[str, spaces.Space]] = {
        "image": spaces.Box(0, 255, (8, 8, 1), np.uint8),
        "way": spaces.Discrete(4),
    }
    observation_space = spaces.Dict({**parts, "action_mask": spaces.MultiBinary(3)})

    def _image(self) -> Any:
        self.place = int(self.np_random.integers(3))
        image = np.zeros((8, 8, 1), np.uint8)
        image[:, 2 * self.place] = 230
        mask = np.ones(3, np.int8)
        mask[(self.place + 1) % 3] = 0
        return {"image": image, "way": int(self.np_random.integers(4)), "action_mask": mask}


def test_dictionaries_with_pictures_and_masks_are_collected_imitated_and_played(workplace, monkeypatch):
    monkeypatch.setitem(gymnasium.registry, "Mixed-v0", EnvSpec("Mixed-v0", entry_point=Mixed))  # type: ignore[arg-type]
    workplace.write("seer.py", "def seer(given):\n    return given['image'][:, 0, [0, 2, 4], 0].argmax(1)\n")
    arguments = ("--policy", "seer:seer", "--trust", "seer", "--gym", "Mixed-v0", "--episodes", "10")
    assert workplace.run("collect", *arguments, "--output", "mixed.safetensors") == 0, workplace.shown()
    played, _ = load_demonstrations(workplace.folder / "mixed.safetensors")
    assert (played.returns == 6).all()
    workplace.write("mixed.yaml", DICTIONARIES)
    run = workplace.fit(config="mixed.yaml")
    assert "networks see them bytes divided by 255, the rest as it is" in workplace.shown()
    checkpoint = str(run / "checkpoints" / "last.ckpt")
    assert workplace.run("evaluate", checkpoint, "--episodes", "2", "--json", "mixed.json") == 0, workplace.shown()
    policy = load_policy(checkpoint)
    given, _ = gymnasium.vector.SyncVectorEnv([Mixed] * 5).reset(seed=0)
    actions = policy.act(given)
    assert given["action_mask"][np.arange(5), actions.numpy()].all()
    given["action_mask"][2] = 0
    with pytest.raises(UserError, match="row 2 allows no action"):
        policy.act(given)
    monkeypatch.setattr(Mixed, "action_space", spaces.Discrete(2))
    monkeypatch.setattr(
        Mixed,
        "observation_space",
        spaces.Dict({**Mixed.parts, "action_mask": spaces.MultiBinary(2)}),
    )
    _facts.cache_clear()
    assert workplace.run("evaluate", checkpoint, "--episodes", "2") == 2
    assert "with actions Discrete(3), and 'Mixed-v0' has Discrete(2)" in workplace.shown()
    _facts.cache_clear()
    monkeypatch.delitem(sys.modules, "seer")


def test_recordings_made_under_other_wrappers_are_refused(workplace):
    arguments = ("--policy", "random", "--gym", "CartPole-v1", "--episodes", "3", "--output", "cart.safetensors")
    assert workplace.run("collect", *arguments, "--wrappers", "DelayedCart") == 2
    assert "no wrapper 'DelayedCart'" in workplace.shown()
    limit = '{"class_path": "TimeLimit", "init_args": {"max_episode_steps": 9}}'
    assert workplace.run("collect", *arguments, "--wrappers", f"[{limit}]") == 0, workplace.shown()
    workplace.write("online.yaml", ONLINE)
    bare = ("--data.env.class_path", "GymnasiumConfig", "--data.env.init_args.id", "CartPole-v1")
    assert workplace.run("fit", "--config", "online.yaml", *bare) == 2
    assert "recorded under TimeLimit(max_episode_steps=9), and this environment has no wrapper" in workplace.shown()
