"""A browser, the program and what they share, for tests of the page."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_browser import PATIENCE, Program
from page_server import policy
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from iqlightning.gridworld.page.contenders import Contender

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    with sync_playwright() as playwright:
        installed = Path(playwright.chromium.executable_path).exists()
        if found is None and not installed:
            pytest.skip("there is no Chromium here")
        sandbox = [] if getattr(os, "geteuid", lambda: 1)() else ["--no-sandbox"]  # root cannot have one
        browser = playwright.chromium.launch(executable_path=found, args=sandbox)
        yield browser
        browser.close()


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
    context.close()
