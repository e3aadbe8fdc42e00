"""An update of several optimizer steps: in order, each on its own weights, counted once."""

from pathlib import Path
from typing import Any

import lightning
import torch
from small_runs import GRID
from torch import nn

from iqlightning.agents.agent import Objective, Step
from iqlightning.algorithms import BehaviorCloning
from iqlightning.data.imitation_data import ImitationData
from iqlightning.nets.encoders import MLP


class TwoSteps(BehaviorCloning):
    """Cloning, and a second step that learns the entropy of the policy that the first one has left."""

    def build(self, env: Any) -> None:
        super().build(env)
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
    trainer = lightning.Trainer(
        max_steps=updates,
        max_epochs=-1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, data, **options)
    return trainer


def model(kind: Any) -> Any:
    return kind(lambda shape: MLP(shape, hidden=(8,)), log_every=10)


def weights(model: Any) -> torch.Tensor:
    return torch.cat([each.detach().flatten() for each in model.agent.parameters()])


def test_each_step_moves_its_own_weights_and_an_update_counts_once(tmp_path):
    two, one = model(TwoSteps), model(BehaviorCloning)
    trainer = fit(tmp_path, two)
    fit(tmp_path, one)
    assert trainer.global_step == 30
    assert len(trainer.optimizers) == 2
    assert torch.equal(weights(two), weights(one))
    assert float(trainer.callback_metrics["train/guess_loss"]) < 1.0


def test_figures_of_the_first_step_go_by_their_own_names(tmp_path):
    trainer = fit(tmp_path, model(TwoSteps))
    names = {name for name in trainer.callback_metrics if name.startswith("train/")}
    assert {"train/loss", "train/grad_norm", "train/guess_loss", "train/guess_error", "train/guess_value"} <= names


def test_all_optimizers_come_back_from_a_checkpoint(tmp_path):
    whole, resumed = model(TwoSteps), model(TwoSteps)
    fit(tmp_path, whole)
    fit(tmp_path, model(TwoSteps), 13).save_checkpoint(tmp_path / "half.ckpt", weights_only=False)
    fit(tmp_path, resumed, ckpt_path=str(tmp_path / "half.ckpt"), weights_only=True)
    assert torch.equal(weights(resumed), weights(whole))
    assert torch.equal(resumed.guess.bias, whole.guess.bias)
