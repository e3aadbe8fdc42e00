"""NaN and infinity stop a run, are called by name, and leave the last finite checkpoint."""

import math
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from counts import slow
from gymnasium import spaces
from small_runs import SMALL_DATA

from iqlightning.algorithms.iq_learn import IQLearn
from iqlightning.algorithms.learner import Objective
from iqlightning.checkpoint_files import read_checkpoint

VALUES = (math.nan, math.inf, -math.inf)
MOMENTS = pytest.mark.parametrize("moments", [2, *slow(10)])

IQ = f"""
    model:
      class_path: IQLearn
      init_args:
        encoder: {{class_path: MLP, init_args: {{hidden: [8]}}}}
        log_every: 7
    {SMALL_DATA}
        updates_per_epoch: 10
        updates_per_step: 4
    trainer: {{accelerator: cpu, max_steps: 40, callbacks: []}}
    checkpoint: {{monitor: null}}
"""

DQN = """
    model:
      class_path: DQN
      init_args:
        encoder: {class_path: MLP, init_args: {hidden: [8]}}
    data:
      class_path: ReplayData
      init_args:
        env: {class_path: GymnasiumConfig, init_args: {id: Faulty-v0, kwargs: {}}}
        num_envs: 2
        batch_size: 16
        warmup_steps: 20
        steps_per_update: 2
        updates_per_epoch: 10
        updates_per_step: 4
    trainer: {accelerator: cpu, max_steps: 40, callbacks: []}
    checkpoint: {monitor: null}
"""


class Faulty(gymnasium.Env[np.ndarray, np.int64]):
    """Two numbers, two actions, episodes of seven moves; at one step it gives what it should not."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, part: str = "nothing", step: int = 0, value: str = "nan") -> None:
        self.part, self.at, self.value, self.made = part, step, float(value), 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        return self.np_random.random(2, np.float32), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.made += 1
        wrong = self.value if self.made == self.at else None
        observation, reward = self.np_random.random(2, np.float32), float(action)
        if wrong is not None and self.part == "observation":
            observation[1] = wrong
        if wrong is not None and self.part == "reward":
            reward = wrong
        return observation, reward, False, self.made % 7 == 0, {}


@pytest.fixture(autouse=True)
def faulty_environment():
    gymnasium.register(
        "Faulty-v0",
        entry_point=lambda **options: Faulty(**options),
        disable_env_checker=True,
        order_enforce=False,
        max_episode_steps=7,
    )
    yield
    gymnasium.registry.pop("Faulty-v0")


def finite_last(workplace) -> int:
    """The update of the last checkpoint of the newest run, all of which is finite."""
    run = max(workplace.folder.glob("logs/*/*"), key=lambda folder: int(folder.name.partition("_")[2]))
    for name in ("last", "best"):
        stored = read_checkpoint(run / "checkpoints" / f"{name}.ckpt")
        assert all(tensor.isfinite().all() for tensor in stored["state_dict"].values())
        moments = [each for state in stored["optimizer_states"][0]["state"].values() for each in state.values()]
        assert moments
        assert all(torch.as_tensor(each).isfinite().all() for each in moments)
    return stored["global_step"]


def in_the_update(workplace, monkeypatch, part: str, moment: int, log_every: int = 7) -> None:
    workplace.write("iq.yaml", IQ.replace("log_every: 7", f"log_every: {log_every}"))
    at, value = 11 + 2 * moment, VALUES[moment % len(VALUES)]
    real = IQLearn.objective

    def objective(self: IQLearn, batch: Any) -> Objective:
        made = real(self, batch)
        if self.trainer.global_step == at - 1:
            if part == "loss":
                return made._replace(loss=made.loss * value)
            # the loss is as it should be, its gradient is not
            made.loss.register_hook(lambda gradient: gradient * value)
        return made

    with monkeypatch.context() as patch:
        patch.setattr(IQLearn, "objective", objective)
        sentence = workplace.refused("fit", "--config", "iq.yaml")
    named = sentence.partition("training diverged: ")[2]
    assert named.startswith("loss is " if part == "loss" else "grad_norm is ")
    assert f"at update {at};" in named
    assert finite_last(workplace) == (at - 1) // 10 * 10


@pytest.mark.parametrize("part", ["observation", "reward"])
@MOMENTS
def test_what_the_environment_gives_is_looked_at(workplace, part, moments):
    workplace.write("dqn.yaml", DQN)
    for moment in range(moments):
        # 20 of 2 environments' transitions before the first update, then 2 for each: epoch 1 ends at step 20
        step, value = 21 + 2 * moment, VALUES[moment % len(VALUES)]
        kwargs = f"{{part: {part}, step: {step}, value: '{value}'}}"
        sentence = workplace.refused("fit", "--config", "dqn.yaml", "--data.env.kwargs", kwargs)
        article = "an" if part == "observation" else "a"
        assert f"the environment 'Faulty-v0' gave {article} {part} of {value} at step {step}" in sentence
        assert finite_last(workplace) == (10 if step <= 30 else 20)


@pytest.mark.parametrize("part", ["loss", "gradient"])
@MOMENTS
def test_an_update_that_is_not_finite_stops_the_run(workplace, monkeypatch, part, moments):
    for moment in range(moments):
        in_the_update(workplace, monkeypatch, part, moment)


def test_a_run_with_nothing_wrong_ends_well(workplace):
    workplace.write("dqn.yaml", DQN)
    workplace.fit(config="dqn.yaml")
    assert finite_last(workplace) == 40


@pytest.mark.parametrize("part", ["loss", "gradient"])
def test_a_run_that_logs_seldom_is_stopped_before_it_is_saved(workplace, monkeypatch, part):
    """Whatever ``log_every`` is, the checks before an epoch's validation and save see it."""
    in_the_update(workplace, monkeypatch, part, 0, log_every=1000)


def test_two_kinds_of_wrong_are_both_named(workplace, monkeypatch):
    workplace.write("iq.yaml", IQ)
    real = IQLearn.objective

    def objective(self: IQLearn, batch: Any) -> Objective:
        made = real(self, batch)
        terms = made.terms | {"value_term": made.terms["value_term"] * math.nan}
        return made._replace(terms=terms, loss=made.loss * math.inf) if self.trainer.global_step == 12 else made

    monkeypatch.setattr(IQLearn, "objective", objective)
    sentence = workplace.refused("fit", "--config", "iq.yaml")
    assert "loss is " in sentence
    assert "value_term is nan" in sentence
    assert "expert_term" not in sentence
    assert "at update 13;" in sentence
