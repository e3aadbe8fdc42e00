"""What Lightning's trainer offers works here, in updates, or is refused in a sentence."""

import csv
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch import callbacks
from lightning.pytorch.loggers import CSVLogger
from small_runs import GRID, learner, quiet_trainer, weights

from iqlightning.algorithms import BehaviorCloning
from iqlightning.algorithms.schedules import Cosine
from iqlightning.algorithms.trainer_options import require_supported
from iqlightning.data.imitation_data import ImitationData
from iqlightning.errors import UserError


class Writer(callbacks.Callback):
    """Writes down at which updates validations and ends of epochs come."""

    def __init__(self) -> None:
        self.validated: list[int] = []
        self.epochs: list[int] = []

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self.validated.append(trainer.global_step)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.epochs.append(trainer.global_step)


def data(folder: Path, **options: Any) -> ImitationData:
    settings: dict[str, Any] = {"episodes": 40, "batch_size": 16, "updates_per_epoch": 20, "updates_per_step": 8}
    return ImitationData(GRID, directory=str(folder), **(settings | options))


def fit(folder: Path, model: Any = None, batches: Any = None, **options: Any) -> tuple[lightning.Trainer, Writer]:
    writer = Writer()
    settings: dict[str, Any] = {"max_epochs": 2, "num_sanity_val_steps": 0} | options
    settings["callbacks"] = [*settings.get("callbacks", ()), writer]
    trainer = quiet_trainer(default_root_dir=str(folder), **settings)
    trainer.fit(model or learner(BehaviorCloning), batches or data(folder))
    return trainer, writer


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"overfit_batches": 1}, "overfit_batches.*--data.episodes"),
        ({"accumulate_grad_batches": 2}, "accumulate_grad_batches.*--data.batch_size"),
        ({"gradient_clip_val": 1.0}, "gradient_clip_val.*--model.max_grad_norm"),
        ({"precision": "16-true"}, "precision 16-true is not offered"),
        ({"val_check_interval": 30}, "val_check_interval 30.*20 updates.*check_val_every_n_epoch to null"),
        ({"log_every_n_steps": 0}, "log_every_n_steps"),
        ({"callbacks": [callbacks.StochasticWeightAveraging(1e-2)]}, "StochasticWeightAveraging cannot work here"),
        ({"callbacks": [callbacks.BackboneFinetuning()]}, "BackboneFinetuning cannot work here"),
        ({"callbacks": [callbacks.LearningRateFinder()]}, "LearningRateFinder cannot work here"),
        (
            {
                "callbacks": [callbacks.ModelCheckpoint(train_time_interval=timedelta(seconds=1))],
                "enable_checkpointing": True,
            },
            "train_time_interval.*every_n_train_steps",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_use_instead(tmp_path, options, sentence):
    with pytest.raises(UserError, match=sentence):
        fit(tmp_path, **options)


def test_scaled_losses_are_refused():
    # on a CPU Lightning itself takes bf16-mixed instead
    asked: dict[str, Any] = {"gradient_clip_val": None, "gradient_clip_algorithm": None}
    with pytest.raises(UserError, match=r"precision 16-mixed is not offered.*bf16-mixed"):
        require_supported(SimpleNamespace(overfit_batches=0, accumulate_grad_batches=1, precision="16-mixed", **asked))


@pytest.mark.parametrize(("limit", "updates"), [(5, 5), (0.5, 10), (100, 20), (None, 20)])
def test_limit_train_batches_counts_updates(tmp_path, limit, updates):
    trainer, writer = fit(tmp_path, limit_train_batches=limit)
    assert trainer.global_step == 2 * updates
    assert writer.epochs == writer.validated == [updates, 2 * updates]


@pytest.mark.parametrize(
    ("options", "validated"),
    [
        ({"val_check_interval": 10}, [10, 20, 30, 40]),
        ({"val_check_interval": 0.25}, [5, 10, 15, 20, 25, 30, 35, 40]),
        ({"val_check_interval": 15}, [15, 35]),
        ({"val_check_interval": 15, "check_val_every_n_epoch": None}, [15, 30]),
        ({"val_check_interval": 30, "check_val_every_n_epoch": None}, [30]),
        ({"check_val_every_n_epoch": 2}, [40]),
        ({"limit_val_batches": 0}, []),
    ],
)
def test_validations_come_at_the_interval_in_updates(tmp_path, options, validated):
    assert fit(tmp_path, **options)[1].validated == validated


def test_validations_across_epochs_go_on_after_a_resume(tmp_path):
    options = {"val_check_interval": 15, "check_val_every_n_epoch": None}
    trainer, _ = fit(tmp_path, max_steps=27, **options)
    trainer.save_checkpoint(tmp_path / "begun.ckpt", weights_only=False)
    writer = Writer()
    rest = quiet_trainer(max_steps=80, callbacks=[writer], **options)
    rest.fit(learner(BehaviorCloning), data(tmp_path), ckpt_path=str(tmp_path / "begun.ckpt"), weights_only=True)
    assert writer.validated == [30, 45, 60, 75]
    assert writer.epochs == [40, 60, 80]


def logged_steps(logger: CSVLogger, prefix: str) -> list[int]:
    with (Path(logger.log_dir) / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [int(row["step"]) for row in rows if any(row[name] for name in row if name.startswith(prefix))]


@pytest.mark.parametrize(("log_every", "expected"), [(None, [7, 14, 21, 28, 35]), (9, [9, 18, 27, 36])])
def test_figures_are_logged_at_the_trainers_interval_unless_the_model_has_its_own(tmp_path, log_every, expected):
    logger = CSVLogger(str(tmp_path))
    fit(tmp_path, learner(BehaviorCloning, log_every=log_every), logger=logger, log_every_n_steps=7)
    assert logged_steps(logger, "train/loss") == expected


def test_checkpoints_are_saved_at_every_interval_in_updates(tmp_path):
    keep = callbacks.ModelCheckpoint(tmp_path / "kept", filename="{step}", every_n_train_steps=7, save_top_k=-1)
    fit(tmp_path, callbacks=[keep], enable_checkpointing=True)
    assert sorted(int(path.stem.removeprefix("step=")) for path in (tmp_path / "kept").iterdir()) == [7, 14, 21, 28, 35]


@pytest.mark.parametrize("ends", [{"max_epochs": 2}, {"max_epochs": -1, "max_steps": 40}])
def test_a_schedule_falls_to_the_end_of_the_run_by_epochs_or_by_steps(tmp_path, ends):
    model = learner(BehaviorCloning, schedule=Cosine(), log_every=40)
    trainer, _ = fit(tmp_path, model, **ends)
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(Cosine().factor(39, 40) * 1e-3)


def test_runs_can_be_stopped_by_any_logged_figure(tmp_path):
    for monitor in ("train/loss", "train/grad_norm", "val/log_likelihood"):
        stop = callbacks.EarlyStopping(monitor, min_delta=1e9, patience=1)
        # nothing has been logged when it looks first
        trainer, _ = fit(tmp_path, learner(BehaviorCloning, log_every=1000), callbacks=[stop], max_epochs=9)
        assert trainer.global_step == 40


def test_a_run_goes_on_to_its_least_steps_and_epochs(tmp_path):
    for least in ({"min_steps": 50}, {"min_epochs": 3}):
        stop = callbacks.EarlyStopping("train/loss", min_delta=1e9, patience=0)
        trainer, _ = fit(tmp_path, callbacks=[stop], max_epochs=9, **least)
        assert 50 <= trainer.global_step <= 60


def test_mixed_precision_learns_the_same_whatever_the_grouping(tmp_path):
    models = [learner(BehaviorCloning) for _ in range(2)]
    for model, group in zip(models, (1, 8), strict=True):
        fit(tmp_path, model, data(tmp_path, updates_per_step=group), precision="bf16-mixed")
    assert torch.equal(*map(weights, models))


@pytest.mark.parametrize(
    "options",
    [
        {"precision": "bf16-true"},
        {"precision": "64-true"},
        {"detect_anomaly": True},
        {"profiler": "simple"},
        {"num_sanity_val_steps": 2},
        {"reload_dataloaders_every_n_epochs": 1},
        {"max_time": {"minutes": 5}},
        {"inference_mode": False},
    ],
)
def test_options_that_change_no_count_of_updates(tmp_path, options):
    assert fit(tmp_path, **options)[0].global_step == 40


def test_a_trial_run_makes_as_many_updates_as_asked(tmp_path):
    assert fit(tmp_path, fast_dev_run=3)[0].global_step == 3


def test_averaged_weights_take_part_in_every_update(tmp_path):
    class Counting(callbacks.WeightAveraging):
        steps: list[int]

        def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
            if step_idx is not None:
                self.steps.append(step_idx)
            return step_idx is not None

    averaging = Counting()
    averaging.steps = []
    fit(tmp_path, callbacks=[averaging])
    assert averaging.steps == list(range(40))


def test_rates_are_monitored_at_the_trainers_interval(tmp_path):
    logger = CSVLogger(str(tmp_path))
    fit(tmp_path, logger=logger, log_every_n_steps=5, callbacks=[callbacks.LearningRateMonitor("step")])
    assert len(logged_steps(logger, "lr-")) == 8
