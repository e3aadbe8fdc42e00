"""An episode as moving pictures, of any Gymnasium environment that can draw itself."""

import contextlib
import io
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from jaxtyping import UInt8
from PIL import Image

from iqlightning.envs.gymnasium import LONGEST_EPISODE, GymnasiumConfig
from iqlightning.envs.gymnasium_batch import seeds_of_split
from iqlightning.envs.making import errors_of
from iqlightning.envs.mujoco_drawing import drawing_backend, is_mujoco
from iqlightning.errors import UserError
from iqlightning.evaluation.choice import choose_actions
from iqlightning.files import write_atomically
from iqlightning.observation_codec import batch_of_one
from iqlightning.spaces import observation_dtype
from iqlightning.types import EnvConfig, Policy

__all__ = ["Animation", "Filmed", "animation", "record_episode", "require_video", "write_video"]

# milliseconds of a frame: browsers show what is meant to be faster far too long, and a long episode is shown in haste
_FASTEST, _SLOWEST = 20, 100

# pixels of the longest side below which the pictures of a video are enlarged
_SMALLEST = 200


class Animation(NamedTuple):
    """An animated GIF; sizes are in pixels."""

    gif: bytes
    height: int
    width: int


def animation(frames: list[UInt8[np.ndarray, "height width rgb"]], milliseconds: int, comment: str = "") -> Animation:
    """Frames of one size, shown again and again for so many milliseconds each; the file bears the comment."""
    images = [Image.fromarray(frame).convert("P", palette=Image.Palette.ADAPTIVE) for frame in frames]
    buffer = io.BytesIO()
    said = {"comment": comment.encode()} if comment else {}
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:], duration=milliseconds, loop=0, **said)
    return Animation(buffer.getvalue(), images[0].height, images[0].width)


class Filmed(NamedTuple):
    """What a video shows."""

    moves: int
    total: float


def _gif(frames: list[np.ndarray], rate: float, comment: str) -> bytes:
    return animation(frames, max(_FASTEST, round(1000 / rate)), comment).gif


def _mp4(frames: list[np.ndarray], rate: float, comment: str) -> bytes:
    imageio_ffmpeg: Any = import_module("imageio_ffmpeg")  # an extra

    # sides must be even, for the colours that every player knows
    height, width = frames[0].shape[0] // 2 * 2, frames[0].shape[1] // 2 * 2
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "video.mp4"
        writer = imageio_ffmpeg.write_frames(
            str(file),
            (width, height),
            fps=rate,
            codec="libx264",
            macro_block_size=2,
            ffmpeg_log_level="error",
            output_params=["-metadata", f"comment={comment}"],
        )
        writer.send(None)
        for frame in frames:
            writer.send(np.ascontiguousarray(frame[:height, :width]))
        writer.close()
        return file.read_bytes()


_ENCODERS: dict[str, Callable[[list[np.ndarray], float, str], bytes]] = {".mp4": _mp4, ".gif": _gif}


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

    Pictures whose longest side has more than ``side`` pixels are scaled down.

    Raises:
        UserError: if the environment cannot draw itself, in general or on this machine.
    """
    with _drawable(env, side) as game:
        longest = game.spec.max_episode_steps if game.spec is not None else None
        longest = None if longest == LONGEST_EPISODE else longest  # set where nothing is known
        every = 1 << max(0, ((longest or 0) // (4 * most_frames)).bit_length() - 1)
        frames: list[np.ndarray] = []
        for state in _states(policy, env, game, seed, seed, sample=sample, device=device):
            if state.move % every == 0 or state.ended:
                frames.append(_drawn(game, env.name, side))
            if len(frames) >= most_frames and not state.ended:
                frames, every = frames[::2], 2 * every
        rate = float(game.metadata.get("render_fps") or 30)
    return animation(frames, min(_SLOWEST, max(_FASTEST, round(1000 * every / rate))))


def write_video(
    path: str | Path,
    policy: Policy,
    env: EnvConfig,
    seed: int,
    *,
    split: str = "test",
    sample: bool = False,
    temperature: float | None = None,
    side: int = 480,
    device: str | torch.device = "cpu",
    mark: str = "",
) -> Filmed:
    """Films one episode, every state of it: of Gymnasium's environments the first that an evaluation plays.

    Args:
        path: what to write, ``.mp4`` (extra ``video``) or ``.gif``.
        policy: plays.
        env: is played; one that Gymnasium can make, and that draws itself (render mode ``rgb_array``).
        seed: of the evaluation.
        split: of its episodes.
        sample: draw actions instead of acting greedily.
        temperature: of drawn actions; None means the policy's own.
        side: pictures whose longest side has more pixels are scaled down.
        device: where the policy plays.
        mark: what the file bears of the command that made it.

    Raises:
        UserError: if the file would be of another kind, the extra is missing, the environment cannot draw itself, or
            the file cannot be written.
    """
    path = Path(path)
    require_video(path)
    own = isinstance(env, GymnasiumConfig)
    first = seeds_of_split(seed, split, torch.zeros(1, dtype=torch.int64))[0] if own else seed
    frames, total, state = [], 0.0, None
    with _drawable(env, side) as game:
        for state in _states(policy, env, game, first, seed, sample=sample, temperature=temperature, device=device):
            total += state.reward
            frames.append(_drawn(game, env.name, side, _SMALLEST))
        rate = float(game.metadata.get("render_fps") or 30)
    assert state is not None
    write_atomically(path, _ENCODERS[path.suffix.lower()](frames, rate, mark), what="video")
    return Filmed(state.move, total)


def require_video(path: str | Path) -> None:
    """Before anything is played.

    Raises:
        UserError: if the name does not end in what can be written, or the extra is missing.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _ENCODERS:
        raise UserError(f"a video ends in {' or '.join(_ENCODERS)}, and '{path}' does not")
    if suffix == ".mp4" and find_spec("imageio_ffmpeg") is None:
        raise UserError(
            f"'{path}' needs the extra video: pip install 'iqlightning[video]'; a name that ends in .gif needs none"
        )


class _State(NamedTuple):
    """Of an episode that is played; ``reward`` is that of the move which led to it."""

    move: int
    reward: float
    ended: bool


def _states(
    policy: Policy,
    env: EnvConfig,
    game: Any,
    first: int,
    seed: int,
    *,
    sample: bool,
    temperature: float | None = None,
    device: str | torch.device = "cpu",
) -> Iterator[_State]:
    """Plays one episode, reset with the seed ``first``, and hands over at every state, the first and the last too."""
    codec, dtype = env.spaces.codec, observation_dtype(env.spaces.observation)
    row = torch.zeros(1, dtype=torch.int64, device=device)
    with errors_of(env.name, "reset"):
        obs, _ = game.reset(seed=first)
    state = _State(0, 0.0, False)
    yield state
    while not state.ended:
        move = state.move + 1
        batch = batch_of_one(obs)
        seen = (torch.as_tensor(batch).to(dtype) if codec is None else codec.encode(batch)).to(device)
        action = choose_actions(policy, seen, row, move, seed=seed, sample=sample, temperature=temperature)[0].cpu()
        with errors_of(env.name, "step"):
            obs, reward, terminated, truncated, _ = game.step(_as_gymnasium(action, game.action_space))
        state = _State(move, float(reward), bool(terminated or truncated))
        yield state


@contextlib.contextmanager
def _drawable(env: EnvConfig, side: int) -> Iterator[Any]:
    """The environment as Gymnasium makes it, ready to be drawn; closed when the block is over."""
    spec = env if isinstance(env, GymnasiumConfig) else env.gymnasium_spec()
    if spec is None:
        raise UserError(f"'{env.name}' is no Gymnasium environment and cannot draw itself")
    drawn = spec if isinstance(spec, GymnasiumConfig) else GymnasiumConfig(*spec)
    env_id = drawn.id
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a mode that there is not, which is said below
        game = drawn.make_env(render_mode="rgb_array")
    try:
        if "rgb_array" not in (game.metadata.get("render_modes") or ()):
            raise UserError(f"'{env_id}' does not draw itself as pictures (render mode rgb_array)")
        if is_mujoco(game):
            backend = drawing_backend()
            if backend is None:
                raise UserError(
                    f"'{env_id}' cannot be drawn on this machine: MuJoCo finds no OpenGL to draw with; without a "
                    "display it needs the library of EGL or OSMesa (variable MUJOCO_GL: egl or osmesa)"
                )
            os.environ["MUJOCO_GL"] = backend
            renderer: Any = getattr(game.unwrapped, "mujoco_renderer", None)
            if renderer is not None:  # without a graphics card, every pixel takes its time
                renderer.width = renderer.height = side
                if renderer.model.ncam and renderer.camera_id == -1:
                    renderer.camera_id = 0  # the one that follows; the free one stays where the episode began
        yield game
    finally:
        game.close()


def _as_gymnasium(action: torch.Tensor, space: gymnasium.Space) -> Any:
    if isinstance(space, spaces.Discrete):
        return int(action) + int(space.start)
    return action.numpy()


def _drawn(game: Any, env_id: str, side: int, smallest: int = 0) -> UInt8[np.ndarray, "height width rgb"]:
    try:
        picture = Image.fromarray(np.asarray(game.render(), dtype=np.uint8)).convert("RGB")
    except Exception as error:  # each simulator has its own way of saying that it has nothing to draw with
        said = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(f"'{env_id}' cannot be drawn on this machine ({said})") from error
    if max(picture.size) < smallest:  # cells of a few pixels would be a stamp, which players smear
        factor = -(-smallest // max(picture.size))
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    picture.thumbnail((side, side))
    return np.asarray(picture)
