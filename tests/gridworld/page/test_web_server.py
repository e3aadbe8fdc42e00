"""Attacks on the page's server: it refuses, survives, and no file changes but recordings."""

import asyncio
import contextlib
import json
import re
import time

import aiohttp
import pytest
from page_server import SETTINGS, UNHURRIED, ask, in_a_loop, serving

from iqlightning.gridworld.page.server import Limits

# Who may ask


@in_a_loop
async def test_the_page_is_served_to_who_knows_the_token(tmp_path):
    async with serving(tmp_path) as site:
        status, headers, body = await site.get("/")
        assert status == 200
        assert "<title>iqlightning play</title>" in body
        cookie = headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        # a browser sends it to this page alone, whatever else listens on the machine
        (place,) = re.findall(r"Path=(/[\w-]+/)", cookie)
        assert len(place) > 10
        assert f'src="{place}main.js"' in body
        assert (await site.get(place, token=False, cookie=cookie.split(";")[0]))[0] == 200
        assert (await site.get(place, token=False))[0] == 403
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "no-referrer"
        # from then on the cookie is enough
        for path, kind in (
            ("/main.js", "text/javascript"),
            ("/definitions.js", "text/javascript"),
            ("/style.css", "text/css"),
            ("/icon.svg", "image/svg+xml"),
        ):
            status, headers, _ = await site.get(path, token=False, cookie=cookie.split(";")[0])
            assert (status, headers["Content-Type"].split(";")[0]) == (200, kind)
        for path in ("/", "/main.js", "/ws"):
            assert (await site.get(path, token=False))[0] == 403
            assert (await site.get(f"{path}?token=", token=False))[0] == 403
            assert (await site.get(f"{path}?token={site.token[:-1]}", token=False))[0] == 403
            assert (await site.get(path, token=False, cookie=f"{cookie.split('=')[0]}=%00%ff"))[0] == 403


@in_a_loop
async def test_the_page_asks_nobody_else_for_anything(tmp_path):
    async with serving(tmp_path) as site:
        for path in site.server._pages:
            body = (await site.get(path))[2].replace("http://www.w3.org/2000/svg", "")
            assert not re.search(r"https?:|[\"'(]//|@import|cdn", body), path


REBOUND = [
    "evil.example",
    "evil.example:{port}",
    "127.0.0.1.evil.example:{port}",
    "localhost.evil.example",
    "127.0.0.2:{port}",
    "0.0.0.0:{port}",
    "10.0.0.1",
    "[::2]:{port}",
    "localhost:{port}@evil.example",
    "evil@localhost:{port}",
    "localhost:",
    "localhost:x",
    "localhost:123456",
    "local host",
    "",
    "[",
    "127.1",
    "2130706433",
    "localhost/",
    "localhost?",
    "localhost#",
    "LOCALHOST.:{port}",
]


@pytest.mark.parametrize("host", REBOUND)
@in_a_loop
async def test_a_rebound_host_is_refused(tmp_path, host):
    async with serving(tmp_path) as site:
        named = host.format(port=site.host.split(":")[1])
        assert (await site.get("/", host=named))[0] in (400, 403)
        assert await site.refused(host=named, origin=f"http://{named}") in (400, 403)
        assert await site.refused(host=named) in (400, 403)


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "",
        "http://localhost:1",
        "https://{host}",
        "http://{host}.evil.example",
        "{host}",
        "http://evil.example/{host}",
        "http://{host}/",
        "http://{host}@evil.example",
        "file://",
        "HTTP://{host}",
        None,
    ],
)
@in_a_loop
async def test_a_cross_site_websocket_is_refused(tmp_path, origin):
    async with serving(tmp_path) as site:
        claimed = None if origin is None else origin.format(host=site.host)
        assert await site.refused(origin=claimed) == 403
        if claimed is not None:
            assert (await site.get("/", origin=claimed))[0] == 403


@in_a_loop
async def test_a_websocket_needs_the_token(tmp_path):
    async with serving(tmp_path) as site:
        assert await site.refused(token="") == 403
        assert await site.refused(token="x" * 32) == 403
        async with site.connect() as socket:
            assert (await ask(socket, "hello"))["type"] == "hello"


@in_a_loop
async def test_the_page_may_come_through_a_tunnel_and_under_either_name(tmp_path):
    async with serving(tmp_path) as site:
        for host in ("localhost:9000", "127.0.0.1:9000", "localhost", "[::1]:9000"):
            async with site.connect(host=host, origin=f"http://{host}") as socket:
                assert (await ask(socket, "hello"))["type"] == "hello"


@pytest.mark.parametrize(
    "path",
    [
        "/../pyproject.toml",
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc/passwd",
        "//etc/passwd",
        "/static/index.html",
        "/main.js/../../server.py",
        "/main.js%00.png",
        "/server.py",
        "/data/mine.safetensors",
        "/~root",
    ],
)
@in_a_loop
async def test_no_path_leads_to_another_file(tmp_path, path):
    async with serving(tmp_path) as site:
        status, _, body = await site.get(path)
        assert status in (400, 404)
        assert len(body) < 200
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "HEAD"):
            async with site.client.request(method, f"{site.base}/?token={site.token}", data=b"x" * 100) as answer:
                assert answer.status in (400, 405)


@in_a_loop
async def test_only_the_loopback_address_is_listened_on(tmp_path):
    async with serving(tmp_path) as site:
        assert site.server._server is not None
        sockets = site.server._server.sockets
        assert [each.getsockname()[0] for each in sockets] == ["127.0.0.1"]


# What may be said


@pytest.mark.parametrize(
    ("send", "code"),
    [
        (lambda socket: socket.send_str("x" * (UNHURRIED.message_bytes + 1)), aiohttp.WSCloseCode.MESSAGE_TOO_BIG),
        (lambda socket: socket.send_bytes(b"\0" * 10), aiohttp.WSCloseCode.UNSUPPORTED_DATA),
        (lambda socket: socket.send_bytes(b"\0" * 10**7), aiohttp.WSCloseCode.MESSAGE_TOO_BIG),
        (lambda socket: socket.send_frame(b"\xff\xfe", aiohttp.WSMsgType.TEXT), aiohttp.WSCloseCode.INVALID_TEXT),
    ],
    ids=["long", "binary", "huge", "not text"],
)
@in_a_loop
async def test_a_message_that_cannot_be_one_ends_its_connection_alone(tmp_path, send, code):
    async with serving(tmp_path) as site, site.connect() as other:
        async with site.connect() as socket:
            # the connection may be cut before the reason arrives, while the sender is still talking
            with contextlib.suppress(ConnectionError):
                await send(socket)
                end = await socket.receive(timeout=10)
                assert end.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
                assert end.type is not aiohttp.WSMsgType.CLOSE or end.data == code
        assert (await ask(other, "hello"))["type"] == "hello"
        assert site.server.failures == 0


@in_a_loop
async def test_malformed_messages_are_answered_and_the_session_goes_on(tmp_path):
    async with serving(tmp_path) as site, site.connect() as socket:
        for text in (
            "",
            "{",
            "[" * 30000,
            "null",
            '{"type": "move", "action": 1}',
            '{"type":"\U0001f600"}',
            '{"type":"\\ud800"}',
        ):
            await socket.send_str(text)
            assert (await socket.receive_json(timeout=10))["type"] == "error"
        assert (await ask(socket, "new_game", **SETTINGS, id=7))["id"] == 7
        assert (await ask(socket, "move", action=9, id=8))["type"] == "error"
        assert site.server.failures == 0


@in_a_loop
async def test_fast_messages_wait_and_all_are_answered(tmp_path):
    limits = Limits(messages_per_second=100.0, burst=10)
    async with serving(tmp_path, limits) as site, site.connect() as socket, site.connect() as other:
        begun = time.monotonic()
        for number in range(60):
            await socket.send_str(json.dumps({"type": "hello", "id": number}))
        # meanwhile others are not kept waiting
        assert (await ask(other, "hello"))["type"] == "hello"
        assert time.monotonic() - begun < 0.5
        assert [(await socket.receive_json(timeout=10))["id"] for _ in range(60)] == list(range(60))
        assert time.monotonic() - begun >= 0.45


@in_a_loop
async def test_sessions_are_bounded_and_free_again_when_their_page_is_gone(tmp_path):
    async with serving(tmp_path, Limits(sessions=2)) as site:
        first, second = await site.connect(), await site.connect()
        assert await site.refused() == 503
        await first.close()
        await asyncio.sleep(0.1)
        async with site.connect() as socket:
            assert (await ask(socket, "hello"))["type"] == "hello"
        await second.close()


@in_a_loop
async def test_connections_are_bounded(tmp_path):
    async with serving(tmp_path, Limits(connections=5)) as site:
        host, port = site.host.split(":")
        idle = [await asyncio.open_connection(host, int(port)) for _ in range(5)]
        await asyncio.sleep(0.1)
        # who has the token comes in all the same, and the one that has been silent longest goes
        assert (await site.get("/"))[0] == 200
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(idle[0][0].read(), 5) == b""
        sockets = [await site.connect() for _ in range(5)]
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        for each in sockets:
            assert (await ask(each, "hello"))["type"] == "hello"
            await each.close()


@in_a_loop
async def test_silent_connections_are_ended(tmp_path):
    async with serving(tmp_path, Limits(patience=0.1)) as site, site.connect() as socket:
        host, port = site.host.split(":")
        reader, _ = await asyncio.open_connection(host, int(port))
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        assert (await ask(socket, "hello"))["type"] == "hello"


@pytest.mark.parametrize(
    "sent",
    [
        b"\0" * 5000,
        b"GET " + b"/" * 100_000,
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"y" * 100_000,
        b"\x16\x03\x01",
        b"POST / HTTP/1.1\r\n",
    ],
)
@in_a_loop
async def test_what_is_no_request_is_not_answered_with_the_page(tmp_path, sent, capfd, caplog):
    async with serving(tmp_path) as site:
        host, port = site.host.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent.replace(b"GET / ", f"GET /?token={site.token} ".encode()))
        writer.write_eof()
        try:
            answer = await asyncio.wait_for(reader.read(), 10)
        except ConnectionError:
            answer = b""
        assert b" 200 " not in answer
        assert (await site.get("/"))[0] == 200
    assert capfd.readouterr().err == caplog.text == ""


@in_a_loop
async def test_an_error_in_the_program_ends_neither_session_nor_server(tmp_path, monkeypatch, capsys):
    async with serving(tmp_path) as site, site.connect() as socket:
        with monkeypatch.context() as patch:
            patch.setattr("iqlightning.gridworld.page.session.Game", None)
            answer = await ask(socket, "new_game", **SETTINGS)
        assert answer == {"type": "error", "message": "the program failed to answer; its terminal says how"}
        assert site.server.failures == 1
        assert (await ask(socket, "new_game", **SETTINGS))["type"] == "new_game"
    assert "TypeError" in capsys.readouterr().err
