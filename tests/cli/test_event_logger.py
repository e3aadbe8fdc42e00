import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from iqlightning.cli.event_logger import EventLogger


def read(logger: EventLogger) -> EventAccumulator:
    logger.finalize("success")
    found = EventAccumulator(logger.log_dir, size_guidance={"scalars": 0})
    return found.Reload()


def test_figures_of_a_moment_are_one_record_and_come_back(tmp_path):
    logger = EventLogger(str(tmp_path), name="run", default_hp_metric=False)
    written = []
    add = logger.experiment._get_file_writer().add_summary
    logger.experiment._get_file_writer().add_summary = lambda *given: (written.append(given), add(*given))
    for step in (20, 40):
        logger.log_metrics({"train/loss": step / 2, "train/q": 1.5, "train/count": 3}, step)
    assert len(written) == 2
    found = read(logger)
    assert set(found.Tags()["scalars"]) == {"train/count", "train/loss", "train/q"}
    assert [(event.step, event.value) for event in found.Scalars("train/loss")] == [(20, 10.0), (40, 20.0)]


def test_anything_else_is_written_as_lightning_does(tmp_path):
    logger = EventLogger(str(tmp_path), name="run", default_hp_metric=False)
    logger.log_metrics({"val/success": torch.tensor(0.25), "plain": 1.0}, 5)
    found = read(logger)
    assert found.Scalars("val/success")[0].value == 0.25
    assert found.Scalars("plain")[0].step == 5
    prefixed = EventLogger(str(tmp_path), name="other", prefix="mine", default_hp_metric=False)
    prefixed.log_metrics({"loss": 2.0}, 1)
    assert read(prefixed).Tags()["scalars"] == ["mine-loss"]
