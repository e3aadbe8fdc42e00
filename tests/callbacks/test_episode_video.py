import io
import warnings
from pathlib import Path

import pytest
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from small_runs import board, demonstrations, learner, trainer

from iqlightning.callbacks import episode_video
from iqlightning.callbacks.episode_video import EpisodeVideo
from iqlightning.errors import UserError


def test_training_ends_with_an_episode_in_the_board_and_in_the_folder(tmp_path: Path) -> None:
    run = trainer(tmp_path, [EpisodeVideo(side=60)], max_steps=10)
    run.fit(learner(), datamodule=demonstrations(tmp_path))
    (shown,) = board(run).Images("video")
    assert shown.step == 10
    assert max(shown.width, shown.height) == 60
    with Image.open(io.BytesIO(shown.encoded_image_string)) as gif:
        assert gif.format == "GIF"
    assert (Path(str(run.log_dir)) / "episode.gif").read_bytes() == shown.encoded_image_string


def test_it_is_recorded_at_validations_on_request(tmp_path: Path) -> None:
    run = trainer(tmp_path, [EpisodeVideo(every_n_validations=2, side=40)], max_steps=30)
    run.fit(learner(), datamodule=demonstrations(tmp_path))
    assert [event.step for event in board(run).Images("video")] == [10, 30]


def test_a_run_that_cannot_draw_says_so_once_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def blind(*arguments, **options):
        raise UserError("no OpenGL")

    monkeypatch.setattr(episode_video, "record_episode", blind)
    run = trainer(tmp_path, [EpisodeVideo(every_n_validations=1)], max_steps=20)
    with pytest.warns(UserWarning, match="there is no video: no OpenGL") as seen:
        run.fit(learner(), datamodule=demonstrations(tmp_path))
    assert sum("no video" in str(each.message) for each in seen) == 1
    assert run.global_step == 20


def test_without_a_board_nothing_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(episode_video, "record_episode", lambda *arguments, **options: pytest.fail("drawn"))
    run = trainer(tmp_path, [EpisodeVideo()], max_steps=10, logger=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run.fit(learner(), datamodule=demonstrations(tmp_path))
    assert not [logger for logger in run.loggers if isinstance(logger, TensorBoardLogger)]
