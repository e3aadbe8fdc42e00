"""The update loader under a real trainer: nothing repeated, nothing left out, wherever a run is cut and resumed."""

import warnings
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from small_runs import quiet_trainer

from iqlightning.algorithms.lightning_internals import align_counts, count_batches, count_update
from iqlightning.data.updates import EmptyBatchLoader, UpdateChunk, UpdateLoader, limited_epoch
from iqlightning.errors import UserError
from iqlightning.types import Batch


class Numbers:
    """The batch of update u is u."""

    def batch(self, update: int) -> Batch:
        return Batch(initial=torch.tensor([update]))


class InterruptedRunError(Exception):
    pass


class Recorder(LightningModule):
    """Writes down which updates it gets; fails after ``fail_after`` of them."""

    def __init__(self, fail_after: int | None = None) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.updates: list[int] = []
        self.chunks: list[tuple[int, int]] = []
        self.validated: list[int] = []
        self.fail_after = fail_after

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)

    def training_step(self, chunk: UpdateChunk) -> None:
        optimizer: Any = self.optimizers(use_pl_optimizer=False)
        count_batches(self.trainer, len(chunk) - 1)
        self.chunks.append((chunk.first, chunk.count))
        for batch in chunk:
            update = int(batch.get("initial", torch.tensor(-1)))
            assert update == self.trainer.global_step
            self.updates.append(update)
            optimizer.zero_grad()
            self.manual_backward(self.weight)
            optimizer.step()
            count_update(self.trainer)
            if self.trainer.global_step == self.fail_after:
                raise InterruptedRunError

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        align_counts(checkpoint, limited_epoch(self.trainer, self.trainer.datamodule.sizes[0]))  # type: ignore[attr-defined]

    def validation_step(self, batch: Batch) -> None:
        if not self.trainer.sanity_checking:
            self.validated.append(self.trainer.global_step)


class Data(LightningDataModule):
    def __init__(self, updates_per_epoch: int, updates_per_step: int) -> None:
        super().__init__()
        self.sizes = updates_per_epoch, updates_per_step

    def train_dataloader(self):
        assert self.trainer is not None
        return UpdateLoader(Numbers(), self.trainer, *self.sizes)

    def val_dataloader(self):
        return EmptyBatchLoader()


class SaveAt(Callback):
    """Saves a checkpoint at a hook, the first time that ``step`` updates have been made."""

    def __init__(self, hook: str, step: int, path) -> None:
        self.step, self.path, self.done = step, path, False
        setattr(self, hook, self._save)

    def _save(self, trainer, *args, **kwargs) -> None:
        if not self.done and trainer.global_step >= self.step and not trainer.sanity_checking:
            self.done = True
            trainer.save_checkpoint(self.path)


def trainer(tmp_path, **options) -> Trainer:
    return quiet_trainer(**({"num_sanity_val_steps": 0, "default_root_dir": tmp_path} | options))


def fit(tmp_path, sizes, *, resume=None, fail_after=None, **options) -> Recorder:
    recorder = Recorder(fail_after)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*resuming from a checkpoint that ended before.*")
        warnings.filterwarnings("error", message=".*DistributedSampler.*")
        warnings.filterwarnings("error", message=".*workers.*")
        trainer(tmp_path, **options).fit(recorder, datamodule=Data(*sizes), ckpt_path=resume)
    return recorder


@pytest.mark.parametrize("updates_per_step", [1, 3, 8, 10, 25])
def test_every_update_comes_once_in_order_whatever_the_chunk(tmp_path, updates_per_step):
    recorder = fit(tmp_path, (10, updates_per_step), max_epochs=3)
    assert recorder.updates == list(range(30))
    assert recorder.validated == [10, 20, 30]
    assert all(first // 10 == (first + count - 1) // 10 for first, count in recorder.chunks)
    assert max(count for _, count in recorder.chunks) == min(updates_per_step, 10)


def test_chunks_stop_at_max_steps(tmp_path):
    recorder = fit(tmp_path, (10, 4), max_steps=17, max_epochs=-1)
    assert recorder.chunks == [(0, 4), (4, 4), (8, 2), (10, 4), (14, 3)]


def test_limited_epochs_go_on_where_the_last_one_ended(tmp_path):
    recorder = fit(tmp_path, (10, 2), max_epochs=3, limit_train_batches=2)
    assert recorder.updates == list(range(6))
    assert recorder.validated == [2, 4, 6]


@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_validation_end", "on_train_epoch_end"])
@pytest.mark.parametrize("step", [4, 8, 10, 14, 20])
@pytest.mark.parametrize("limits", [{"max_epochs": 4}, {"max_steps": 40, "max_epochs": -1}])
def test_resumes_from_a_checkpoint_saved_at_any_hook(tmp_path, hook, step, limits):
    path = tmp_path / "saved.ckpt"
    fit(tmp_path, (10, 4), callbacks=[SaveAt(hook, step, path)], **limits)
    saved = torch.load(path, weights_only=True)["global_step"]
    recorder = fit(tmp_path, (10, 4), resume=path, **limits)
    assert recorder.updates == list(range(saved, 40))
    assert [u for u in recorder.validated if u > saved] == [u for u in (10, 20, 30, 40) if u > saved]


@pytest.mark.parametrize("step", range(1, 21))
@pytest.mark.parametrize("limits", [{"max_epochs": 4}, {"max_steps": 40, "max_epochs": -1}])
def test_resumes_after_an_interruption_anywhere(tmp_path, step, limits):
    path = tmp_path / "saved.ckpt"
    with pytest.raises(InterruptedRunError):
        fit(tmp_path, (10, 4), callbacks=[SaveAt("on_exception", 0, path)], fail_after=step, **limits)
    recorder = fit(tmp_path, (10, 4), resume=path, **limits)
    assert recorder.updates == list(range(step, 40))
    # An epoch that was cut off after its last update goes unvalidated; all others are validated on time.
    assert [u for u in recorder.validated if u > step] == [u for u in (10, 20, 30, 40) if u > step]


@pytest.mark.parametrize("step", [4, 7, 12, 13, 17, 20])
def test_goes_on_with_more_steps_and_other_chunks(tmp_path, step):
    path = tmp_path / "saved.ckpt"
    fit(tmp_path, (10, 4), callbacks=[SaveAt("on_train_end", 0, path)], max_steps=step, max_epochs=-1)
    recorder = fit(tmp_path, (10, 3), resume=path, max_steps=40, max_epochs=-1)
    assert recorder.updates == list(range(step, 40))
    assert [u for u in recorder.validated if u > step] == [u for u in (10, 20, 30, 40) if u > step]


def test_resumes_from_lightnings_own_checkpoint(tmp_path):
    saver = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=4, save_top_k=-1)
    fit(tmp_path, (10, 2), callbacks=[saver], enable_checkpointing=True, max_epochs=2)
    for path in sorted(tmp_path.glob("*.ckpt")):
        saved = torch.load(path, weights_only=True)["global_step"]
        assert fit(tmp_path, (10, 2), resume=path, max_epochs=3).updates == list(range(saved, 30))


def test_a_step_that_skips_updates_is_a_mistake(tmp_path):
    class Lazy(Recorder):
        def training_step(self, chunk: UpdateChunk) -> None:
            super().training_step(UpdateChunk(chunk.first, 1, chunk.source))

    with pytest.raises(RuntimeError, match="got 4 updates but made 1"):
        trainer(tmp_path, max_epochs=1).fit(Lazy(), datamodule=Data(10, 4))


@pytest.mark.parametrize("sizes", [(0, 1), (10, 0)])
def test_nonsense_sizes_are_refused(tmp_path, sizes):
    with pytest.raises(UserError, match="must be at least 1"):
        UpdateLoader(Numbers(), trainer(tmp_path), *sizes)
