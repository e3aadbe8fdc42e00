"""What the page tells: values under the pointer, to keyboards and screen readers, in links; whether it is legible."""

import re
from pathlib import Path
from typing import Any

import pytest
from page_browser import Program, follow, moved, next_grid, picture, play_episode, record, visit, without_walls
from page_server import policy
from playwright.sync_api import Locator, Page, expect

from iqlightning.gridworld.page.contenders import Checkpoint, Contender, describe_maps

LAYERS = ("none", "v", "q", "reward", "optimum", "difference")


def watch(context, program: Program) -> Page:
    page = visit(context, program, "watch")
    expect(page.locator("#boards")).to_have_attribute("data-asked", re.compile("[1-9]"))
    return page


def choose(page: Page, name: str, value: str) -> None:
    page.locator(f"[name={name}][value={value}]").check(force=True)


def over(page: Page, row: int, column: int) -> tuple[float, float]:
    """Where the middle of a cell of the first board is."""
    box: Any = page.locator("#boards canvas.board").first.bounding_box()
    return box["x"] + (column + 0.5) * box["width"] / 5, box["y"] + (row + 0.5) * box["height"] / 4


def free_cell(page: Page) -> tuple[int, int]:
    """One that is neither wall nor goal, found with the pointer."""
    for row in range(4):
        for column in range(5):
            page.mouse.move(*over(page, row, column))
            if ": free" in page.locator(".reading").first.inner_text():
                return row, column
    raise AssertionError("no free cell")


def test_a_heading_and_a_sentence_say_what_it_is(context, program):
    page = visit(context, program)
    expect(page.get_by_role("heading", level=1)).to_have_text("Play GridWorld")
    expect(page.locator("#play-another")).to_be_hidden()  # the settings have one
    expect(page.locator("#play .intro")).to_contain_text("Bring the red disc to the yellow square")
    page.locator("#to-watch").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Watch a policy")
    expect(page.locator("#watch .intro")).to_contain_text("what it believes about being there (colour)")


def test_the_value_under_the_pointer_is_read_for_every_layer_on_both_boards(context, program):
    page = watch(context, program)
    free_cell(page)
    said = {}
    for layer in LAYERS:
        choose(page, "layer", layer)
        page.mouse.move(*over(page, *free_cell(page)))
        said[layer] = page.locator(".reading").all_inner_texts()
        assert all(re.match(r"Row \d, column \d: free", each) for each in said[layer])
        assert said[layer][0].endswith(("up.", "right.", "down.", "left."))
    names = {"v": "V", "reward": "reward", "optimum": r"V\*", "difference": r"V \u2212 V\* \(rank\)"}
    for layer, name in names.items():
        assert re.search(rf"free, {name} \u2212?[\d.]+, greedy move", said[layer][0]), said[layer]
    assert re.search(
        r"Q up \u2212?[\d.e\u2212]+, right \u2212?[\d.e\u2212]+, down \u2212?[\d.e\u2212]+, left", said["q"][0]
    )
    # pressing it does no more than that
    asked = page.locator("#boards").get_attribute("data-asked")
    page.mouse.down()
    page.mouse.up()
    page.mouse.move(0, 0)
    expect(page.locator(".reading").first).to_have_text("")
    expect(page.locator("#boards")).to_have_attribute("data-asked", str(asked))


def test_a_finger_reads_a_value_without_changing_the_grid(browser, program):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = watch(context, program)
    expect(page.locator("[name=press][value=reads]")).to_be_checked()
    asked = page.locator("#boards").get_attribute("data-asked")
    page.touchscreen.tap(*over(page, 1, 2))
    expect(page.locator(".reading").first).to_contain_text("Row 2, column 3")
    choose(page, "layer", "q")
    page.touchscreen.tap(*over(page, 1, 3))
    expect(page.locator(".reading").first).to_contain_text("Row 2, column 4")
    expect(page.locator("#boards")).to_have_attribute("data-asked", str(asked))
    # what a layer shows is text, not a tip that only a mouse brings up
    expect(page.locator("#layer-says")).to_contain_text("each of the four moves")
    page.locator("#explained summary").tap()
    expect(page.locator("[data-explains=difference]")).to_be_visible()
    context.close()


def test_keys_go_on_working_after_a_click_on_a_layer(context, program):
    page = watch(context, program)
    page.locator("#boards canvas.board").nth(1).focus()
    page.locator("#layers label", has_text="Q(s, a)").click()
    expect(page.locator("[name=layer][value=q]")).to_be_checked()
    expect(page.locator("#boards canvas.board").nth(1)).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#boards canvas.board").nth(1)).to_have_attribute("aria-label", re.compile("Row 2, column 1"))
    expect(page.locator("#announced")).to_contain_text("Row 2, column 1")
    expect(page.locator("[name=layer][value=q]")).to_be_checked()
    # who came to the layers by keyboard stays there, and the letters work from there as well
    page.locator("[name=layer][value=q]").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("[name=layer][value=reward]")).to_be_checked()
    expect(page.locator("[name=layer][value=reward]")).to_be_focused()
    page.keyboard.press(".")
    expect(page.locator("figure .says").first).not_to_have_text("The player is at the start: press Run.")


def test_moves_are_announced(context, program):
    page = visit(context, program)
    expect(page.locator("#announced")).to_contain_text("New grid. Grid of 4 by 5. Player at row")
    assert page.locator("#announced").get_attribute("aria-live") == "polite"
    without_walls(page)
    for count, key in enumerate(("ArrowUp",) * 4, start=1):  # into the edge sooner or later
        page.keyboard.press(key)
        moved(page, count)
        if "Goal" in page.locator("#game-says").inner_text():
            return
    expect(page.locator("#announced")).to_contain_text(re.compile("Blocked, still at row 1, column .* Blocked: up"))


def test_boards_may_share_a_scale_or_show_ranks_and_say_so(context, program):
    page = watch(context, program)
    page.locator("figcaption select").nth(1).select_option("exact optimum")
    expect(page.locator("figcaption .note").nth(1)).to_contain_text("true reward")
    ends = page.locator(".legend .low, .legend .high")
    notes = page.locator(".legend-note")
    expect(notes.first).to_contain_text("This board has a scale of its own.")
    expect(notes.first).to_contain_text(
        re.compile(r"only up to shaping.*correlates with that of V\* at \u2212?[01]\.\d\d")
    )
    expect(notes.nth(1)).to_contain_text("in units of the true reward")
    low, high, other_low, other_high = ends.all_inner_texts()
    assert (low, high) != (other_low, other_high)
    before = picture(page)
    choose(page, "scale", "shared")
    expect(notes.first).to_contain_text("Both boards share one scale.")
    low, high, other_low, other_high = ends.all_inner_texts()
    assert (low, high) == (other_low, other_high)
    assert picture(page) != before
    choose(page, "scale", "ranks")
    expect(notes.first).to_contain_text("ranks: 0 the lowest, 100 the highest")
    expect(notes.first).not_to_contain_text("in units of")
    assert ends.all_inner_texts() == ["0", "100", "0", "100"]
    choose(page, "layer", "difference")
    expect(notes.first).to_contain_text("Rank of V minus rank of V*")
    page.locator("#compare").click()
    expect(page.locator("#scale-shared")).to_be_hidden()


def test_where_values_fall_towards_the_goal_a_hint_says_that_and_why(context, program, monkeypatch):
    def inverted(maps) -> dict[str, Any]:
        described = describe_maps(maps)
        return described | {"v": [None if each is None else -each for each in described["optimum"]]}

    monkeypatch.setattr("iqlightning.gridworld.page.session.describe_maps", inverted)
    page = watch(context, program)
    page.locator("figcaption select").nth(1).select_option("exact optimum")
    expect(page.locator(".legend-note").nth(1)).to_contain_text("in units of the true reward")
    summary, why = page.locator(".why summary"), page.locator(".why span")
    expect(summary.first).to_have_text("Low at the goal is normal here: why?")
    expect(summary.nth(1)).to_be_hidden()
    expect(why.first).to_be_hidden()
    summary.first.click()
    expect(why.first).to_be_visible()
    expect(why.first).to_have_text(re.compile(r"^V in units of a reward that .*up to shaping.*\u22121\.00 \(Sp"))
    choose(page, "layer", "optimum")
    expect(summary.first).to_be_hidden()


def test_ranks_and_their_correlation(context, program):
    page = watch(context, program)
    compute = """async ([name, argument]) => (await import(
      performance.getEntriesByType("resource").map((each) => each.name).find((each) => each.endsWith("layers.js"))
    ))[name](argument)"""
    assert page.evaluate(compute, ["ranks", [3, None, 1, 2, 2, 9]]) == [75, None, 0, 37.5, 37.5, 100]
    assert page.evaluate(compute, ["ranks", [None, 5]]) == [None, 50]
    maps = {"v": [4, 3, 2, 1, None, 7], "optimum": [1, 2, 3, 4, None, None]}
    assert page.evaluate(compute, ["agreement", maps]) == pytest.approx(-1)
    assert page.evaluate(compute, ["agreement", {"v": [1, 1], "optimum": [1, 2]}]) is None


def test_a_link_holds_what_is_shown_and_no_token(context, program):
    page = watch(context, program)
    page.locator("#clear-walls").click()
    choose(page, "layer", "reward")
    choose(page, "scale", "ranks")
    page.locator("#numbers").check(force=True)
    page.locator("figcaption select").nth(1).select_option("exact optimum")
    expect(page.locator(".legend-note").nth(1)).to_contain_text(
        "Recovered reward of the greedy move. Colours are ranks"
    )
    page.locator("#copy-link").click()
    link = page.url
    assert re.search(r"#watch\?size=4x5&walls=00000&.*layer=reward&scale=ranks&show=arrows\+numbers", link)
    assert program.server.token not in link
    label = str(page.locator("#boards canvas.board").nth(1).get_attribute("aria-label"))
    assert re.fullmatch(r"Grid of exact optimum. Cursor: Row 1, column 1: .*", label)
    other = context.new_page()
    other.goto(link)
    expect(other.locator("#boards")).to_have_attribute("data-asked", re.compile("[1-9]"))
    expect(other.locator("[name=layer][value=reward]")).to_be_checked()
    expect(other.locator("[name=scale][value=ranks]")).to_be_checked()
    expect(other.locator("figcaption select").nth(1)).to_have_value("2")
    expect(other.locator(".legend-note").nth(1)).to_contain_text(
        "Recovered reward of the greedy move. Colours are ranks"
    )
    expect(other.locator("#boards canvas.board").nth(1)).to_have_attribute("aria-label", label)
    other.locator("#copy-link").click()
    assert other.url == link
    # a reload keeps it as well, and Back comes back to it
    page.reload()
    expect(page.locator("#boards")).to_have_attribute("data-asked", re.compile("[1-9]"))
    expect(page.locator("#boards canvas.board").nth(1)).to_have_attribute("aria-label", label)
    assert page.url == link
    page.locator("#to-play").click()
    page.go_back()
    expect(page.locator("[name=layer][value=reward]")).to_be_checked()


@pytest.mark.parametrize(
    "state",
    [
        "size=4x5&walls=zzzzz&start=0&goal=1",
        "size=99x99&walls=0&start=0&goal=1",
        "size=4x5&walls=00000&start=3&goal=3",
        "size=4x5&walls=80000&start=0&goal=3",
        "size=4x5&walls=00000&start=-1&goal=3",
        "size=4x5&walls=00000&start=0&goal=20",
        "size=4x5&walls=00000&start=1.5&goal=3&layer=constructor&board=<img src=x onerror=alert(1)>",
    ],
)
def test_a_link_that_makes_no_sense_shows_another_grid(context, program, state):
    page = visit(context, program)
    page.on("dialog", lambda dialog: pytest.fail("a script ran"))
    follow(page, f"{page.url.split('#')[0]}#watch?{state}")
    expect(page.locator("figure .says").first).to_have_text("The player is at the start: press Run.")
    assert page.locator("img").count() == 1


def test_a_slider_goes_through_the_checkpoints_of_a_run_on_one_grid(context, tmp_path, monkeypatch):
    series = tuple(Checkpoint(updates, name, Path()) for updates, name in ((1, ""), (2, ""), (3, "best, last")))
    run = Contender("run", policy(), checkpoints=series)
    others = {Path(): policy(seed=1)}
    monkeypatch.setattr("iqlightning.gridworld.page.contenders._policy_at", lambda path, device: others[path])
    program = Program([run, Contender("exact optimum")], tmp_path / "data")
    page = watch(context, program)
    training = page.locator(".training").first
    expect(training).to_be_visible()
    expect(training.locator("output")).to_have_text("3 updates (best, last)")
    expect(page.locator("figcaption .note").first).to_have_text("IQLearn, GridCNN")
    last, address = picture(page), page.url
    training.locator("input").fill("0")
    expect(training.locator("output")).to_have_text("1 updates")
    expect(page.locator("#boards")).to_have_attribute("data-asked", "2")
    assert picture(page) != last
    page.locator("#copy-link").click()
    assert "board=run%401" in page.url
    # the keys and the mouse keep hold of it
    training.locator("input").focus()
    for updates in (2, 3):
        page.keyboard.press("ArrowRight")
        expect(training.locator("output")).to_contain_text(f"{updates} updates")
        expect(training.locator("input")).to_be_focused()
    box: Any = training.locator("input").bounding_box()
    page.mouse.move(box["x"] + box["width"] - 4, box["y"] + box["height"] / 2)
    page.mouse.down()
    for share, updates in ((0.5, 2), (0.02, 1)):
        page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
        expect(training.locator("output")).to_have_text(f"{updates} updates")
    page.mouse.up()
    page.locator("#copy-link").click()
    # the grid is the same
    assert (
        re.findall("walls=[^&]*&start=[^&]*&goal=[^&]*", page.url)
        == re.findall("walls=[^&]*&start=[^&]*&goal=[^&]*", address)
        or "walls" not in address
    )
    page.reload()
    expect(page.locator(".training output").first).to_have_text("1 updates")
    page.close()
    program.stop()


def test_after_a_reload_stop_undo_and_discard_do_what_they_say(context, program):
    page = visit(context, program)
    without_walls(page)
    record(page)
    for _ in range(3):
        with next_grid(page):
            play_episode(page)
    page.reload()
    expect(page.locator("#record-count")).to_contain_text("3 episodes")
    page.locator("#record-undo").click()
    expect(page.locator("#record-count")).to_contain_text("2 episodes")
    page.reload()
    expect(page.locator("#record-count")).to_contain_text("2 episodes")
    page.locator("#record-discard").click()
    expect(page.locator("#confirm-says")).to_have_text("Discard the 2 episodes recorded in “mine-1”?")
    page.locator("#confirm-yes").click()
    expect(page.locator("#record-ended")).to_have_text("Discarded; there is no file.")
    assert not (program.data / "mine-1.safetensors").exists()
    # what was there before it was gone on with stays
    record(page)
    with next_grid(page):
        play_episode(page)
    page.locator("#record-stop").click()
    with next_grid(page):
        page.locator("#record-resume").click()
    with next_grid(page):
        play_episode(page)
    page.reload()
    expect(page.locator("#record-count")).to_contain_text("2 episodes")
    page.locator("#record-discard").click()
    page.locator("#confirm-yes").click()
    expect(page.locator("#record-ended")).to_contain_text("Discarded; the file holds 1 episode,")


def test_the_command_is_one_line(context, program):
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = visit(context, program)
    without_walls(page)
    record(page)
    with next_grid(page):
        play_episode(page)
    page.locator("#record-stop").click()
    expect(page.locator("#record-command")).to_contain_text("iqlightning fit")
    shown = page.locator("#record-command").inner_text()
    page.locator("#record-copy").click()
    expect(page.locator("#record-copy")).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    page.locator("#record-command").evaluate("element => getSelection().selectAllChildren(element)")
    page.keyboard.press("Control+C")
    selected = page.evaluate("navigator.clipboard.readText()")
    assert "\n" not in copied
    assert shown.startswith("python -m iqlightning fit --config configs/cnn_iq.yaml --data.path ")
    assert shown == copied == selected


def luminance(colour: str) -> float:
    red, green, blue = (int(each) / 255 for each in re.findall(r"\d+", colour)[:3])
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in (red, green, blue)]
    return sum(share * each for share, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def colour(element: Locator, name: str) -> str:
    return element.evaluate("(element, name) => getComputedStyle(element)[name]", name)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_borders_and_the_goal_stand_out(browser, program, scheme):
    context = browser.new_context(viewport={"width": 1280, "height": 860}, color_scheme=scheme)
    page = watch(context, program)
    choose(page, "layer", "none")
    page.locator("#arrows").uncheck(force=True)
    paper = colour(page.locator("body"), "backgroundColor")
    for element in (
        page.locator("#another"),
        page.locator("figcaption select").first,
        page.locator("[value=v] + span"),
    ):
        edge = colour(element, "borderTopColor")
        assert contrast(edge, paper) >= 3
        assert contrast(edge, colour(element, "backgroundColor")) >= 3
    assert colour(page.locator("#arrows"), "opacity") == "1"  # a checkbox that is seen as one
    # the edge of the goal, and the lines between cells, against the floor
    constants = page.evaluate("""async () => {
      const found = performance.getEntriesByType("resource").map((each) => each.name);
      const { CELLS, DARK_CELLS } = await import(found.find((each) => each.endsWith("definitions.js")));
      const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)).join(" ");
      const cells = matchMedia("(prefers-color-scheme: dark)").matches ? DARK_CELLS : CELLS;
      return Object.fromEntries(Object.entries(cells).map(([name, hex]) => [name, rgb(hex)]));
    }""")
    for name in ("edge", "line", "player", "wall"):
        assert contrast(constants[name], constants["floor"]) >= 3, name
    assert contrast(constants["edge"], constants["goal"]) >= 3
    assert contrast(constants["wall"], paper) >= 3
    edge, seen = (
        constants["edge"].split(),
        page.locator("#boards canvas.board").first.evaluate(
            "canvas => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]"
        ),
    )
    assert [int(each) for each in edge] in [seen[at : at + 3] for at in range(0, len(seen), 4)]
    context.close()
