import io
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from PIL import Image

from iqlightning.envs import mujoco_drawing
from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.errors import UserError
from iqlightning.evaluation import video
from iqlightning.evaluation.video import animation, record_episode
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


class Second:
    def act(self, observations: torch.Tensor, *, sample: bool = False) -> torch.Tensor:
        return torch.ones(len(observations), dtype=torch.int64)


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
    shown = record_episode(Second(), env, 0)
    assert frames_of(shown.gif) == 51
    assert (shown.height, shown.width) == (60, 100)


def test_a_long_one_is_thinned_out_and_a_large_one_scaled_down(registered):
    shown = record_episode(Second(), GymnasiumConfig("GrowingPicture-v0"), 0, most_frames=20, side=50)
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
        record_episode(Second(), env, 0)


def test_mujoco_without_opengl_is_a_sentence(monkeypatch):
    pytest.importorskip("mujoco")
    monkeypatch.setattr(video, "drawing_backend", lambda: None)
    with pytest.raises(UserError, match=r"'InvertedPendulum-v5' cannot be drawn .* MUJOCO_GL"):
        record_episode(Second(), GymnasiumConfig("InvertedPendulum-v5"), 0)


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


def test_frames_become_an_animation():
    shown = animation([np.full((4, 6, 3), value, np.uint8) for value in (0, 128, 255)], 40)
    assert frames_of(shown.gif) == 3
    assert shown[1:] == (4, 6)
