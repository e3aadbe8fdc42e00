"""A learner that keeps what it is served, for the tests of what serves it."""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from small_runs import quiet_trainer

from iqlightning.types import Batch


def leaves(batch: Batch) -> list[torch.Tensor]:
    parts = [*batch.get("expert", ()), *batch.get("policy", ()), batch.get("initial")]
    return [part for part in parts if part is not None]


def equal(one: Batch, other: Batch) -> bool:
    pairs = list(zip(leaves(one), leaves(other), strict=True))
    return one.keys() == other.keys() and all(a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)


def are_rows(part: Any, whole: Any, rows: Any) -> bool:
    """Whether transitions are those of ``whole`` in some rows."""
    return all(a is b is None or torch.equal(a, b[rows]) for a, b in zip(part, whole, strict=True))


class Explorer(LightningModule):
    """Keeps what it is served; explores by a rule that depends on its one weight, which every update moves."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.served: dict[int, Batch] = {}
        self.explored: list[int] = []

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)

    def explore(self, observations, env_steps: int, envs):
        self.explored.append(env_steps)
        return (observations.flatten(1).sum(1).long() + env_steps + int(self.weight)) % 2

    def training_step(self, chunk) -> None:
        for batch in chunk:
            self.served[self.trainer.global_step] = batch
            optimizer: Any = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(self.weight)
            optimizer.step()

    def validation_step(self, batch) -> None:
        pass


def fit(data, folder, *, steps: int, resume=None, save=None) -> Explorer:
    module = Explorer()
    trainer = quiet_trainer(max_steps=steps, default_root_dir=folder)
    trainer.fit(module, datamodule=data, ckpt_path=resume)
    if save is not None:
        trainer.save_checkpoint(save)
    return module
