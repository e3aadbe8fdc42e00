"""``play [CKPT ...]``: a local page to play, record demonstrations and watch checkpoints."""

import asyncio
import contextlib
import os
import secrets
import signal
import sys
import tempfile
import webbrowser
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from iqlightning.cli.gridworld_options import add_gridworld_options, changed_environment, require_gridworld
from iqlightning.cli.options import Options, device_of, natural
from iqlightning.errors import UserError
from iqlightning.files import check_output, write_atomically
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.page.contenders import contenders_of
from iqlightning.gridworld.page.export import static_page
from iqlightning.gridworld.page.recording import RecordingFolder
from iqlightning.gridworld.page.server import PlayServer
from iqlightning.gridworld.page.session import Session
from iqlightning.interruption import ENDING, Interrupted, leave_terminal, takes

__all__ = ["run"]

_PORT = 8420

# seconds between attempts to write what the disk had no room for
_PATIENCE = 5.0


def run(arguments: Sequence[str], command: str) -> None:
    """Parses the options, loads the checkpoints and serves the page until it is interrupted."""
    options = _options(command)
    given = options.parse_args(arguments)
    if given.port > 65535:
        raise UserError(f"--port must be a whole number from 0 to 65535, not {given.port}")
    page = None
    if given.export is not None:
        page = check_output(Path(given.export) / "index.html", "page", force=given.force, mark=options.mark)
    device = device_of(given.device)
    contenders = contenders_of(given.checkpoints, device)
    first = contenders[0].policy
    env = changed_environment(None if first is None else first.env, given)
    env = require_gridworld(env, f"the page plays GridWorld only, not '{env.name}'")
    folder = RecordingFolder(_folder(given.data))
    seed = secrets.randbelow(2**31) if given.seed is None else given.seed
    # the page has no field for it
    default = GridWorldConfig(env.level, env.height, env.width, env.wall_count, random_start=env.random_start)
    if page is not None:
        write_atomically(page, static_page(contenders, default, seed, options.mark).encode(), what="page")
        print(f"wrote {page}: open it in a browser, or put it on a web site; it needs no server")
        return
    server = PlayServer(lambda: Session(contenders, folder, seed, default))
    asyncio.run(_serve(server, folder, given.port, given.open))


def _options(command: str) -> Options:
    options = Options(
        command,
        "Open a local web page: play GridWorld, record demonstrations, watch checkpoints. Ctrl-C ends it.",
        trusting=True,
    )
    options.add_argument(
        "checkpoints", metavar="CKPT", nargs="*", help="checkpoints, or folders of runs, to watch; two can be compared"
    )
    options.add_argument("--port", type=natural, default=_PORT, help="port on 127.0.0.1; 0: any free one")
    options.add_argument("--data", metavar="DIR", default="data", help="folder that recordings go to")
    options.add_argument("--seed", type=natural, default=None, help="seed of the grids; None: another each time")
    options.add_argument("--device", default="cpu", help="auto, cpu, cuda, cuda:1, ...")
    options.add_argument(
        "--export", metavar="DIR", help="write DIR/index.html, the page with these networks in it, and serve nothing"
    )
    options.add_argument("--force", action="store_true", help="replace that file, whoever made it")
    options.add_argument("--no-open", dest="open", action="store_false", help="do not open a browser")
    add_gridworld_options(options, instead_of="its default, or as in the first checkpoint's training")
    return options


def _folder(name: str) -> Path:
    folder = Path(name)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"'{folder}' is a file; --data names the folder that recordings go to")
    return folder


async def _serve(server: PlayServer, folder: RecordingFolder, port: int, open_browser: bool) -> None:
    stopped = asyncio.Event()
    by = signal.SIGTERM

    def stop(signum: signal.Signals) -> None:
        nonlocal by
        by = signum
        leave_terminal(signum)
        stopped.set()

    # an exception thrown in by the signal itself could end up in any task
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
        for each in filter(takes, ENDING):
            asyncio.get_running_loop().add_signal_handler(each, stop, each)
    await server.start(port)
    writing = asyncio.create_task(_write_what_waits(server, folder))
    try:
        with tempfile.TemporaryDirectory(prefix="iqlightning-") as private:  # nobody else may look into it
            print(f"open {server.url}\nCtrl-C ends it; recordings are safe on the disk", flush=True)
            if open_browser and _has_display():
                await asyncio.get_running_loop().run_in_executor(None, _open, server.url, Path(private))
            await stopped.wait()
    finally:
        writing.cancel()
        await server.stop()
        for trouble in folder.write_waiting():
            print(f"iqlightning: {trouble}; it is lost", file=sys.stderr)
    raise Interrupted(by, f"stopped by {by.name}")


async def _write_what_waits(server: PlayServer, folder: RecordingFolder) -> None:
    """Tries now and then to write episodes that the disk had no room for."""
    while True:
        await asyncio.sleep(_PATIENCE)
        await server.in_worker(folder.write_waiting)


def _has_display() -> bool:
    """Whether a browser would have a window: a text browser in the terminal is not what is meant."""
    return sys.platform in ("win32", "darwin") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))


def _open(url: str, folder: Path) -> Any:
    """Opens a file that leads to the page: everybody on the machine can see the command line of a browser."""
    file = folder / "open.html"
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as page:
        page.write(
            '<!doctype html><meta charset="utf-8"><title>iqlightning play</title>'
            f'<meta http-equiv="refresh" content="0; url={escape(url)}"><a href="{escape(url)}">open the page</a>\n'
        )
    with contextlib.suppress(webbrowser.Error):
        return webbrowser.open(file.as_uri())
