"""The server of the page: on the loopback address only, and only for the page that it served itself.

Any web site a browser shows can make that browser talk to a server on the same machine. So a request has to name this
machine as its host (a rebound name does not), a WebSocket has to come from a page of the same origin, and both have to
carry a token that the program printed. Sizes, connections and rates are bounded, and who has not shown the token makes
room for others.

The page lives under a path of its own, for which alone its cookie is: a browser sends cookies to every port of a
machine, where other servers, also of other people, may listen.
"""

import asyncio
import contextlib
import hmac
import json
import logging
import re
import secrets
import socket
import sys
import traceback
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from iqlightning.errors import UserError
from iqlightning.gridworld.page.definitions import definitions
from iqlightning.gridworld.page.messages import Message, parse_message
from iqlightning.gridworld.page.session import Session

__all__ = ["ADDRESS", "MODULES", "Limits", "PlayServer"]

ADDRESS = "127.0.0.1"

#: The page's own modules of JavaScript.
MODULES = ("board", "colours", "forms", "layers", "link", "main", "place", "play", "record", "walk", "watch")

_COOKIE = "iqlightning"
_LOCAL_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?")
_PAGES = {
    "/": ("index.html", "text/html"),
    "/style.css": ("style.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    **{f"/{name}.js": (f"{name}.js", "text/javascript") for name in MODULES},
}
# aiohttp tells the terminal of every malformed request, which anybody on the machine can send
_QUIET = logging.Logger("iqlightning.page", logging.CRITICAL + 1)

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Limits:
    """What one page, and all of them together, may ask of the server.

    Attributes:
        message_bytes: the longest message; a longer one ends its connection.
        sessions: WebSockets at once.
        connections: TCP connections at once; further ones are closed unread.
        messages_per_second: of one page; what comes faster waits in the sender's socket.
        burst: messages that may come at once.
        patience: seconds that a connection may take to show the token.
    """

    message_bytes: int = 32 * 1024
    sessions: int = 8
    connections: int = 64
    messages_per_second: float = 100.0
    burst: int = 200
    patience: float = 10.0


class PlayServer:
    """Serves the page and its sessions.

    Attributes:
        token: what a browser has to know.
        failures: messages whose answer raised something that was not a :class:`UserError`: bugs.
    """

    def __init__(self, new_session: Callable[[], Session], limits: Limits | None = None) -> None:
        self.token = secrets.token_urlsafe(24)
        self.failures = 0
        self._new_session = new_session
        self._limits = limits or Limits()
        self._sockets: set[web.WebSocketResponse] = set()
        self._worker = ThreadPoolExecutor(1, "session")  # one message after the other: a session is never called twice
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._known: set[Any] = set()  # connections that have shown the token
        self._port = 0
        self._place = f"/{secrets.token_urlsafe(9)}"
        folder = resources.files("iqlightning.gridworld.page") / "static"
        # read once: what is served depends on no path that a request names
        self._pages = {path: ((folder / file).read_bytes(), kind) for path, (file, kind) in _PAGES.items()}
        self._pages["/definitions.js"] = (definitions().encode(), "text/javascript")
        index, kind = self._pages["/"]
        for path in _PAGES:
            index = index.replace(f'"{path[1:]}"'.encode(), f'"{self._place}{path}"'.encode()) if path != "/" else index
        self._pages["/"] = (index, kind)

    @property
    def url(self) -> str:
        """What to open."""
        return f"http://{ADDRESS}:{self._port}/?token={self.token}"

    async def start(self, port: int) -> None:
        """Listens.

        Args:
            port: 0 is any free one.

        Raises:
            UserError: if the port cannot be had.
        """
        listener = _listen(port)
        self._port = listener.getsockname()[1]
        app = web.Application(middlewares=[self._guard], client_max_size=self._limits.message_bytes)
        for place in ("", self._place):
            for path in self._pages:
                app.router.add_get(place + path, self._page, allow_head=False)
            app.router.add_get(f"{place}/ws", self._socket, allow_head=False)
        self._runner = web.AppRunner(
            app, access_log=None, logger=_QUIET, handle_signals=False, keepalive_timeout=15.0, shutdown_timeout=2.0
        )
        await self._runner.setup()
        self._server = await asyncio.get_running_loop().create_server(self._connection, sock=listener)

    async def stop(self) -> None:
        """Closes every connection; recordings end as they are on the disk."""
        if self._server is not None:
            self._server.close()
        for each in list(self._sockets):
            with contextlib.suppress(Exception):
                await asyncio.wait_for(each.close(code=WSCloseCode.GOING_AWAY, message=b"the server stops"), 1.0)
        if self._runner is not None:
            await self._runner.cleanup()
        self._worker.shutdown(wait=True, cancel_futures=True)

    def _connection(self) -> asyncio.BaseProtocol:
        assert self._runner is not None
        assert self._runner.server is not None
        open_ones = self._runner.server.connections
        self._known.intersection_update(open_ones)
        if len(open_ones) >= self._limits.connections:
            stranger = next((each for each in open_ones if each not in self._known and not _is_closing(each)), None)
            if stranger is None:
                return _Refusal()
            self._drop(stranger)
        made = self._runner.server()
        asyncio.get_running_loop().call_later(self._limits.patience, self._drop, made)
        return made

    def _drop(self, connection: Any) -> None:
        """Ends a connection that has not shown the token."""
        if connection not in self._known and not _is_closing(connection):
            connection.transport.abort()

    # Who may ask

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        host = request.headers.get("Host", "")
        if len(request.headers.getall("Host", [])) != 1 or not _is_local(host):
            return _refused(403, "this server answers to localhost only")
        origins = request.headers.getall("Origin", [])
        if any(origin != f"http://{host}" for origin in origins):
            return _refused(403, "this server answers to its own page only")
        if not self._knows_token(request):
            return _refused(403, "open the address that iqlightning play printed: it ends in a token")
        self._known.add(request.protocol)
        try:
            response = await handler(request)
        except web.HTTPException as error:
            response = _refused(error.status, error.reason)
        except Exception:
            self._say_failure()
            response = _refused(500, "the program failed to answer; its terminal says how")
        if not response.prepared:
            response.headers.update(_headers(host))
        return response

    def _knows_token(self, request: web.Request) -> bool:
        given = (request.query.get("token"), request.cookies.get(_COOKIE))
        return any(hmac.compare_digest(each.encode(errors="replace"), self.token.encode()) for each in given if each)

    async def _page(self, request: web.Request) -> web.Response:
        content, kind = self._pages[request.path.removeprefix(self._place)]
        response = web.Response(body=content, content_type=kind, charset="utf-8")
        response.set_cookie(_COOKIE, self.token, httponly=True, samesite="Strict", path=f"{self._place}/")
        return response

    # Conversations

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if "Origin" not in request.headers:  # a browser always says where a WebSocket comes from
            return _refused(403, "this server talks to its own page only")
        if len(self._sockets) >= self._limits.sessions:
            return _refused(503, f"there are {self._limits.sessions} pages open already; close one")
        socket = web.WebSocketResponse(max_msg_size=self._limits.message_bytes, heartbeat=30.0, compress=False)
        if not socket.can_prepare(request).ok:
            return _refused(400, "this address is for a WebSocket")
        # counted before anything is awaited, or many could slip in at once
        self._sockets.add(socket)
        session = self._new_session()
        try:
            await socket.prepare(request)
            await self._converse(socket, session)
        except (ConnectionError, TimeoutError):
            pass  # the page went away
        finally:
            self._sockets.discard(socket)
            await self.in_worker(session.close)
        return socket

    async def _converse(self, socket: web.WebSocketResponse, session: Session) -> None:
        pace = _Pace(self._limits.messages_per_second, self._limits.burst)
        async for frame in socket:
            if frame.type is not WSMsgType.TEXT:
                await socket.close(code=WSCloseCode.UNSUPPORTED_DATA, message=b"only text is understood")
                return
            await pace.wait()
            await socket.send_str(await self._answer(session, frame.data))

    async def _answer(self, session: Session, text: str) -> str:
        message: Message | None = None
        try:
            message = parse_message(text)
            answer: dict[str, Any] = await self.in_worker(session.answer, message)
        except UserError as error:
            answer = {"type": "error", "message": str(error)}
        except Exception:
            self._say_failure()
            answer = {"type": "error", "message": "the program failed to answer; its terminal says how"}
        if message is not None and message.id is not None:
            answer["id"] = message.id
        return json.dumps(answer, allow_nan=False, separators=(",", ":"))

    def _say_failure(self) -> None:
        self.failures += 1
        print(traceback.format_exc(), file=sys.stderr)

    async def in_worker(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Calls a function in the thread of the sessions, of which there is one."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, call, *arguments)


class _Refusal(asyncio.Protocol):
    """Closes a connection as soon as it is made."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            transport.abort()


class _Pace:
    """A bucket of permissions that fills at a steady rate."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate, self._burst = rate, float(burst)
        self._left, self._last = float(burst), 0.0

    async def wait(self) -> None:
        """Returns when one more message may be read."""
        now = asyncio.get_running_loop().time()
        self._left = min(self._burst, self._left + (now - self._last) * self._rate)
        self._last = now
        self._left -= 1.0
        if self._left < 0.0:
            await asyncio.sleep(-self._left / self._rate)


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":  # there it would let two programs share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((ADDRESS, port))
        listener.listen(64)
        listener.setblocking(False)
    except (OSError, OverflowError) as error:
        listener.close()
        raise UserError(
            f"cannot listen on port {port} of {ADDRESS} ({getattr(error, 'strerror', None) or error}); choose another "
            "with --port, or --port 0 for any free one"
        ) from error
    return listener


def _is_local(host: str) -> bool:
    """Whether a Host header names this machine and nothing else; the port may be that of a tunnel."""
    return _LOCAL_HOST.fullmatch(host) is not None


def _is_closing(connection: Any) -> bool:
    return connection.transport is None or connection.transport.is_closing()


def _refused(status: int, reason: str) -> web.Response:
    response = web.Response(status=status, text=f"{reason}\n", headers={"X-Content-Type-Options": "nosniff"})
    response.force_close()
    return response


def _headers(host: str) -> dict[str, str]:
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        f"connect-src 'self' ws://{host}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Cache-Control": "no-store",
    }
