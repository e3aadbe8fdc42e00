"""A browser, the program and what they share, for tests of the page."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_browser import PATIENCE, Program
from page_server import policy
from playwright.sync_api import Browser, BrowserContext, Error, sync_playwright

from iqlightning.gridworld.page.contenders import Contender

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test whose browser died, which says nothing of the page, is run again with a new one, twice at most."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            died = ["Playwright connection closed", "Target page, context or browser has been closed"]
            item.add_marker(pytest.mark.flaky(reruns=2, only_rerun=died))


class Chromium:
    """A browser, started when it is first asked for and again when it or its driver has died."""

    def __init__(self) -> None:
        self._running = contextlib.ExitStack()
        self._browser: Browser | None = None

    def running(self) -> Browser:
        if self._browser is None or not self._answers(self._browser):
            self.stop()
            playwright = self._running.enter_context(sync_playwright())
            found = next(filter(None, map(shutil.which, _BROWSERS)), None)
            if found is None and not Path(playwright.chromium.executable_path).exists():
                pytest.skip("there is no Chromium here")
            sandbox = [] if getattr(os, "geteuid", lambda: 1)() else ["--no-sandbox"]  # root cannot have one
            self._browser = playwright.chromium.launch(executable_path=found, args=sandbox)
        return self._browser

    def _answers(self, browser: Browser) -> bool:
        try:
            browser.new_browser_cdp_session().detach()  # what is_connected() says is not news when the driver is gone
        except Error:
            return False
        return True

    def stop(self) -> None:
        if self._browser is not None:
            with contextlib.suppress(Error):  # nothing is left to close
                self._browser.close()
        self._browser = None
        self._running.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    chromium = Chromium()
    yield chromium
    chromium.stop()


@pytest.fixture
def browser(chromium) -> Browser:
    return chromium.running()


@pytest.fixture
def program(tmp_path) -> Iterator[Program]:
    contenders = [Contender("first", policy()), Contender("second", policy()), Contender("exact optimum")]
    program = Program(contenders, tmp_path / "data")
    yield program
    program.stop()
    assert program.server.failures == 0


@pytest.fixture
def context(browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    context.set_default_timeout(PATIENCE)
    yield context
    with contextlib.suppress(Error):  # the test that lost its browser has said so
        context.close()
