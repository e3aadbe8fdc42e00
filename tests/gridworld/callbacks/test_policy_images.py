import io
from pathlib import Path

from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from small_runs import demonstrations, learner, trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from iqlightning.callbacks.board_layout import BoardLayout
from iqlightning.callbacks.policy_evaluation import PolicyEvaluation
from iqlightning.gridworld.callbacks.policy_images import PolicyImages


def _events(folder: str | None) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"images": 0, "tensors": 0}).Reload()


def test_training_ends_with_pictures_and_an_animation(tmp_path: Path) -> None:
    run = trainer(tmp_path, [PolicyImages(episodes=30, num_grids=2, animated=3)], max_steps=20)
    run.fit(learner(), datamodule=demonstrations(tmp_path))
    events = _events(run.log_dir)
    assert set(events.Tags()["images"]) == {"failures", "success", "visitation", "episodes"}
    (animation,) = events.Images("episodes")
    assert animation.step == 20
    with Image.open(io.BytesIO(animation.encoded_image_string)) as gif:
        assert gif.format == "GIF"
        assert getattr(gif, "n_frames", 1) > 2
        assert gif.size == (animation.width, animation.height)


def test_pictures_at_validations(tmp_path: Path) -> None:
    run = trainer(tmp_path, [PolicyImages(every_n_validations=2, episodes=10)], max_steps=30)
    run.fit(learner(), datamodule=demonstrations(tmp_path))
    assert [event.step for event in _events(run.log_dir).Images("failures")] == [10, 30]


def test_a_run_without_logger_draws_nothing(tmp_path: Path) -> None:
    run = trainer(tmp_path, [PolicyImages(episodes=10), BoardLayout()], max_steps=10, logger=False)
    run.fit(learner(), datamodule=demonstrations(tmp_path))


def test_the_board_is_arranged_and_the_run_gets_a_line_in_the_table(tmp_path: Path) -> None:
    board = TensorBoardLogger(str(tmp_path), name="run", default_hp_metric=False)
    encoder = {"class_path": "iqlightning.nets.encoders.mlp.MLP", "init_args": {"hidden": [16]}}
    board.log_hyperparams({"model": {"init_args": {"gamma": 0.99, "target": None, "encoder": encoder}}})
    run = trainer(tmp_path, [PolicyEvaluation(episodes=20), BoardLayout()], max_steps=10, logger=board)
    run.fit(learner(), datamodule=demonstrations(tmp_path))
    events = _events(run.log_dir)
    assert "custom_scalars__config__" in events.Tags()["tensors"]
    plugins = events.summary_metadata
    assert {"_hparams_/experiment", "_hparams_/session_start_info", "_hparams_/session_end_info"} <= plugins.keys()
    start = plugins["_hparams_/session_start_info"].plugin_data.content
    for word in (b"gamma", b"MLP", b"IQLearn"):
        assert word in start
    for word in (b"target", b"hidden"):
        assert word not in start
    assert events.Scalars("final/success_rate")[0].step == 10
