"""Models of Stable-Baselines3 as players, read from the files that its ``save`` writes."""

import json
import warnings
import zipfile
import zlib
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor

from iqlightning.errors import UserError
from iqlightning.spaces import action_dtype
from iqlightning.types import EnvConfig

__all__ = ["ALGORITHMS", "StableBaselinesPolicy", "algorithm_of"]

#: Algorithms whose models can be played.
ALGORITHMS = ("A2C", "DDPG", "DQN", "PPO", "SAC", "TD3")

# A setting that the first algorithm here with it has and none after it; what its models say is all that tells them.
_MARKS = {
    "cg_max_steps": "TRPO",
    "clip_range": "PPO",
    "exploration_initial_eps": "DQN",
    "target_entropy": "SAC",
    "target_policy_noise": "TD3",
    "gae_lambda": "A2C",
}

_DAMAGED = (zlib.error, zipfile.BadZipFile)

# Bytes of the settings in a file; a policy's are some ten thousand.
_LARGEST = 1 << 26


class StableBaselinesPolicy:
    """A model of Stable-Baselines3, played without noise.

    Such a file holds pickled parts, which may run anything when they are read: make one of these only of a file that is
    trusted. Where observations were normalised in training by ``VecNormalize``, its statistics are in another file, and
    the model alone plays badly.

    Args:
        path: a ``.zip`` file that the model's ``save`` wrote.
        env: which environment is played; the file does not say.
        algorithm: one of :data:`ALGORITHMS`; None for the one that the file speaks of.
        device: where to play.

    Raises:
        UserError: if there is no such file, it is no such model or one of another library, Stable-Baselines3 is not
            installed or cannot read it, or the model is for other observations or actions than the environment's.
    """

    def __init__(
        self, path: str | Path, env: EnvConfig, algorithm: str | None = None, device: str | torch.device = "cpu"
    ) -> None:
        self.algorithm = algorithm or algorithm_of(path)
        try:
            library = import_module("stable_baselines3")  # heavy, and an extra
        except ImportError as error:
            raise UserError(
                f"'{path}' is a model of Stable-Baselines3, which is not installed: pip install 'iqlightning[sb3]'"
            ) from error
        # what training alone needs: room for transitions, and functions that files of other versions cannot give
        unused = {"buffer_size": 1, "learning_rate": 0.0, "lr_schedule": _nothing, "clip_range": _nothing}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._model: Any = getattr(library, self.algorithm).load(
                    path, device=str(device), custom_objects=unused
                )
        except Exception as error:  # whatever unpickling and building networks can raise
            detail = " ".join(str(error).split())
            raise UserError(
                f"Stable-Baselines3 cannot read '{path}' as a model of {self.algorithm} ({type(error).__name__}: "
                f"{detail:.160}); say with --sb3 which algorithm it is of"
            ) from error
        self._actions, self._codec = env.spaces.action, env.spaces.codec
        theirs, shape = self._model.observation_space.shape, env.spaces.observation_shape
        others = len(shape) == 1 and theirs != shape
        if self._codec is not None:
            shape = self._codec.native.shape
            own, model = self._codec.native, self._model.observation_space
            # pictures may have been turned round for the model, which then turns them itself
            others = own != model if not isinstance(own, Box) else len(own.shape) != 3 and theirs != shape
        if others or self._model.action_space != self._actions:
            raise UserError(
                f"'{path}' is a model for observations of shape {theirs} and actions {self._model.action_space}, "
                f"and '{env.name}' has {shape} and {self._actions}"
            )

    @property
    def label(self) -> str:
        """What to call it."""
        return f"Stable-Baselines3 {self.algorithm}"

    def act(self, observations: Tensor, *, sample: bool = False) -> Tensor:
        """The model's deterministic actions; none are drawn."""
        seen = observations.cpu().numpy() if self._codec is None else self._codec.decode(observations)
        actions, _ = self._model.predict(seen, deterministic=True)
        return torch.as_tensor(np.asarray(actions), device=observations.device).to(action_dtype(self._actions))


def algorithm_of(path: str | Path) -> str:
    """Which algorithm a model is of, by the settings in its file; nothing is unpickled.

    Raises:
        UserError: if the file is no model, or of an algorithm that cannot be played or told.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("data").file_size > _LARGEST:
                raise ValueError("its settings are too long")
            settings = json.loads(archive.read("data"))
            policy = settings["policy_class"].get("__module__", "")
    except FileNotFoundError as error:
        raise UserError(f"there is no file '{path}'") from error
    except (OSError, ValueError, LookupError, AttributeError, TypeError, RuntimeError, *_DAMAGED) as error:
        raise UserError(f"'{path}' is not a model of Stable-Baselines3: it has no settings that can be read") from error
    found = next((name for mark, name in _MARKS.items() if mark in settings), None)
    if found == "TD3" and settings.get("policy_delay") == 1 and settings.get("target_noise_clip") == 0:
        found = "DDPG"  # which is TD3 without what was new in it
    own = "play it with a function of your own, --policy MODULE:NAME"
    if found not in ALGORITHMS or policy.startswith("sb3_contrib"):
        what = "an algorithm of sb3_contrib" if found in (*ALGORITHMS, "TRPO") else "an unknown algorithm"
        raise UserError(f"'{path}' is a model of {what}; those of {', '.join(ALGORITHMS)} can be played; {own}")
    return found


def _nothing(_: float) -> float:
    return 0.0
