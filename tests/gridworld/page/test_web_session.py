"""Conversations: playing by the rules, recording what was played, watching what is believed."""

import json

import pytest
import torch
from page_server import SETTINGS, SMALL, session, solve

from iqlightning.data.demonstrations import load_demonstrations
from iqlightning.errors import UserError
from iqlightning.gridworld.game.layouts import draw_layouts
from iqlightning.gridworld.game.observation import parse
from iqlightning.gridworld.game.planning import optimal_values
from iqlightning.gridworld.page.messages import FIELDS, parse_message
from iqlightning.gridworld.page.session import Session
from iqlightning.types import Trajectories


def say(to: Session, type: str, **fields):
    return to.answer(parse_message(json.dumps({"type": type, **fields})))


@pytest.fixture
def talk(tmp_path):
    return session(tmp_path)


def play(talk, grid):
    return [say(talk, "move", action=action) for action in solve(grid)][-1]


def test_every_message_has_an_answer_of_its_type(talk):
    assert all(callable(getattr(talk, f"_{kind}")) for kind in FIELDS)
    assert say(talk, "hello")["type"] == "hello"


def test_the_page_learns_what_there_is(talk):
    hello = say(talk, "hello")
    assert hello["default"] == SETTINGS
    assert [each["label"] for each in hello["contenders"]] == ["any size", "one size", "exact optimum"]
    assert hello["contenders"][0]["trained_on"] == SETTINGS


def test_a_game_is_played_by_the_rules_to_the_goal(talk):
    grid = say(talk, "new_game", **SETTINGS)
    assert grid["walls"].count("1") == 2
    assert grid["shortest"] == len(solve(grid))
    *ways, last = solve(grid)
    for count, action in enumerate(ways, start=1):
        answer = say(talk, "move", action=action)
        assert (answer["moves"], answer["finished"], answer["bumped"]) == (count, None, False)
    answer = say(talk, "move", action=last)
    assert (answer["player"], answer["finished"]) == (grid["goal"], "goal")
    # a finished game stays as it is
    assert say(talk, "move", action=0)["moves"] == grid["shortest"]


def test_moves_run_out(talk):
    grid = say(talk, "new_game", **SETTINGS)
    away = (solve(grid)[0] + 2) % 4
    back_and_forth = [away, solve(grid)[0]] * grid["limit"]
    answers = [say(talk, "move", action=action) for action in back_and_forth[: grid["limit"]]]
    assert {answer["finished"] for answer in answers[:-1]} <= {None, "goal"}
    assert answers[-1]["finished"] in ("limit", "goal")


def test_people_play_grids_that_may_be_learned_from_and_watch_the_others(talk):
    seeds, episodes = torch.full((5,), 3), torch.arange(5)
    for kind, split in (("new_game", "train"), ("watch_grid", "test")):
        drawn = draw_layouts(SMALL, seeds, episodes, split)
        for index in range(5):
            grid = say(talk, kind, **SETTINGS)
            assert (grid["start"], grid["goal"]) == (int(drawn.start[index]), int(drawn.goal[index]))
            assert [cell == "1" for cell in grid["walls"]] == drawn.walls[index].flatten().tolist()


def test_impossible_games_are_refused_in_a_sentence(talk):
    for change in ({"height": 1}, {"width": 65}, {"num_walls": 19}):
        with pytest.raises(UserError):
            say(talk, "new_game", **SETTINGS | change)
    with pytest.raises(UserError, match="no game yet"):
        say(talk, "move", action=0)


def test_what_is_recorded_is_what_was_played(talk, tmp_path):
    say(talk, "new_game", **SETTINGS)
    grids, ways = [], []
    grids.append(say(talk, "record_start", name="mine"))
    for count in range(1, 4):
        ways.append(solve(grids[-1]))
        answer = play(talk, grids[-1])
        assert answer["recording"]["episodes"] == count
        grids.append(say(talk, "new_game", **SETTINGS))
    say(talk, "move", action=0)  # in the middle of the fourth
    ended = say(talk, "record_stop")
    assert ended["ended"]["episodes"] == 3
    assert ended["recordings"] == ["mine"]

    trajectories, metadata = load_demonstrations(tmp_path / "mine.safetensors")
    assert metadata["env"] == SMALL.to_dict()
    assert isinstance(trajectories, Trajectories)
    assert trajectories.actions.tolist() == [action for way in ways for action in way]
    assert trajectories.terminated.all()
    walls, player, goal = parse(trajectories.first_observations)
    for index, grid in enumerate(grids[:3]):
        assert [cell == "1" for cell in grid["walls"]] == walls[index].flatten().tolist()
        assert (grid["start"], grid["goal"]) == (int(player[index]), int(goal[index]))
    assert trajectories.rewards.tolist() == [each for way in ways for each in [*[-1.0] * (len(way) - 1), 10.0]]


def test_undo_discard_and_going_on(talk, tmp_path):
    say(talk, "new_game", **SETTINGS)
    for _ in range(2):
        grid = say(talk, "record_start", name="mine")
        play(talk, grid)
        play(talk, say(talk, "new_game", **SETTINGS))
        assert say(talk, "record_undo")["recording"]["episodes"] == 1
        say(talk, "record_discard")
        assert list(tmp_path.iterdir()) == []
    play(talk, say(talk, "record_start", name="mine"))
    talk.close()  # the browser died

    other = session(tmp_path)
    grid = say(other, "record_resume", name="mine", kept=None)
    assert grid["settings"] == SETTINGS
    assert grid["recording"]["kept"] == 1
    assert play(other, grid)["recording"]["episodes"] == 2


def test_a_recording_that_goes_on_after_a_reload_is_discarded_whole(talk, tmp_path):
    say(talk, "new_game", **SETTINGS)
    for _ in range(2):
        play(talk, say(talk, "record_start", name="mine"))
        talk.close()  # the page is loaded anew
        talk = session(tmp_path)
        assert say(talk, "record_resume", name="mine", kept=0)["recording"] | {"kept": 0} == {
            "name": "mine",
            "file": str(tmp_path / "mine.safetensors"),
            "episodes": 1,
            "transitions": len(load_demonstrations(tmp_path / "mine.safetensors")[0].actions),
            "kept": 0,
            "settings": SETTINGS,
            "level": SMALL.level,
        }
        assert say(talk, "record_discard")["ended"]["episodes"] == 0
        assert list(tmp_path.iterdir()) == []


def test_the_episodes_of_a_recording_are_of_one_game(talk):
    say(talk, "new_game", **SETTINGS)
    say(talk, "record_start", name="mine")
    with pytest.raises(UserError, match="stop recording"):
        say(talk, "new_game", **SETTINGS | {"height": 5})
    with pytest.raises(UserError, match="stop it first"):
        say(talk, "record_start", name="other")
    say(talk, "record_stop")
    say(talk, "new_game", **SETTINGS | {"height": 5})
    with pytest.raises(UserError, match="nothing is being recorded"):
        say(talk, "record_undo")


def test_an_episode_that_cannot_be_written_is_told_and_the_game_goes_on(talk, tmp_path):
    say(talk, "new_game", **SETTINGS)
    grid = say(talk, "record_start", name="mine")
    (tmp_path / "mine.safetensors").write_text("in the way")
    answer = play(talk, grid)
    assert answer["finished"] == "goal"
    assert "not kept" in answer["trouble"]
    assert (tmp_path / "mine.safetensors").read_text() == "in the way"


def ask_maps(talk, contenders, **changes):
    grid = {name: SETTINGS[name] for name in ("height", "width")}
    grid |= {"walls": "00100" + "00000" + "00010" + "00000", "start": 0, "goal": 19, **changes}
    return say(
        talk, "watch_maps", **grid, contenders=[each if isinstance(each, list) else [each, 0] for each in contenders]
    )


def test_the_exact_optimum_is_exact_and_leads_to_the_goal(talk):
    (maps,) = ask_maps(talk, [2])["maps"]
    walls = torch.tensor([c == "1" for c in "00100000000001000000"]).view(1, 4, 5)
    _, v = optimal_values(walls, torch.tensor([19]), 0.99, 0.01)
    for cell in range(20):
        if walls.flatten()[cell] or cell == 19:
            assert maps["v"][cell] is None
        else:
            assert maps["v"][cell] == pytest.approx(float(v[0, cell]), rel=1e-3)
            assert maps["difference"][cell] == 0
            assert maps["on_path"][cell] == 1
            assert max(maps["q"][4 * cell : 4 * cell + 4]) == maps["q"][4 * cell + maps["greedy"][cell]]
    assert maps["reward"][18] == 10


def test_a_policy_is_asked_about_every_cell(talk):
    first, second = ask_maps(talk, [0, 1])["maps"]
    for maps in (first, second):
        assert {len(maps[name]) for name in ("v", "greedy", "reward", "optimum", "difference")} == {20}
        assert len(maps["q"]) == 80
        cell = 7
        best = maps["greedy"][cell]
        assert maps["q"][4 * cell + best] == max(maps["q"][4 * cell : 4 * cell + 4])
        assert maps["difference"][cell] == pytest.approx(maps["v"][cell] - maps["optimum"][cell], abs=1e-2)
    assert first["v"] != second["v"]
    json.dumps([first, second], allow_nan=False)


def test_editing_a_wall_changes_what_is_believed(talk):
    (before,) = ask_maps(talk, [0])["maps"]
    (after,) = ask_maps(talk, [0], walls="00100" + "01000" + "00010" + "00000")["maps"]
    assert before["v"] != after["v"]
    assert after["v"][6] is None


def test_a_goal_behind_walls_has_no_optimum_but_breaks_nothing(talk):
    for contender in (0, 2):
        (maps,) = ask_maps(talk, [contender], walls="00000" + "00000" + "00001" + "00010")["maps"]
        assert set(maps["optimum"]) == {None}


def test_a_network_of_one_size_says_so_and_the_other_is_shown(talk):
    grid = {"height": 3, "width": 3, "walls": "0" * 9, "goal": 8}
    one, any_size = ask_maps(talk, [1, 0], **grid)["maps"]
    assert one == {"trouble": "one size plays grids of 4x5 only"}
    assert len(any_size["v"]) == 9


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"walls": "0" * 19}, "4x5"),
        ({"goal": 20}, "4x5"),
        ({"start": 2}, "on walls"),
        ({"goal": 0}, "share"),
        ({"contenders": [9]}, "policy number 9"),
        ({"contenders": [[0, 1]]}, "policy number 0 has no checkpoint number 1"),
    ],
)
def test_a_grid_that_is_none_is_refused(talk, changes, part):
    contenders = changes.pop("contenders", [0])
    with pytest.raises(UserError, match=part):
        ask_maps(talk, contenders, **changes)


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", "7", '"move"', "{}", "[" * 30000, '{"type": null}', '{"type": "eval"}', '{"type": []}',
        '{"type": "move"}', '{"type": "move", "action": 4}', '{"type": "move", "action": -1}',
        '{"type": "move", "action": true}', '{"type": "move", "action": 1.0}', '{"type": "move", "action": NaN}',
        '{"type": "move", "action": "1"}', '{"type": "move", "action": 1, "x": 1}', '{"type": "hello", "id": -1}',
        '{"type": "hello", "id": "a"}', '{"type": "hello", "id": 1e400}', '{"type": "hello", "id": %s}' % ("9" * 5000),
        '{"type": "record_start", "name": 5}', '{"type": "record_start", "name": ""}',
        '{"type": "record_start", "name": null}', '{"type": "__class__"}',
    ],
)  # fmt: skip
def test_what_is_no_message_is_refused_before_anything_is_done(text):
    with pytest.raises(UserError) as refusal:
        parse_message(text)
    assert len(str(refusal.value)) < 300
