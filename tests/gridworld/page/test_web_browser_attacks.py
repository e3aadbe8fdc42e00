"""Attacks on the page in a real browser: from another site's page, and by names that look like markup."""

import functools
import http.server
import threading

import pytest
from page_browser import Program, visit
from playwright.sync_api import expect

from iqlightning.gridworld.page.contenders import Contender


def test_another_sites_page_cannot_talk_to_it(context, program, tmp_path):
    site = tmp_path / "evil"
    site.mkdir()
    (site / "index.html").write_text("<title>evil</title>")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(site))
    handler.func.log_message = lambda *_: None  # type: ignore[attr-defined]
    evil = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=evil.serve_forever, daemon=True).start()
    visit(context, program)  # the browser has the cookie now, and it is sent to every port
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{evil.server_port}/")
    host = program.server.url.split("/")[2]
    attempt = """([host, query]) => new Promise((done) => {
      const socket = new WebSocket(`ws://${host}/ws${query}`);
      socket.onopen = () => done("open");
      socket.onerror = () => done("refused");
    })"""
    for query in ("", f"?token={program.server.token}"):
        assert page.evaluate(attempt, [host, query]) == "refused"
    read = "host => fetch(`http://${host}/`, {credentials: 'include'}).then((a) => a.text()).catch(() => 'refused')"
    assert page.evaluate(read, host) == "refused"
    framed = page.evaluate(
        """url => new Promise((done) => {
          const frame = document.body.appendChild(document.createElement("iframe"));
          frame.onload = () => setTimeout(() => done(frame.contentDocument === null), 100);
          frame.src = url;
        })""",
        program.server.url,
    )
    assert framed
    evil.shutdown()
    evil.server_close()


def test_nothing_in_a_name_or_label_becomes_markup(context, program, tmp_path):
    hostile = "<img src=x onerror=alert(1)>"
    other = Program([Contender(hostile), Contender("b")], tmp_path / hostile)
    page = visit(context, other, "watch")
    page.on("dialog", lambda dialog: pytest.fail("a script ran"))
    expect(page.locator("figcaption select option").first).to_have_text(hostile)
    page.goto(f"{other.server.url}#play")
    page.locator("#record-start").click()
    expect(page.locator("#record-file")).to_contain_text(hostile)
    assert page.locator("img").count() == 1  # the icon
    page.close()
    other.stop()
