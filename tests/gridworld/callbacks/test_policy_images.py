import io
from pathlib import Path

import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image, ImageSequence
from small_runs import board, demonstrations, learner, trainer

from iqlightning.callbacks.board_layout import BoardLayout
from iqlightning.callbacks.policy_evaluation import PolicyEvaluation
from iqlightning.gridworld.callbacks.policy_images import PolicyImages
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.evaluation.expert_policy import ShortestPathPolicy
from iqlightning.gridworld.evaluation.failures import path_of
from iqlightning.gridworld.evaluation.play import evaluate_gridworld
from iqlightning.gridworld.evaluation.policy_figures import episode_animation
from iqlightning.gridworld.game.palette import PLAYER, rgb


def test_training_ends_with_pictures_and_an_animation(tmp_path: Path) -> None:
    run = trainer(tmp_path, [PolicyImages(episodes=30, num_grids=2, animated=3)], max_steps=20)
    run.fit(learner(), datamodule=demonstrations(tmp_path))
    events = board(run)
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
    assert [event.step for event in board(run).Images("failures")] == [10, 30]


def test_a_run_without_logger_draws_nothing(tmp_path: Path) -> None:
    run = trainer(tmp_path, [PolicyImages(episodes=10), BoardLayout()], max_steps=10, logger=False)
    run.fit(learner(), datamodule=demonstrations(tmp_path))


def test_the_board_is_arranged_and_the_run_gets_a_line_in_the_table(tmp_path: Path) -> None:
    logger = TensorBoardLogger(str(tmp_path), name="run", default_hp_metric=False)
    encoder = {"class_path": "iqlightning.nets.encoders.mlp.MLP", "init_args": {"hidden": [16]}}
    logger.log_hyperparams({"model": {"init_args": {"gamma": 0.99, "target": None, "encoder": encoder}}})
    run = trainer(tmp_path, [PolicyEvaluation(episodes=20), BoardLayout()], max_steps=10, logger=logger)
    run.fit(learner(), datamodule=demonstrations(tmp_path))
    events = board(run)
    assert "custom_scalars__config__" in events.Tags()["tensors"]
    plugins = events.summary_metadata
    assert {"_hparams_/experiment", "_hparams_/session_start_info", "_hparams_/session_end_info"} <= plugins.keys()
    start = plugins["_hparams_/session_start_info"].plugin_data.content
    for word in (b"gamma", b"MLP", b"IQLearn"):
        assert word in start
    assert b"val/success_rate" in plugins["_hparams_/experiment"].plugin_data.content
    for word in (b"target", b"hidden"):
        assert word not in start


def test_an_animation_shows_the_way_walked_so_far() -> None:
    results = evaluate_gridworld(
        ShortestPathPolicy(0), GridWorldConfig("static", 4, 4, num_walls=0), 1, 0, record_paths=True
    )
    path = path_of(results, 0).tolist()
    assert len(path) > 2
    with Image.open(io.BytesIO(episode_animation(results, [0], cell_pixels=20).gif)) as gif:
        frames = [np.asarray(frame.convert("RGB")).astype(int) for frame in ImageSequence.Iterator(gif)]

    def is_red(frame: np.ndarray, cell: int) -> bool:
        row, column = divmod(cell, 4)
        return bool(np.abs(frame[20 * row + 10, 20 * column + 10] - rgb(PLAYER)).sum() < 60)

    for move, frame in enumerate(frames[: len(path)]):
        assert all(is_red(frame, cell) for cell in path[: move + 1])
        assert not any(is_red(frame, cell) for cell in set(range(16)) - set(path[: move + 1]))
