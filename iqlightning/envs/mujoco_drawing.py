"""Which OpenGL MuJoCo can draw with on this machine."""

import os
import subprocess
import sys
import tempfile
from functools import lru_cache
from typing import Any

__all__ = ["drawing_backend", "is_mujoco"]

_VARIABLE = "MUJOCO_GL"
_PROBE = (
    "import gymnasium; game = gymnasium.make('InvertedPendulum-v5', render_mode='rgb_array'); "
    "game.reset(seed=0); game.render(); import os; os._exit(0)"
)
_PATIENCE = 60  # seconds


def is_mujoco(env: Any) -> bool:
    """Whether a Gymnasium environment is one of MuJoCo's."""
    return any(base.__module__.startswith("gymnasium.envs.mujoco") for base in type(env.unwrapped).__mro__)


@lru_cache(maxsize=1)
def drawing_backend() -> str | None:
    """The value of ``MUJOCO_GL`` to draw with; None where nothing works.

    It is found out in a process of its own: some failures to draw do not raise but abort, and a run has to go on. A
    value that the user has set is the only one tried.
    """
    given = os.environ.get(_VARIABLE)
    shown = sys.platform != "linux" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    backends = [given] if given else [*(["glfw"] if shown else []), "egl", "osmesa"]
    return next((each for each in backends if _draws(each)), None)


def _draws(backend: str) -> bool:
    command = [sys.executable, "-c", _PROBE]
    try:
        with tempfile.TemporaryDirectory() as folder:  # MuJoCo leaves a log of its warnings where it is started
            ended = subprocess.run(
                command,
                env=os.environ | {_VARIABLE: backend},
                cwd=folder,
                capture_output=True,
                timeout=_PATIENCE,
                check=False,
            )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return ended.returncode == 0
