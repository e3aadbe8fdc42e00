"""An episode as moving pictures, of any Gymnasium environment that can draw itself."""

import io
import os
import warnings
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from jaxtyping import UInt8
from PIL import Image

from iqlightning.envs.gymnasium import made_by_gymnasium
from iqlightning.envs.mujoco_drawing import drawing_backend, is_mujoco
from iqlightning.errors import UserError
from iqlightning.evaluation.choice import choose_actions
from iqlightning.types import EnvConfig, Policy

__all__ = ["Animation", "animation", "record_episode"]

# milliseconds of a frame: browsers show what is meant to be faster far too long, and a long episode is shown in haste
_FASTEST, _SLOWEST = 20, 100


class Animation(NamedTuple):
    """An animated GIF; sizes are in pixels."""

    gif: bytes
    height: int
    width: int


def animation(frames: list[UInt8[np.ndarray, "height width rgb"]], milliseconds: int) -> Animation:
    """Frames of one size, shown again and again for so many milliseconds each."""
    images = [Image.fromarray(frame).convert("P", palette=Image.Palette.ADAPTIVE) for frame in frames]
    buffer = io.BytesIO()
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=milliseconds, loop=0)
    return Animation(buffer.getvalue(), images[0].height, images[0].width)


def record_episode(
    policy: Policy,
    env: EnvConfig,
    seed: int,
    *,
    sample: bool = False,
    most_frames: int = 80,
    side: int = 240,
    device: str | torch.device = "cpu",
) -> Animation:
    """Plays one episode and draws every k-th state, k a power of 2 that grows until the frames are not too many.

    Where episodes are known to be long k begins with more than 1, since drawing may take longer than playing.

    Args:
        policy: acts on (1, *shape) observations on ``device``.
        env: with a Gymnasium id.
        seed: of the episode and of drawn actions.
        sample: draw from the policy instead of acting greedily.
        most_frames: of the animation.
        side: longest side in pixels; larger pictures are scaled down.
        device: where the policy is.

    Raises:
        UserError: if the environment cannot draw itself, in general or on this machine.
    """
    spec = env.gymnasium_spec()
    if spec is None:
        raise UserError(f"'{env.name}' is no Gymnasium environment and cannot draw itself")
    env_id, kwargs = spec
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a mode that there is not, which is said below
        game = made_by_gymnasium(env_id, lambda: gymnasium.make(env_id, render_mode="rgb_array", **kwargs))
    if "rgb_array" not in (game.metadata.get("render_modes") or ()):
        game.close()
        raise UserError(f"'{env_id}' does not draw itself as pictures (render mode rgb_array)")
    if is_mujoco(game):
        backend = drawing_backend()
        if backend is None:
            raise UserError(
                f"'{env_id}' cannot be drawn on this machine: MuJoCo finds no OpenGL to draw with; without a display "
                "it needs the library of EGL or OSMesa (variable MUJOCO_GL: egl or osmesa)"
            )
        os.environ["MUJOCO_GL"] = backend
        renderer: Any = getattr(game.unwrapped, "mujoco_renderer", None)
        if renderer is not None:  # without a graphics card, every pixel takes its time
            renderer.width = renderer.height = side
            if game.unwrapped.model.ncam and renderer.camera_id == -1:
                renderer.camera_id = 0  # the one that follows; the free one stays where the episode began
    dtype = torch.uint8 if game.observation_space.dtype == np.uint8 else torch.float32
    row = torch.zeros(1, dtype=torch.int64, device=device)
    longest = game.spec.max_episode_steps if game.spec is not None else None
    every = 1 << max(0, ((longest or 0) // (4 * most_frames)).bit_length() - 1)
    frames, move, ended = [], 0, False
    try:
        obs, _ = game.reset(seed=seed)
        while True:
            if move % every == 0 or ended:
                frames.append(_drawn(game, env_id, side))
            if ended:
                break
            if len(frames) >= most_frames:
                frames, every = frames[::2], 2 * every
            move += 1
            seen = torch.as_tensor(np.asarray(obs), device=device).to(dtype)[None]
            action = choose_actions(policy, seen, row, move, seed=seed, sample=sample, temperature=None)[0].cpu()
            obs, _, terminated, truncated, _ = game.step(_as_gymnasium(action, game.action_space))
            ended = bool(terminated or truncated)
    finally:
        game.close()
    rate = float(game.metadata.get("render_fps") or 30)
    return animation(frames, min(_SLOWEST, max(_FASTEST, round(1000 * every / rate))))


def _as_gymnasium(action: torch.Tensor, space: gymnasium.Space) -> Any:
    if isinstance(space, spaces.Discrete):
        return int(action) + int(space.start)
    return action.numpy()


def _drawn(game: Any, env_id: str, side: int) -> UInt8[np.ndarray, "height width rgb"]:
    try:
        picture = Image.fromarray(np.asarray(game.render(), dtype=np.uint8)).convert("RGB")
    except Exception as error:  # each simulator has its own way of saying that it has nothing to draw with
        said = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(f"'{env_id}' cannot be drawn on this machine ({said})") from error
    picture.thumbnail((side, side))
    return np.asarray(picture)
