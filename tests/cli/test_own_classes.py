"""Classes of a package of one's own, named in a configuration and found again from the checkpoint alone."""

import json
import sys

import pytest

from iqlightning.cli.trust import import_families

CHAIN = '''
    """A chain of cells, in batches of tensors: the last cell ends the episode with reward 1."""

    from dataclasses import dataclass

    import numpy as np
    import torch
    from gymnasium import spaces

    from iqlightning.spaces import Spaces
    from iqlightning.types import EnvConfig, StepResult


    @dataclass(frozen=True)
    class Chain(EnvConfig):
        length: int = 4

        @property
        def name(self):
            return f"chain-{self.length}"

        @property
        def spaces(self):
            return Spaces(spaces.Box(0, 1, (self.length,), np.float32), spaces.Discrete(2))

        def make_batch(self, num_envs, *, seed, split="any", device="cpu", first=0, every=1):
            return Cells(self, num_envs, torch.device(device))


    class Cells:
        def __init__(self, config, num_envs, device):
            self.num_envs, self.spaces, self.device = num_envs, config.spaces, device
            self._length = config.length
            self.reset()

        @property
        def observations(self):
            return torch.nn.functional.one_hot(self._cell, self._length).float()

        def reset(self):
            self._cell, self._moves = torch.zeros(2, self.num_envs, dtype=torch.int64, device=self.device)
            return self.observations

        def step(self, actions):
            self._cell = (self._cell + 2 * actions - 1).clamp(min=0)
            self._moves = self._moves + 1
            terminated = self._cell == self._length - 1
            truncated = (self._moves >= 20) & ~terminated
            successors, ended = self.observations, terminated | truncated
            self._cell, self._moves = self._cell * ~ended, self._moves * ~ended
            return StepResult(self.observations, successors, terminated.float(), terminated, truncated)

        def state_dict(self):
            return {"cell": self._cell, "moves": self._moves}

        def load_state_dict(self, state):
            self._cell, self._moves = state["cell"], state["moves"]
'''

SQUARES = """
    import torch

    from iqlightning.nets.encoders.encoder import Encoder


    class Squares(Encoder):
        def __init__(self, observation_shape, hidden=8):
            super().__init__()
            self.linear = torch.nn.Linear(observation_shape[0], hidden)
            self.feature_shape = (hidden,)

        def forward(self, observations):
            return self.linear(observations).square()
"""

RUN = """
    model:
      class_path: DQN
      init_args: {encoder: at_home.networks.Squares, gamma: 0.9}
    data:
      class_path: ReplayData
      init_args:
        env: at_home.worlds.Chain
        num_envs: 4
        warmup_steps: 64
        batch_size: 16
        updates_per_epoch: 10
    trainer:
      accelerator: cpu
      max_steps: 10
      callbacks:
        - {class_path: PolicyEvaluation, init_args: {episodes: 4, test_episodes: 4}}
"""


@pytest.fixture
def checkpoint(workplace):
    (workplace.folder / "at_home").mkdir()
    for name, text in (("__init__", ""), ("worlds", CHAIN), ("networks", SQUARES)):
        workplace.write(f"at_home/{name}.py", text)
    workplace.write("own.yaml", RUN)
    yield workplace.fit("--trust", "at_home", config="own.yaml") / "checkpoints" / "last.ckpt"
    forget()


def forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "at_home"]:
        del sys.modules[name]


def test_a_checkpoint_of_own_classes_is_played_by_whoever_trusts_them(workplace, checkpoint):
    forget()
    sentence = workplace.refused("evaluate", str(checkpoint))
    assert "'at_home.networks.Squares' is not a known Encoder" in sentence
    assert "--trust at_home" in sentence
    arguments = ("evaluate", str(checkpoint), "--trust", "at_home", "--episodes", "4", "--json", "own.json")
    assert workplace.run(*arguments) == 0, workplace.shown()
    figures = json.loads((workplace.folder / "own.json").read_text())
    assert figures["env"] == {"kind": "at_home.worlds.Chain", "length": 4}
    assert "at_home" in workplace.refused("evaluate", str(checkpoint), "--trust", "at_home.nowhere")


def test_demonstrations_of_an_own_environment_are_read_back_by_whoever_trusts_it(workplace, checkpoint):
    forget()
    arguments = ("collect", "--policy", str(checkpoint), "--episodes", "4", "--output", "chain.safetensors")
    assert workplace.run(*arguments, "--trust", "at_home") == 0, workplace.shown()
    forget()
    copying = ("collect", "--from", "chain.safetensors", "--output", "copy.safetensors")
    assert "'at_home.worlds.Chain' is not a known kind of environment" in workplace.refused(*copying)
    assert workplace.run(*copying, "--trust", "at_home") == 0, workplace.shown()


def test_what_belongs_to_an_extra_is_left_out_where_it_is_not_installed(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "minigrid"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "iqlightning.envs.minigrid", raising=False)
    monkeypatch.setitem(sys.modules, "minigrid", None)
    monkeypatch.setitem(sys.modules, "minigrid.core.actions", None)
    import_families(())
    assert "iqlightning.envs.minigrid" not in sys.modules
