"""What this package needs of Lightning's insides: a new Lightning that changes it fails here, with a sentence."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from small_runs import quiet_trainer

from iqlightning.algorithms import lightning_internals as internals


class Three(LightningModule):
    """Calls a function in each of the three batches of an epoch."""

    def __init__(self, act: Any) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.act = act
        self.seen: list[Any] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        self.seen.append(self.act(self.trainer))


def fit(act: Any, batches: int = 3) -> tuple[Three, Trainer]:
    module, runs = Three(act), quiet_trainer(max_epochs=1)
    try:
        runs.fit(module, train_dataloaders=list(range(batches)))
    except (AttributeError, TypeError, KeyError) as error:
        pytest.fail(f"this Lightning no longer has what lightning_internals.py needs: {error}")
    return module, runs


def test_a_counted_update_is_a_global_step():
    def act(runs: Trainer) -> int:
        internals.count_update(runs)
        return runs.global_step

    module, runs = fit(act)
    assert module.seen == [1, 2, 3], "trainer.global_step no longer counts optim_step_progress of manual optimization"
    assert runs.global_step == 3


def test_counted_batches_bring_the_end_of_the_epoch_nearer():
    def act(runs: Trainer) -> bool:
        before = internals.is_last_batch(runs)
        internals.count_batches(runs, 2)
        assert not before
        return internals.is_last_batch(runs)

    module, _ = fit(act, batches=6)
    assert module.seen == [False, True], "batch_progress and the fetcher's count no longer decide where an epoch ends"


def test_a_run_has_begun_with_its_first_batch():
    assert not internals.has_begun(quiet_trainer(max_epochs=1)), "a trainer counts a batch before it has fitted"
    module, _ = fit(internals.has_begun)
    assert module.seen[0], "batch_progress no longer counts the batch that is being trained on"


def test_published_figures_are_found_by_callbacks_and_bars():
    def act(runs: Trainer) -> float:
        internals.publish_metrics(runs, {"train/loss": torch.tensor(2.0)}, shown="train/loss")
        return float(runs.callback_metrics["train/loss"])

    module, runs = fit(act)
    assert module.seen == [2.0] * 3, "trainer.callback_metrics no longer holds what the logger connector is given"
    assert float(runs.callback_metrics["train/loss"]) == 2.0
    assert float(runs.progress_bar_metrics["loss"]) == 2.0, "bars no longer show what the logger connector is given"


def test_the_interval_of_a_checkpoint_callback_is_known():
    why = "ModelCheckpoint calls the interval between its checkpoints otherwise now"
    assert internals.saving_interval(ModelCheckpoint(every_n_train_steps=7)) == 7, why
    assert internals.saving_interval(ModelCheckpoint()) is None, why
    from datetime import timedelta

    assert internals.saves_by_the_clock(ModelCheckpoint(train_time_interval=timedelta(seconds=1))), why
    assert not internals.saves_by_the_clock(ModelCheckpoint(every_n_train_steps=7)), why


def test_counts_of_a_saved_checkpoint_can_be_put_right(tmp_path: Path):
    _, runs = fit(internals.count_update)
    runs.save_checkpoint(tmp_path / "saved.ckpt", weights_only=False)
    saved = torch.load(tmp_path / "saved.ckpt", weights_only=True)
    loops = saved["loops"]["fit_loop"]
    for part in ("current", "total"):
        assert set(loops["epoch_loop.batch_progress"][part]) == {"ready", "started", "processed", "completed"}, (
            "a checkpoint of Lightning no longer keeps its counts of batches as it did"
        )
    # as a program that counted calls of training_step would have left it: one call for these three updates
    for part in ("current", "total"):
        loops["epoch_loop.batch_progress"][part] = dict.fromkeys(("ready", "started", "processed", "completed"), 1)
    internals.align_counts(saved, updates_per_epoch=10)
    assert loops["epoch_loop.batch_progress"]["current"]["processed"] == 3
    assert loops["epoch_loop.batch_progress"]["total"]["ready"] == 3
