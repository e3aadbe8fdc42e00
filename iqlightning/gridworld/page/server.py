"""The server of the page: on the loopback address only, and only for the page that it served itself.

Any web site a browser shows can make that browser talk to a server on the same machine. So a request has to name this
machine as its host (a rebound name does not), a WebSocket has to come from a page of the same origin, and both have to
carry a token that the program printed. Sizes, connections and rates are bounded.
"""

import asyncio
import contextlib
import hmac
import json
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

__all__ = ["ADDRESS", "Limits", "PlayServer"]

ADDRESS = "127.0.0.1"

_LOCAL_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?")
_PAGES = {
    "/": ("index.html", "text/html"),
    "/style.css": ("style.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    **{
        f"/{name}.js": (f"{name}.js", "text/javascript")
        for name in ("board", "colours", "forms", "link", "main", "play", "record", "watch")
    },
}
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
    """

    message_bytes: int = 32 * 1024
    sessions: int = 8
    connections: int = 64
    messages_per_second: float = 100.0
    burst: int = 200


class PlayServer:
    """Serves the page and its sessions.

    Args:
        new_session: called for each WebSocket.
        limits: what is refused.

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
        self._port = 0
        folder = resources.files("iqlightning.gridworld.page") / "static"
        # read once: what is served depends on no path that a request names
        self._pages = {path: ((folder / file).read_bytes(), kind) for path, (file, kind) in _PAGES.items()}
        self._pages["/definitions.js"] = (definitions().encode(), "text/javascript")

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
        for path in self._pages:
            app.router.add_get(path, self._page, allow_head=False)
        app.router.add_get("/ws", self._socket, allow_head=False)
        self._runner = web.AppRunner(
            app, access_log=None, handle_signals=False, keepalive_timeout=15.0, shutdown_timeout=2.0
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
        if len(self._runner.server.connections) >= self._limits.connections:
            return _Refusal()
        return self._runner.server()

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
        try:
            response = await handler(request)
        except web.HTTPException as error:
            response = _refused(error.status, error.reason)
        if not response.prepared:
            response.headers.update(_headers(host))
        return response

    def _knows_token(self, request: web.Request) -> bool:
        given = (request.query.get("token"), request.cookies.get(self._cookie))
        return any(hmac.compare_digest(each.encode(errors="replace"), self.token.encode()) for each in given if each)

    @property
    def _cookie(self) -> str:
        # cookies do not belong to a port: two servers must not overwrite each other's
        return f"iqlightning_{self._port}"

    async def _page(self, request: web.Request) -> web.Response:
        content, kind = self._pages[request.path]
        response = web.Response(body=content, content_type=kind, charset="utf-8")
        response.set_cookie(self._cookie, self.token, httponly=True, samesite="Strict", path="/")
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
            await self._in_worker(session.close)
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
            answer: dict[str, Any] = await self._in_worker(session.answer, message)
        except UserError as error:
            answer = {"type": "error", "message": str(error)}
        except Exception:
            self.failures += 1
            print(traceback.format_exc(), file=sys.stderr)
            answer = {"type": "error", "message": "the program failed to answer; its terminal says how"}
        if message is not None and message.id is not None:
            answer["id"] = message.id
        return json.dumps(answer, allow_nan=False, separators=(",", ":"))

    async def _in_worker(self, call: Callable[..., Any], *arguments: Any) -> Any:
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


def _refused(status: int, reason: str) -> web.Response:
    return web.Response(status=status, text=f"{reason}\n", headers={"X-Content-Type-Options": "nosniff"})


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
