"""The page as a file: what it computes is what the package computes, and it needs no server."""

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from page_browser import follow, next_grid
from page_server import SETTINGS, SMALL, policy
from playwright.sync_api import Browser, Error, Page, expect

from iqlightning.cli.main import main
from iqlightning.errors import UserError
from iqlightning.gridworld.encoders import CellAttention, GridCNN, LogPlanner
from iqlightning.gridworld.game.layouts import Layouts
from iqlightning.gridworld.page.contenders import Contender, describe_maps
from iqlightning.gridworld.page.export import portable_network, static_page
from iqlightning.losses.values import MaxValue
from iqlightning.nets.encoders import MLP

POLICIES = {
    "GridCNN": policy(GridCNN),
    "GridCNN, few steps": policy(partial(GridCNN, iterations=3, channels=5)),
    "LogPlanner": policy(LogPlanner),
    "MLP": policy(partial(MLP, hidden=[8, 6])),
}
POLICIES["MLP"].agent.value = MaxValue()  # type: ignore[assignment]
CONTENDERS = [*(Contender(label, each) for label, each in POLICIES.items()), Contender("exact optimum")]

# the last one cuts the upper left corner off
GRIDS = ["00100" + "00000" + "00010" + "00000", "0" * 20, "01000" + "11000" + "00010" + "00000"]


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("exported") / "index.html"
    file.write_text(static_page(CONTENDERS, SMALL, 0, "test"), encoding="utf-8")
    return file


@pytest.fixture
def page(browser: Browser, file: Path) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    page = context.new_page()
    page.on("pageerror", lambda error: pytest.fail(f"error in the page: {error}"))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    yield page
    assert all(url.startswith(("file:", "data:")) for url in asked)
    with contextlib.suppress(Error):  # the test that lost its browser has said so
        context.close()


def asked(page: Page, walls: str, index: int) -> dict[str, Any]:
    grid = {"height": 4, "width": 5, "walls": walls, "start": 15, "goal": 19, "contenders": [[index, 0]]}
    ask = "async (grid) => (await new (await import('link')).Link({opened() {}}).request('watch_maps', grid)).maps[0]"
    return page.evaluate(ask, grid)


@pytest.mark.parametrize("index", range(len(CONTENDERS)))
@pytest.mark.parametrize("walls", GRIDS)
def test_maps_are_those_of_the_package(page: Page, index: int, walls: str) -> None:
    blocked = torch.tensor([cell == "1" for cell in walls]).view(1, 4, 5)
    maps = CONTENDERS[index].maps(Layouts(blocked, torch.tensor([15]), torch.tensor([19])))
    ours, theirs = describe_maps(maps), asked(page, walls, index)
    assert theirs.pop("true_units") is (index == len(CONTENDERS) - 1)
    assert theirs.keys() == ours.keys()
    scale = max(abs(value) for value in ours["q"] if value is not None)
    for name in ("q", "v", "reward", "optimum", "difference"):
        expected = [None if value is None else pytest.approx(value, abs=1e-3 * scale) for value in ours[name]]
        assert theirs[name] == expected, name
    assert (theirs["gamma"], theirs["temperature"]) == (ours["gamma"], ours["temperature"])
    # near-ties may go either way
    for cell, (here, there) in enumerate(zip(theirs["greedy"], ours["greedy"], strict=True)):
        assert (here < 0) is (there < 0)
        if here >= 0:
            assert ours["q"][4 * cell + here] == pytest.approx(ours["q"][4 * cell + there], abs=1e-3 * scale)
        if here == there:
            assert theirs["on_path"][cell] == ours["on_path"][cell]


@pytest.mark.parametrize("label", POLICIES)
def test_q_values_are_pytorchs(page: Page, label: str) -> None:
    network = portable_network(POLICIES[label], label)
    compute = """async ([network, grid]) => {
      const numbers = (text) => new Float32Array(Uint8Array.from(atob(text), (each) => each.charCodeAt(0)).buffer);
      const tensors = Object.entries(network.tensors).map(([name, text]) => [name, numbers(text)]);
      return (await import("networks")).actionValues({ ...network, tensors: Object.fromEntries(tensors) }, grid);
    }"""
    walls = GRIDS[0]
    seen = torch.zeros(20, 3, 4, 5)
    seen[:, 0] = torch.tensor([float(cell) for cell in walls]).view(4, 5)
    seen[torch.arange(20), 1, torch.arange(20) // 5, torch.arange(20) % 5] = 1
    seen[:, 2, 3, 4] = 1
    q = page.evaluate(compute, [network, {"height": 4, "width": 5, "walls": walls, "goal": 19}])
    expected = POLICIES[label].q_values(seen)
    torch.testing.assert_close(torch.tensor(q).view(20, 4), expected, rtol=1e-5, atol=1e-5)


def test_it_is_played_and_watched_without_a_server(page: Page) -> None:
    expect(page.locator("#boards figure")).to_have_count(2)
    expect(page.locator("#boards")).to_have_attribute("data-asked", "1")
    expect(page.locator("[data-needs-program]").first).to_be_hidden()
    page.locator("figcaption select").nth(1).select_option("exact optimum")
    page.locator("#speed").fill("30")
    page.locator("#run").click()
    expect(page.locator("figure .says").nth(1)).to_contain_text("Goal in")
    page.locator("#to-play").click()
    expect(page.locator("#record")).to_be_hidden()
    page.keyboard.press("ArrowUp")
    expect(page.locator("#moves")).to_have_text("1")
    with next_grid(page):
        page.locator("#play-another").click()
    expect(page.locator("#moves")).to_have_text("0")


def test_its_link_leads_to_the_same_grid(page: Page, file: Path) -> None:
    follow(page, f"{file.as_uri()}#watch?size=4x5&walls=20040&start=15&goal=19&layer=q&scale=ranks&board=MLP%403")
    expect(page.locator("#boards figure")).to_have_count(1)
    expect(page.locator("[name=layer][value=q]")).to_be_checked()
    expect(page.locator("figcaption select")).to_have_value("3")
    expect(page.locator("figure .says")).to_have_text("The player is at the start: press Run.")


def test_other_networks_are_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match="'mine' cannot be exported as a page: that computes GridCNN, LogPlanner, MLP"):
        portable_network(policy(CellAttention), "mine")
    with pytest.raises(UserError, match="this network is MLP and PlainHead"):
        portable_network(policy(partial(MLP, activation="Tanh")), "mine")


def test_the_command_writes_a_page_and_replaces_no_other(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["play", "--export", "site", "--height", "4", "--width", "5", "--num_walls", "2", "--seed", "1"]
    for _ in range(2):
        assert main(command) == 0
        assert "wrote site/index.html" in capsys.readouterr().out
    text = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "generator: iqlightning:play" in text
    assert SETTINGS["height"] == 4
    (tmp_path / "site" / "index.html").write_text("precious")
    assert main(command) == 2
    assert "--force" in capsys.readouterr().err
    assert (tmp_path / "site" / "index.html").read_text() == "precious"
