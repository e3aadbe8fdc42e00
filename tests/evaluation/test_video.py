import io
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from PIL import Image
from small_runs import Always

from iqlightning.envs import mujoco_drawing
from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.errors import UserError
from iqlightning.evaluation import video
from iqlightning.evaluation.environment import play_episodes
from iqlightning.evaluation.reference_policies import RandomPolicy
from iqlightning.evaluation.video import animation, record_episode, require_video, write_video
from iqlightning.files import check_output, mark_of
from iqlightning.types import EnvConfig


class Growing(gymnasium.Env):
    """Fifty moves; the picture gets lighter at each. Actions are counted from 1."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 50}  # noqa: RUF012 - as Gymnasium has it
    observation_space = spaces.Box(0.0, 100.0, (1,))
    action_space = spaces.Discrete(2, start=1)

    def __init__(self, broken: bool = False, render_mode: str | None = None) -> None:
        self.broken = broken
        self.render_mode = render_mode
        self.move = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.move = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        assert action == 2
        self.move += 1
        return np.full(1, self.move, np.float32), 1.0, self.move == 50, False, {}

    def render(self) -> Any:
        if self.broken:
            raise RuntimeError("gladLoadGL error")
        return np.full((60, 100, 3), 5 * self.move, np.uint8)


class Blind(Growing):
    metadata = {"render_modes": []}  # noqa: RUF012


@pytest.fixture
def registered():
    classes: dict[str, Any] = {"GrowingPicture-v0": Growing, "NoPicture-v0": Blind}
    for name, each in classes.items():
        gymnasium.register(name, entry_point=each, disable_env_checker=True)
    yield
    for name in classes:
        gymnasium.registry.pop(name)


def frames_of(gif: bytes) -> int:
    with Image.open(io.BytesIO(gif)) as picture:
        assert picture.format == "GIF"
        return getattr(picture, "n_frames", 1)


def test_an_episode_is_drawn_from_its_first_state_to_its_last(registered):
    env: EnvConfig = GymnasiumConfig("GrowingPicture-v0")
    shown = record_episode(Always(1), env, 0)
    assert frames_of(shown.gif) == 51
    assert (shown.height, shown.width) == (60, 100)


def test_a_long_one_is_thinned_out_and_a_large_one_scaled_down(registered):
    shown = record_episode(Always(1), GymnasiumConfig("GrowingPicture-v0"), 0, most_frames=20, side=50)
    assert 10 <= frames_of(shown.gif) <= 20
    assert (shown.height, shown.width) == (30, 50)


@pytest.mark.parametrize(
    ("env", "says"),
    [
        (
            GymnasiumConfig("GrowingPicture-v0", {"broken": True}),
            "gladLoadGL error",
        ),
        (GymnasiumConfig("NoPicture-v0"), "rgb_array"),
    ],
)
def test_what_cannot_be_drawn_is_a_sentence(registered, env, says):
    with pytest.raises(UserError, match=says):
        record_episode(Always(1), env, 0)


def test_mujoco_without_opengl_is_a_sentence(monkeypatch):
    pytest.importorskip("mujoco")
    monkeypatch.setattr(video, "drawing_backend", lambda: None)
    with pytest.raises(UserError, match=r"'InvertedPendulum-v5' cannot be drawn .* MUJOCO_GL"):
        record_episode(Always(1), GymnasiumConfig("InvertedPendulum-v5"), 0)


def test_a_backend_that_does_not_draw_is_passed_over(monkeypatch):
    tried = []
    monkeypatch.setattr(mujoco_drawing, "_draws", lambda backend: tried.append(backend) or backend == "osmesa")
    monkeypatch.setattr(mujoco_drawing.sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL"):
        monkeypatch.delenv(name, raising=False)
    find = mujoco_drawing.drawing_backend.__wrapped__
    assert find() == "osmesa"
    assert tried == ["egl", "osmesa"]
    monkeypatch.setenv("MUJOCO_GL", "glfw")  # the user's own choice is the only one
    assert find() is None
    assert tried[2:] == ["glfw"]


@pytest.mark.parametrize("sample", [False, True])
def test_a_video_shows_the_first_episode_that_an_evaluation_plays(tmp_path, sample):
    pytest.importorskip("pygame", reason="CartPole draws itself with pygame")
    env, policy = GymnasiumConfig("CartPole-v1"), RandomPolicy(spaces.Discrete(2), 5) if sample else Always(1)
    played = play_episodes(policy, env, 3, 7, sample=sample)
    filmed = write_video(tmp_path / "x.gif", policy, env, 7, sample=sample)
    assert filmed.total == played.returns[0]
    assert filmed.moves == played.lengths[0]
    assert len(set(played.returns.tolist())) > 1 or not sample
    assert 1 < frames_of((tmp_path / "x.gif").read_bytes()) <= filmed.moves + 1  # equal ones in a row are one


def test_a_small_picture_is_enlarged_and_an_episode_without_end_is_cut_off(registered, tmp_path, monkeypatch):
    env = GymnasiumConfig("GrowingPicture-v0", {"max_episode_steps": 4})
    assert write_video(tmp_path / "x.gif", Always(1), env, 0) == (4, 4.0)
    with Image.open(tmp_path / "x.gif") as picture:
        assert picture.size == (200, 120)
        assert picture.info["duration"] == 20
    monkeypatch.setattr("iqlightning.envs.gymnasium.LONGEST_EPISODE", 6)
    assert write_video(tmp_path / "x.gif", Always(1), GymnasiumConfig("GrowingPicture-v0"), 0).moves == 6


def test_a_film(registered, tmp_path):
    ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="the extra video")
    env = GymnasiumConfig("GrowingPicture-v0", {"max_episode_steps": 9})
    write_video(tmp_path / "x.mp4", Always(1), env, 0)
    frames, seconds = ffmpeg.count_frames_and_secs(str(tmp_path / "x.mp4"))
    assert frames == 10
    assert seconds == pytest.approx(10 / 50, abs=0.05)


@pytest.mark.parametrize("suffix", ["gif", "mp4"])
def test_a_film_says_who_made_it_and_by_that_may_be_replaced(registered, tmp_path, suffix):
    if suffix == "mp4":
        pytest.importorskip("imageio_ffmpeg", reason="the extra video")
    path, mark = tmp_path / f"x.{suffix}", mark_of("evaluate")
    write_video(path, Always(1), GymnasiumConfig("GrowingPicture-v0"), 0, mark=mark)
    check_output(path, "video", mark=mark)
    with pytest.raises(UserError, match="was not made by this command"):
        check_output(path, "video", mark=mark_of("report"))


def test_what_cannot_be_filmed_is_said_before(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"a video ends in .mp4 or .gif, and 'x.avi' does not"):
        require_video("x.avi")
    monkeypatch.setattr(video, "find_spec", lambda name: None)
    require_video("x.gif")
    with pytest.raises(UserError, match=r"'x.mp4' needs the extra video: pip install 'iqlightning\[video\]'"):
        require_video("x.mp4")


def test_frames_become_an_animation():
    shown = animation([np.full((4, 6, 3), value, np.uint8) for value in (0, 128, 255)], 40)
    assert frames_of(shown.gif) == 3
    assert shown[1:] == (4, 6)
