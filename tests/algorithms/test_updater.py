"""An update of several optimizer steps: in order, each on its own weights, counted once."""

from pathlib import Path
from typing import Any

import lightning
import torch
from small_runs import GRID, learner, quiet_trainer, weights
from torch import nn

from iqlightning.agents.agent import Objective, Step
from iqlightning.algorithms import BehaviorCloning
from iqlightning.data.imitation_data import ImitationData


class TwoSteps(BehaviorCloning):
    """Cloning, and a second step that learns the entropy of the policy that the first one has left."""

    def build(self, env: Any, spaces: Any = None) -> Any:
        super().build(env, spaces)
        self.guess = nn.Linear(1, 1)
        nn.init.zeros_(self.guess.weight)
        nn.init.zeros_(self.guess.bias)

    def steps(self) -> list[Step]:
        return [*super().steps(), Step("guess", self.guess, self.guess_objective, lambda p: torch.optim.SGD(p, lr=0.1))]

    def guess_objective(self, batch: Any) -> Objective:
        # depends on the network as well, whose weights this step must leave alone
        log_prob = self.agent.log_prob(batch["expert"].obs, batch["expert"].actions)
        loss = (self.guess(torch.ones(1, 1)).squeeze() + log_prob.mean()).square()
        return Objective(loss, {"error": loss.sqrt()}, lambda: {"value": self.guess.bias.detach()[0]})


def fit(folder: Path, model: Any, updates: int = 30, **options: Any) -> lightning.Trainer:
    data = ImitationData(GRID, episodes=40, batch_size=16, directory=str(folder), updates_per_epoch=10)
    trainer = quiet_trainer(max_steps=updates)
    trainer.fit(model, data, **options)
    return trainer


def test_each_step_moves_its_own_weights_and_an_update_counts_once(tmp_path):
    two, one = learner(TwoSteps), learner(BehaviorCloning)
    trainer = fit(tmp_path, two)
    fit(tmp_path, one)
    assert trainer.global_step == 30
    assert len(trainer.optimizers) == 2
    assert torch.equal(weights(two.agent), weights(one.agent))
    assert float(trainer.callback_metrics["train/guess_loss"]) < 1.0


def test_figures_of_the_first_step_go_by_their_own_names(tmp_path):
    trainer = fit(tmp_path, learner(TwoSteps))
    names = {name for name in trainer.callback_metrics if name.startswith("train/")}
    assert {"train/loss", "train/grad_norm", "train/guess_loss", "train/guess_error", "train/guess_value"} <= names


def test_all_optimizers_come_back_from_a_checkpoint(tmp_path):
    whole, resumed = learner(TwoSteps), learner(TwoSteps)
    fit(tmp_path, whole)
    fit(tmp_path, learner(TwoSteps), 13).save_checkpoint(tmp_path / "half.ckpt", weights_only=False)
    fit(tmp_path, resumed, ckpt_path=str(tmp_path / "half.ckpt"), weights_only=True)
    assert torch.equal(weights(resumed), weights(whole))
