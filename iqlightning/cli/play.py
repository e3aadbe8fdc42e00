"""``play [CKPT ...]``: a local page to play, record demonstrations and watch checkpoints."""

import asyncio
import contextlib
import os
import secrets
import signal
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from iqlightning.checkpoints import load_policy
from iqlightning.cli.gridworld_options import add_gridworld_options, changed_environment, require_gridworld
from iqlightning.cli.options import Options, device_of, natural
from iqlightning.errors import UserError
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.page.contenders import Contender, check_playable, labels_of
from iqlightning.gridworld.page.recording import RecordingFolder
from iqlightning.gridworld.page.server import PlayServer
from iqlightning.gridworld.page.session import Session
from iqlightning.interruption import Interrupted

__all__ = ["run"]

_PORT = 8420


def run(arguments: Sequence[str], command: str) -> None:
    """Parses the options, loads the checkpoints and serves the page until it is interrupted."""
    given = _options(command).parse_args(arguments)
    if given.port > 65535:
        raise UserError(f"--port must be a whole number from 0 to 65535, not {given.port}")
    device = device_of(given.device)
    contenders = _contenders(given.checkpoints, device)
    first = contenders[0].policy
    env = changed_environment(None if first is None else first.env, given)
    env = require_gridworld(env, f"the page plays GridWorld only, not '{env.name}'")
    folder = RecordingFolder(_folder(given.data))
    seed = secrets.randbelow(2**31) if given.seed is None else given.seed
    # the page has no field for it
    default = GridWorldConfig(env.level, env.height, env.width, env.wall_count, random_start=env.random_start)
    server = PlayServer(lambda: Session(contenders, folder, seed, default))
    asyncio.run(_serve(server, given.port, given.open))


def _options(command: str) -> Options:
    options = Options(
        command,
        "Open a local web page: play GridWorld, record demonstrations, watch checkpoints. Ctrl-C ends it.",
        trusting=True,
    )
    options.add_argument("checkpoints", metavar="CKPT", nargs="*", help="checkpoints to watch; two can be compared")
    options.add_argument("--port", type=natural, default=_PORT, help="port on 127.0.0.1; 0: any free one")
    options.add_argument("--data", metavar="DIR", default="data", help="folder that recordings go to")
    options.add_argument("--seed", type=natural, default=None, help="seed of the grids; None: another each time")
    options.add_argument("--device", default="cpu", help="auto, cpu, cuda, cuda:1, ...")
    options.add_argument("--no-open", dest="open", action="store_false", help="do not open a browser")
    add_gridworld_options(options, instead_of="its default, or as in the first checkpoint's training")
    return options


def _contenders(paths: Sequence[str], device: torch.device) -> list[Contender]:
    """The checkpoints in the order given, and the exact optimum."""
    contenders = []
    for path, label in zip(paths, labels_of(list(paths)), strict=True):
        policy = load_policy(path, device=device)
        check_playable(policy, path)
        contenders.append(Contender(label, policy, device))
    return [*contenders, Contender("exact optimum")]


def _folder(name: str) -> Path:
    folder = Path(name)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"'{folder}' is a file; --data names the folder that recordings go to")
    return folder


async def _serve(server: PlayServer, port: int, open_browser: bool) -> None:
    stopped = asyncio.Event()
    # an exception thrown in by the signal itself could end up in any task
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await server.start(port)
    try:
        print(f"open {server.url}\nCtrl-C ends it; recordings are safe on the disk", flush=True)
        if open_browser and _has_display():
            await asyncio.get_running_loop().run_in_executor(None, _open, server.url)
        await stopped.wait()
    finally:
        await server.stop()
    raise Interrupted(signal.SIGTERM, "stopped by SIGTERM")


def _has_display() -> bool:
    """Whether a browser would have a window: a text browser in the terminal is not what is meant."""
    return sys.platform in ("win32", "darwin") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))


def _open(url: str) -> Any:
    with contextlib.suppress(webbrowser.Error):
        return webbrowser.open(url)
