"""The page's program in a thread of its own, and what a test does in a browser that shows the page."""

import asyncio
import contextlib
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_server import SMALL
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, expect

from iqlightning.gridworld.page.contenders import Contender
from iqlightning.gridworld.page.recording import RecordingFolder
from iqlightning.gridworld.page.server import PlayServer
from iqlightning.gridworld.page.session import Session

PATIENCE = 30_000  # milliseconds; a busy machine is no failure
expect.set_options(timeout=PATIENCE)


class Program:
    """The server in a thread of its own."""

    def __init__(self, contenders: list[Contender], data: Path) -> None:
        self.data = data
        recordings = RecordingFolder(data)
        self.server = PlayServer(lambda: Session(contenders, recordings, 3, SMALL))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._call(self.server.start(0))

    def stop(self) -> None:
        if self._thread.is_alive():
            self._call(self.server.stop())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _call(self, coroutine) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)


def _no_warning(said: ConsoleMessage) -> None:
    assert said.type != "warning", said.text


def visit(context: BrowserContext, program: Program, room: str = "play") -> Page:
    page = context.new_page()
    page.on("pageerror", lambda error: pytest.fail(f"error in the page: {error}"))
    page.on("console", _no_warning)
    page.goto(f"{program.server.url}#{room}")
    page.wait_for_selector(f"#{room}:not([hidden])")
    if room == "play":
        page.wait_for_selector("#game[data-grids]")
    return page


def follow(page: Page, address: str) -> None:
    """Opens an address anew, even where only what follows its # differs from the page's own.

    A page that is left for such an address is not loaded again, and may at that moment write its own address over it.
    """
    page.goto("about:blank")
    page.goto(address)


def steps(page: Page, keys: tuple[str, ...] = ("ArrowUp", "ArrowRight", "ArrowDown", "ArrowLeft")) -> list[str]:
    """Keys that lead to the goal of a grid without walls, as a screen reader tells where it is."""
    label = page.locator("#game").get_attribute("aria-label") or ""
    row, column, goal_row, goal_column = map(
        int, re.findall(r"row (\d+), column (\d+).*row (\d+), column (\d+)", label)[0]
    )
    down, across = goal_row - row, goal_column - column
    return [keys[2 if down > 0 else 0]] * abs(down) + [keys[1 if across > 0 else 3]] * abs(across)


def moved(page: Page, count: int) -> None:
    page.wait_for_function("count => document.getElementById('moves').textContent === count", arg=str(count))


def play_episode(page: Page, **options) -> int:
    ways = steps(page, **options)
    for count, key in enumerate(ways, start=1):
        page.keyboard.press(key)
        moved(page, count)
    expect(page.locator("#game-says")).to_contain_text(f"Goal in {len(ways)} move")
    return len(ways)


@contextlib.contextmanager
def next_grid(page: Page) -> Iterator[None]:
    """What is done in the block brings a new grid."""
    count = "Number(document.getElementById('game').dataset.grids ?? 0)"
    before = page.evaluate(count)
    yield
    page.wait_for_function(f"before => {count} > before", arg=before)


def without_walls(page: Page) -> None:
    with next_grid(page):
        page.locator("#settings [name=num_walls]").fill("0")
        page.keyboard.press("Enter")
    page.wait_for_load_state("networkidle")
    page.locator("#game").focus()


def record(page: Page) -> None:
    with next_grid(page):
        page.locator("#record-start").click()
    expect(page.locator("#record-count")).to_have_text("0 episodes, 0 moves")


def picture(page: Page, index: int = 0) -> str:
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page.locator("#boards canvas.board").nth(index).evaluate("canvas => canvas.toDataURL()")
