"""A page's server inside the test's own event loop, and a page that talks to it."""

import asyncio
import contextlib
import functools
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import torch

from iqlightning.agents.soft_q import SoftQ
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.encoders import GridCNN
from iqlightning.gridworld.page.contenders import Contender
from iqlightning.gridworld.page.recording import RecordingFolder
from iqlightning.gridworld.page.server import Limits, PlayServer
from iqlightning.gridworld.page.session import Session
from iqlightning.losses.values import SoftValue
from iqlightning.nets.encoders import MLP
from iqlightning.nets.q_network import QNetwork
from iqlightning.policies import AgentPolicy

SMALL = GridWorldConfig(height=4, width=5, num_walls=2)
SETTINGS = {"random_walls": True, "random_goal": True, "random_start": True, "height": 4, "width": 5, "num_walls": 2}

#: Names of recordings that could lead elsewhere.
HOSTILE_NAMES = [
    ".",
    "..",
    "../x",
    "a/b",
    "a\\b",
    "/etc/passwd",
    "a.b",
    ".hidden",
    "-x",
    "_x",
    "a b",
    "a\n",
    "a\0",
    "ä",
    "x" * 65,
    "a%2fb",
    "~",
    "~root",
    "$HOME",
    "a;b",
    "\ud800",
    "\u202e",
    "%s%n",
    "-rf",
]

#: Attackers are faster than people.
UNHURRIED = Limits(messages_per_second=1e9, burst=10**9)


def policy(encoder: Any = GridCNN, env: GridWorldConfig = SMALL, seed: int = 0) -> AgentPolicy:
    torch.manual_seed(seed)
    network = QNetwork(env.observation_shape, 4, 1.0, encoder)
    network.eval()
    return AgentPolicy(
        SoftQ.of(env.spaces, network, SoftValue(0.1)), gamma=0.9, env=env, info={"algorithm": "IQLearn", "updates": 3}
    )


def session(folder: Path) -> Session:
    return sessions(folder)()


def sessions(folder: Path) -> Callable[[], Session]:
    contenders = [Contender("any size", policy()), Contender("one size", policy(MLP)), Contender("exact optimum")]
    recordings = RecordingFolder(folder)
    return lambda: Session(contenders, recordings, seed=3, default=SMALL)


class Site:
    """A running server and an HTTP client."""

    def __init__(self, server: PlayServer, client: aiohttp.ClientSession) -> None:
        self.server, self.client = server, client
        self.base, self.token = server.url.split("/?token=")
        self.host = self.base.removeprefix("http://")

    def connect(self, *, token: str | None = None, **headers: str | None) -> Any:
        """A WebSocket as the page opens it, with other headers where they are given; None leaves one out."""
        sent = {"Origin": self.base, "Host": self.host} | {name.title(): value for name, value in headers.items()}
        sent = {name: value for name, value in sent.items() if value is not None}
        query = f"?token={self.token if token is None else token}"
        return self.client.ws_connect(f"{self.base}/ws{query}", headers=sent)

    async def refused(self, **options: Any) -> int:
        """The status with which a WebSocket is refused."""
        try:
            async with self.connect(**options):
                raise AssertionError("it was accepted")
        except aiohttp.WSServerHandshakeError as error:
            return error.status

    async def get(self, path: str, *, token: bool = True, **headers: str) -> tuple[int, Any, str]:
        """Status, headers and body, with the path sent as it is."""
        from yarl import URL

        sent = {name.title().replace("_", "-"): value for name, value in headers.items()}
        if token:
            path += ("&" if "?" in path else "?") + f"token={self.token}"
        async with self.client.get(URL(self.base + path, encoded=True), headers=sent, allow_redirects=False) as answer:
            return answer.status, answer.headers, await answer.text()


@contextlib.asynccontextmanager
async def serving(folder: Path, limits: Limits | None = UNHURRIED) -> AsyncIterator[Site]:
    server = PlayServer(sessions(folder), limits)
    await server.start(0)
    try:
        # without a cookie jar: what a browser would remember is given where it matters
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:
            yield Site(server, client)
    finally:
        await server.stop()


async def ask(socket: aiohttp.ClientWebSocketResponse, type: str, **fields: Any) -> dict[str, Any]:
    await socket.send_str(json.dumps({"type": type, **fields}))
    return await socket.receive_json(timeout=60)


def run(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(main, 240))


def in_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Makes a test of a coroutine."""

    @functools.wraps(test)
    def run_test(**given: Any) -> None:
        run(test(**given))

    return run_test


def solve(grid: dict[str, Any]) -> list[int]:
    """Moves of a shortest way from start to goal, breadth first."""
    height, width, walls, goal = grid["height"], grid["width"], grid["walls"], grid["goal"]
    ways: dict[int, list[int]] = {grid["start"]: []}
    queue = [grid["start"]]
    for cell in queue:
        row, column = divmod(cell, width)
        for action, (down, across) in enumerate([(-1, 0), (0, 1), (1, 0), (0, -1)]):
            r, c = row + down, column + across
            to = r * width + c
            if 0 <= r < height and 0 <= c < width and walls[to] == "0" and to not in ways:
                ways[to] = [*ways[cell], action]
                queue.append(to)
    return ways[goal]
