"""The page in a real browser: played, recorded, learned from, watched and edited."""

import contextlib
import re
import shlex
from typing import Any

import pytest
from page_browser import Program, moved, next_grid, picture, play_episode, record, steps, visit, without_walls
from playwright.sync_api import BrowserContext, Page, expect

from iqlightning.cli.main import main
from iqlightning.data.demonstrations import load_demonstrations
from iqlightning.gridworld.page.contenders import contenders_of

TINY = """
model:
  class_path: IQLearn
  init_args: {encoder: {class_path: GridCNN}, log_every: 5}
data:
  class_path: ImitationData
  init_args:
    env: {class_path: GridWorldConfig, init_args: {height: 4, width: 5, num_walls: 0}}
    episodes: 40
    batch_size: 16
    updates_per_epoch: 5
    updates_per_step: 5
trainer:
  accelerator: cpu
  max_steps: 5
  callbacks:
    - {class_path: PolicyEvaluation, init_args: {episodes: 10, test_episodes: 10}}
"""


# Playing and recording


def test_play_record_and_learn(context, program, tmp_path, monkeypatch):
    page = visit(context, program)
    assert "token" not in page.url
    without_walls(page)
    expect(page.locator("#game")).to_be_focused()
    with next_grid(page):  # comes by itself
        play_episode(page)
        expect(page.locator("#ratio")).to_have_text("1.00")
    page.locator("#record-name").fill("by-hand")
    record(page)
    moves = 0
    for count in range(1, 7):
        moves += play_episode(
            page, keys=("w", "d", "s", "a") if count % 2 else ("ArrowUp", "ArrowRight", "ArrowDown", "ArrowLeft")
        )
        expect(page.locator("#record-count")).to_have_text(re.compile(rf"{count} episodes?, {moves} moves?"))
        assert load_demonstrations(program.data / "by-hand.safetensors")[0].num_episodes == count
        with next_grid(page):
            page.keyboard.press("n")
    page.locator("#record-undo").click()
    expect(page.locator("#record-count")).to_contain_text("5 episodes")
    page.locator("#record-stop").click()
    expect(page.locator("#record-ended")).to_contain_text("Recorded 5 episodes")

    # the page's own command, with a smaller network
    words = shlex.split(page.locator("#record-command").inner_text())
    assert words[:5] == ["python", "-m", "iqlightning", "fit", "--config"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY)
    assert main(["fit", "--config", "tiny.yaml", *words[6:], "--trainer.max_steps", "5"]) == 0
    checkpoint = tmp_path / "logs" / "tiny" / "version_0" / "checkpoints" / "last.ckpt"
    assert checkpoint.exists()

    # and what came of it can be watched
    watching = Program(contenders_of([str(checkpoint)]), tmp_path / "data")
    with contextlib.closing(watching_page := visit(context, watching, "watch")):
        expect(watching_page.locator("#boards figure")).to_have_count(1)
        expect(watching_page.locator(".note").first).to_have_text("IQLearn, GridCNN, 5 updates")
        expect(watching_page.locator("#boards")).to_have_attribute("data-asked", "1")
        before = picture(watching_page)
        watching_page.locator("#step").click()
        assert picture(watching_page) != before
    watching.stop()


def test_a_browser_that_dies_and_one_that_reloads_lose_nothing(context, browser, program):
    page = visit(context, program)
    without_walls(page)
    record(page)
    page.reload()  # before there is a file
    expect(page.locator("#record-count")).to_have_text("0 episodes, 0 moves")
    expect(page.locator("#settings [name=num_walls]")).to_have_value("0")
    play_episode(page)
    page.reload()
    expect(page.locator("#record-count")).to_contain_text("1 episode,")
    page.wait_for_function("() => document.getElementById('game').dataset.grids >= 1")
    play_episode(page)
    expect(page.locator("#record-count")).to_contain_text("2 episodes")
    page.close()
    assert load_demonstrations(program.data / "mine-1.safetensors")[0].num_episodes == 2

    other = visit(context, program)  # a new window does not remember, but knows what there is
    other.locator("#record-resume").click()
    expect(other.locator("#record-count")).to_contain_text("2 episodes")
    other.locator("#record-discard").click()
    other.locator("#confirm-yes").click()
    expect(other.locator("#record-done")).to_contain_text("Discarded; the file holds 2 episodes")
    assert load_demonstrations(program.data / "mine-1.safetensors")[0].num_episodes == 2


def test_discarding_asks_first(context, program):
    page = visit(context, program)
    without_walls(page)
    record(page)
    play_episode(page)
    file = program.data / "mine-1.safetensors"
    page.locator("#record-discard").click()
    expect(page.locator("#confirm")).to_be_visible()
    page.keyboard.press("Escape")
    assert file.exists()
    page.locator("#record-discard").click()
    page.locator("#confirm-yes").click()
    expect(page.locator("#record-ended")).to_have_text("Discarded; there is no file.")
    assert not file.exists()
    record(page)
    page.keyboard.press("ArrowUp")
    page.locator("#record-stop").click()
    expect(page.locator("#record-ended")).to_have_text("No finished episode, so there is no file.")


def test_mistakes_are_told_in_a_sentence(context, program):
    page = visit(context, program)
    page.locator("#settings [name=num_walls]").fill("19")
    page.keyboard.press("Enter")
    expect(page.locator("#settings-trouble")).to_contain_text("19 walls do not fit")
    page.locator("#settings [name=num_walls]").fill("3")
    page.keyboard.press("Enter")
    expect(page.locator("#settings-trouble")).to_be_hidden()
    program.data.mkdir()
    (program.data / "taken.safetensors").write_text("precious")
    page.locator("#record-name").fill("taken")
    page.locator("#record-start").click()
    expect(page.locator("#record-trouble")).to_contain_text("nothing is overwritten")
    page.locator("#record-name").fill("../taken")
    page.locator("#record-start").click()  # the browser itself refuses
    expect(page.locator("#record-busy")).to_be_hidden()
    assert (program.data / "taken.safetensors").read_text() == "precious"


def test_everything_can_be_done_from_the_keyboard(context, program):
    page = visit(context, program)
    reached = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.name"))
    assert {"to-watch", "game", "record-name", "record-start", "random_walls", "height", "num_walls"} <= reached
    page.locator("#settings [name=random_goal]").focus()
    page.keyboard.press("Space")
    expect(page.locator("#game")).to_have_attribute("aria-label", re.compile("goal at row 4, column 5"))
    # arrows move the player from a checkbox, but change the number in a field
    expect(page.locator("#moves")).to_have_text("0")
    page.keyboard.press("ArrowUp")
    expect(page.locator("#moves")).to_have_text("1")
    page.locator("#settings [name=height]").focus()
    page.keyboard.press("ArrowUp")
    expect(page.locator("#settings [name=height]")).to_have_value("5")


def test_the_page_says_when_the_program_is_gone(context, program):
    page = visit(context, program)
    expect(page.locator("#banner")).to_be_hidden()
    program.stop()
    expect(page.locator("#banner")).to_contain_text("Finished episodes are on the disk")


# Watching


def test_overlays_differ_and_the_grid_can_be_edited(context, program):
    page = visit(context, program, "watch")
    expect(page.locator("#boards figure")).to_have_count(2)
    expect(page.locator("#boards")).to_have_attribute("data-asked", re.compile("[1-9]"))
    pictures = {}
    for layer in ("none", "v", "q", "reward", "optimum", "difference"):
        page.locator(f"[name=layer][value={layer}]").check(force=True)
        pictures[layer] = picture(page)
    page.locator("#numbers").check(force=True)
    pictures["numbers"] = picture(page)
    page.locator("#arrows").uncheck(force=True)
    pictures["no arrows"] = picture(page)
    assert len(set(pictures.values())) == len(pictures)

    def edited(act) -> None:
        """Both boards change, and the maps are asked for anew."""
        before = picture(page, 0), picture(page, 1)
        asked = int(page.locator("#boards").get_attribute("data-asked") or 0)
        act()
        page.wait_for_function("asked => Number(document.getElementById('boards').dataset.asked) > asked", arg=asked)
        assert picture(page, 0) != before[0]
        assert picture(page, 1) != before[1]

    page.locator("[name=layer][value=v]").check(force=True)
    edited(lambda: page.locator("#clear-walls").click())
    board = page.locator("#boards canvas.board").first
    box: Any = board.bounding_box()
    side = box["width"] / 5

    def drag(source: tuple[int, int], target: tuple[int, int]) -> None:
        page.mouse.move(box["x"] + (source[1] + 0.5) * side, box["y"] + (source[0] + 0.5) * side)
        page.mouse.down()
        page.mouse.move(box["x"] + (target[1] + 0.5) * side, box["y"] + (target[0] + 0.5) * side, steps=8)
        page.mouse.up()

    def cell(what: str) -> tuple[int, int]:
        """Where player or goal is, by walking the cursor over the grid."""
        board.focus()
        for key, times in (("ArrowUp", 4), ("ArrowLeft", 5)):
            for _ in range(times):
                page.keyboard.press(key)
        for row in range(4):
            for column in range(5):
                if f": {what}" in (board.get_attribute("aria-label") or ""):
                    return row, column
                page.keyboard.press("ArrowRight")
            for _ in range(5):
                page.keyboard.press("ArrowLeft")
            page.keyboard.press("ArrowDown")
        raise AssertionError(f"no {what}")

    player, goal = cell("player"), cell("goal")
    free = [(r, c) for r in range(4) for c in range(5) if (r, c) not in (player, goal)]
    edited(lambda: drag(goal, free[0]))
    assert cell("goal") == free[0]
    edited(lambda: drag(player, free[5]))
    assert cell("player") == free[5]
    page.locator("[name=press][value=paints]").check(force=True)
    edited(lambda: drag(free[9], free[9]))
    assert cell("wall") == free[9]
    edited(lambda: drag(free[9], free[9]))
    # and from the keyboard
    cell("free")
    edited(lambda: page.keyboard.press("Space"))
    cell("wall")


def test_a_policy_is_watched_to_the_end(context, program):
    page = visit(context, program, "watch")
    page.locator("figcaption select").nth(1).select_option("exact optimum")
    page.locator("#speed").fill("30")
    page.locator("#run").click()
    expect(page.locator("figure .says").nth(1)).to_contain_text("Goal in")
    expect(page.locator("figure .says").nth(0)).to_contain_text(re.compile("Goal in|circles"))
    expect(page.locator("#run")).to_have_text("Run")
    page.locator("#rewind").click()
    expect(page.locator("figure .says").nth(1)).to_have_text("The player is at the start: press Run.")
    page.locator("#step").click()
    expect(page.locator("figure .says").nth(1)).to_have_text(re.compile("1 move|Goal"))
    page.locator("[name=acting][value=drawn]").check(force=True)
    page.locator("#run").click()
    expect(page.locator("figure .says").nth(1)).to_contain_text("Goal in")
    page.locator("#compare").click()
    expect(page.locator("#boards figure")).to_have_count(1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_is_played_with_fingers(browser, program, scheme):
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, color_scheme=scheme, has_touch=True, is_mobile=True
    )
    page = visit(context, program)
    without_walls(page)
    for count, move in enumerate(steps(page, keys=("up", "right", "down", "left")), start=1):
        page.locator(f"[data-move='{move}']").tap()
        moved(page, count)
    expect(page.locator("#game-says")).to_contain_text("Goal in")
    for room in ("play", "watch"):
        page.locator(f"#to-{room}").tap()
        assert page.evaluate("document.documentElement.scrollWidth") == 390
    context.close()


@pytest.mark.parametrize(("width", "height", "board"), [(1280, 800, 560), (390, 844, 350)])
def test_a_board_and_what_runs_it_are_in_the_first_view(browser, program, width, height, board):
    context = browser.new_context(viewport={"width": width, "height": height})
    page = visit(context, program, "watch")
    page.locator("#compare").click()
    expect(page.locator("#boards figure")).to_have_count(1)
    page.evaluate("scrollTo(0, 0)")
    for each in ("#run", "#step", "#another", "#rewind", "#boards canvas.board", "figure .says", ".legend"):
        expect(page.locator(each)).to_be_in_viewport(ratio=1)
    box: Any = page.locator("#boards canvas.board").bounding_box()
    assert box["width"] >= board
    assert page.evaluate("document.documentElement.scrollWidth") == width
    context.close()


def swipe(context: BrowserContext, page: Page, across: float, down: float, reports: int) -> None:
    """A finger on the board, whose way the browser reports in so many pieces."""
    box: Any = page.locator("#game").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    finger = context.new_cdp_session(page)

    def touch(kind: str, *points: dict[str, float]) -> None:
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": list(points)})

    touch("touchStart", {"x": x, "y": y})
    for part in range(1, reports + 1):
        touch("touchMove", {"x": x + across * part / reports, "y": y + down * part / reports})
    touch("touchEnd")


@pytest.mark.parametrize("reports", [3, 12])
def test_a_swipe_makes_a_move_for_each_cell_that_it_crosses(browser, program, reports):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = visit(context, program)
    without_walls(page)
    box: Any = page.locator("#game").bounding_box()
    side = box["width"] / 5
    ways = steps(page, keys=("up", "right", "down", "left"))
    count = 0
    for way in dict.fromkeys(ways):
        reach = (ways.count(way) + 0.2) * side * (-1 if way in ("up", "left") else 1)
        swipe(context, page, *((reach, 0.0) if way in ("left", "right") else (0.0, reach)), reports)
        count += ways.count(way)
        moved(page, count)
    expect(page.locator("#game-says")).to_contain_text(f"Goal in {len(ways)} move")
    context.close()


def test_it_is_there_within_a_second_with_its_tabs_in_sight(context, program):
    page = visit(context, program, "watch")
    times = []
    for _ in range(4):  # neither the browser's own start nor another program's work counts
        page.reload()
        page.wait_for_selector("#boards[data-asked]")
        times.append(page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd"))
    assert min(times) < 1000
    expect(page.locator("nav")).to_be_in_viewport()
    page.locator("#to-play").click()
    expect(page.locator("nav")).to_be_in_viewport()
