import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from iqlightning.callbacks.event_logger import EventLogger, show_picture, tag_of


def read(logger: TensorBoardLogger) -> EventAccumulator:
    logger.finalize("success")
    found = EventAccumulator(logger.log_dir, size_guidance={"scalars": 0, "images": 0})
    return found.Reload()


def test_figures_of_a_moment_are_one_record_and_come_back(tmp_path):
    logger = EventLogger(str(tmp_path), name="run", default_hp_metric=False)
    written = []
    add = logger.experiment._get_file_writer().add_summary
    logger.experiment._get_file_writer().add_summary = lambda *given: (written.append(given), add(*given))
    for step in (20, 40):
        logger.log_metrics({"train/loss": step / 2, "train/q": 1.5, "train/count": 3, "epoch": 1}, step)
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


def test_figures_come_in_groups_with_descriptions(tmp_path):
    logger = EventLogger(str(tmp_path), name="run", default_hp_metric=False)
    logger.arrange({"val/success": "1 how good", "map": "2 maps"}, {"val/success": "Share of grids.", "map": "A map."})
    for step in (1, 2):
        logger.log_metrics({"val/success": 0.5, "train/q": 1.0, "mine": 2.0, "mine/too": 3.0}, step)
        show_picture([logger], "map", np.full((4, 6, 3), step, np.uint8), step)
    found = read(logger)
    assert set(found.Tags()["scalars"]) == {"1 how good/val/success", "9 more/train/q", "mine", "mine/too"}
    assert found.summary_metadata["1 how good/val/success"].summary_description == "Share of grids."
    assert found.summary_metadata["2 maps/map"].summary_description == "A map."
    first, second = found.Images("2 maps/map")
    assert (first.step, first.height, first.width) == (1, 4, 6)
    assert first.encoded_image_string != second.encoded_image_string


def test_another_logger_gets_plain_names(tmp_path):
    logger = TensorBoardLogger(str(tmp_path), name="run", default_hp_metric=False)
    assert tag_of(logger, "val/success") == "val/success"
    show_picture([logger], "map", np.zeros((4, 6, 3), np.uint8), 1)
    assert [event.step for event in read(logger).Images("map")] == [1]
