"""``iqlightning data`` and ``collect --from``: from a recording of one's own to a file, and what is in it."""

import json

import numpy as np
import pytest

from iqlightning.data import from_arrays
from iqlightning.data.demonstrations import load_demonstrations

# Two episodes of CartPole's numbers; the first occurs twice, and one state is answered in two ways.
TABLE = "episode,x,v,angle,turn,push,reward,terminated,truncated\n" + "".join(
    f"{episode},0.{move},0.1,0.01,0.2,{push},1,0,0\n"
    for episode, pushes in enumerate(([0, 1, 0, 1], [0, 1, 0, 1], [1, 1, 0, 0, 1]))
    for move, push in enumerate(pushes)
)


@pytest.fixture
def table(workplace):
    header, *rows = TABLE.splitlines()
    names = header.replace("x,v,angle,turn", "obs_0,obs_1,obs_2,obs_3").replace("push", "action")
    return workplace.write("mine.csv", "\n".join([names, *rows]) + "\n")


def test_a_table_becomes_a_file_with_a_summary_first(workplace, table):
    assert workplace.run("collect", "--from", table, "--gym", "CartPole-v1", "--output", "mine.safetensors") == 0
    shown = workplace.shown()
    for part in ("3 (0 terminated, 3 cut off)", "3 to 4, mean 3.3", "Discrete(2)", "left out", "wrote 3 episodes"):
        assert part in shown
    assert shown.index("to know") < shown.index("wrote")
    played, metadata = load_demonstrations(workplace.folder / "mine.safetensors")
    assert played.starts.tolist() == [0, 3, 6, 10]
    assert played.actions.tolist() == [0, 1, 0, 0, 1, 0, 1, 1, 0, 0]
    assert played.rewards.tolist() == [1.0] * 10
    assert (metadata["source"], metadata["env"]["id"]) == ("mine.csv", "CartPole-v1")


def test_columns_of_other_names_are_mapped(workplace):
    workplace.write("mine.csv", TABLE)
    run = ("collect", "--from", "mine.csv", "--gym", "CartPole-v1", "--output", "mine.safetensors")
    sentence = workplace.refused(*run)
    assert "no column 'obs_*'; it has episode, x, v, angle, turn, push" in sentence
    assert not (workplace.folder / "mine.safetensors").exists()
    assert "no part of a recording 'action'" in workplace.refused(*run, "--names", "action=push")
    mapped = TABLE.replace("x,v,angle,turn", "s0,s1,s2,s3")
    workplace.write("mine.csv", mapped)
    assert workplace.run(*run, "--names", "observations=s*", "--names", "actions=push") == 0
    assert load_demonstrations(workplace.folder / "mine.safetensors")[0].num_transitions == 10


def test_the_figures_of_a_file_are_those_of_its_episodes(workplace, table):
    assert workplace.run("collect", "--from", table, "--gym", "CartPole-v1", "--output", "mine.safetensors") == 0
    workplace.shown()
    assert workplace.run("data", "mine.safetensors", "--json", "x.json", "--figure", "x.png") == 0
    assert "none with 'CartPole-v1'" in workplace.shown()
    figures = json.loads((workplace.folder / "x.json").read_text())
    assert (figures["episodes"], figures["transitions"], figures["truncated"]) == (3, 10, 3)
    assert figures["lengths"] == {"min": 3.0, "median": 3.0, "mean": pytest.approx(10 / 3), "max": 4.0}
    assert figures["returns"]["max"] == 4.0
    assert figures["actions"] == {"counts": [6, 4]}
    assert figures["observations"]["constant"] == [1, 2, 3]
    assert figures["observations"]["high"] == pytest.approx([0.4, 0.1, 0.01, 0.2])
    # the second episode is the first again, and one of the third's moves is one of its
    assert (figures["duplicate_episodes"], figures["duplicate_transitions"]) == (1, 5)
    assert figures["contradictions"] == 1
    assert (figures["conflicts"], figures["source"]) == ([], "mine.csv")
    assert (workplace.folder / "x.png").read_bytes().startswith(b"\x89PNG")


def test_a_sign_stands_for_standard_output_which_then_holds_nothing_else(workplace, table):
    assert workplace.run("data", table, "--gym", "CartPole-v1", "--json", "-") == 0
    captured = workplace.capfd.readouterr()
    assert json.loads(captured.out)["episodes"] == 3
    assert "lengths" in captured.err
    assert not (workplace.folder / "-").exists()


def test_conflicts_with_an_environment_are_told(workplace, table):
    assert workplace.run("collect", "--from", table, "--gym", "CartPole-v1", "--output", "mine.safetensors") == 0
    workplace.shown()
    kwargs = ("--gym", "CartPole-v1", "--gym_kwargs", '{"max_episode_steps": 3}')
    assert workplace.run("data", "mine.safetensors", *kwargs, "--json", "x.json") == 0
    conflicts = json.loads((workplace.folder / "x.json").read_text())["conflicts"]
    assert conflicts[0] == "an episode has 4 moves, and its time limit is 3"
    assert workplace.run("data", "mine.safetensors", "--gym", "Pendulum-v1", "--json", "x.json") == 0
    conflicts = json.loads((workplace.folder / "x.json").read_text())["conflicts"]
    assert conflicts == [
        "their observations have shape (4,), the environment's (3,)",
        "the file says that it is of 'CartPole-v1'",
    ]


def test_a_recording_without_an_environment_is_looked_at_with_spaces_guessed(workplace, table):
    assert workplace.run("data", table) == 0
    assert "no environment is named" in workplace.shown()
    assert "name it with --gym ID" in workplace.refused("collect", "--from", table, "--output", "x.safetensors")


def test_a_picture_of_pictures_and_of_real_actions(workplace):
    from gymnasium import spaces

    from iqlightning.spaces import Spaces

    numbers = np.random.default_rng(0)
    seen = [numbers.integers(0, 256, (6, 3, 8, 8), dtype=np.uint8) for _ in range(2)]
    done = [numbers.uniform(-1, 1, (5, 2)) for _ in range(2)]
    own = Spaces(spaces.Box(0, 255, (3, 8, 8), np.uint8), spaces.Box(-1, 1, (2,)))
    rewards = [np.zeros(5)] * 2
    from_arrays(seen, done, rewards, [True, True], spaces=own, output=workplace.folder / "x.safetensors")
    assert workplace.run("data", "x.safetensors", "--figure", "x.svg") == 0
    assert "2 real" in workplace.shown()
    assert b"<svg" in (workplace.folder / "x.svg").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("data none.safetensors", ["does not exist"]),
        ("data none.csv", ["there is no file 'none.csv'"]),
        ("data mine.csv --figure x.txt", ["must end in .png, .svg or .pdf"]),
        ("data tiny.yaml", ["'tiny.yaml' is not a demonstrations file", "collect --from"]),
        ("data tiny.yaml --first_action 1", ["--first_action is for .npz, .csv", "'tiny.yaml' is none"]),
        ("data mine.csv --names x", ["--names takes PART=NAME, not 'x'", "observations"]),
        ("data mine.csv --observation_scale x", ["must be a number above 0 or a fraction such as 1/255"]),
        ("data mine.csv --gym_kwargs {}", ["--gym ID, which is missing"]),
        ("data none-v0 --names actions=x", ["names of columns or arrays are for .npz"]),
        ("collect --from x.pkl --output y", ["may hold Python objects", "from_arrays"]),
        ("collect --first_action 1 --episodes 1", ["--first_action is for episodes that are read with --from"]),
    ],
)
def test_a_mistake_is_one_sentence(workplace, table, arguments, parts):
    sentence = workplace.refused(*arguments.split())
    for part in parts:
        assert part in sentence
    assert sorted(path.name for path in workplace.folder.iterdir()) == ["mine.csv", "tiny.yaml"]


def test_the_identifier_of_a_minari_dataset_is_taken_by_from(workplace, monkeypatch):
    pytest.importorskip("minari", reason="optional extra not installed")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(workplace.folder / "minari"))
    make = ("collect", "--policy", "random", "--gym", "CartPole-v1", "--episodes", "3", "--to_minari", "cart/x-v0")
    assert workplace.run(*make) == 0
    assert workplace.run("collect", "--from", "cart/x-v0", "--output", "x.safetensors") == 0
    played, metadata = load_demonstrations(workplace.folder / "x.safetensors")
    assert (played.num_episodes, metadata["source"]) == (3, "Minari's cart/x-v0")
    assert workplace.run("data", "minari/cart/x-v0") == 0
