"""MiniGrid and BabyAI: what networks are shown, experts, and the configurations that come with them."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from iqlightning import GymnasiumConfig, UserError
from iqlightning.agents.observation_scale import observation_scale
from iqlightning.agents.soft_q import SoftQ
from iqlightning.evaluation.environment import evaluate_environment
from iqlightning.nets.encoders.small_cnn import SmallCNN
from iqlightning.types import Transition

minigrid = pytest.importorskip("iqlightning.envs.minigrid", exc_type=ImportError)
FullyObsWrapper = pytest.importorskip("minigrid.wrappers").FullyObsWrapper

FULL = "minigrid.wrappers.FullyObsWrapper"
GO_TO_OBJ = GymnasiumConfig("BabyAI-GoToObj-v0", wrappers=["babyai"])
LEFT, RIGHT, FORWARD, PICKUP, TOGGLE, DONE = 0, 1, 2, 3, 5, 6

# kind, colour, state
CELLS = {
    "#": (2, 5, 0),
    ".": (1, 0, 0),
    "G": (8, 1, 0),
    "k": (5, 4, 0),
    "D": (4, 4, 2),  # locked
    "d": (4, 4, 1),  # closed
    "o": (4, 4, 0),  # open
    **{arrow: (10, 0, facing) for facing, arrow in enumerate(">v<^")},
}


def grid(*rows):
    return np.array([[CELLS[row[x]] for row in rows] for x in range(len(rows[0]))], dtype=np.uint8)


def played(expert, config, episodes) -> Any:
    return evaluate_environment(expert, config, episodes, 0)


@pytest.mark.parametrize(
    ("rows", "action"),
    [
        (("#####", "#>.G#", "#####"), FORWARD),
        (("#####", "#<.G#", "#####"), LEFT),  # two turns either way: left goes before right
        (("####", "#>.#", "#.G#", "####"), FORWARD),
        (("####", "#^.#", "#.G#", "####"), RIGHT),
        (("######", "#>k.D#", "######"), DONE),  # no goal
        (("#######", "#.>kDG#", "#######"), PICKUP),
        (("#######", "#..>DG#", "#######"), TOGGLE),  # the key is gone: in hand
        (("#######", "#k.>DG#", "#######"), LEFT),  # back for the key, and past its own cell again
        (("#######", "#k.>oG#", "#######"), FORWARD),
        (("#######", "#k.>dG#", "#######"), TOGGLE),
        (("######", "#>.#G#", "######"), DONE),
    ],
)
def test_the_first_move_of_a_shortest_way(rows, action):
    assert minigrid.first_move(grid(*rows)) == action


@pytest.mark.parametrize("env_id", ["MiniGrid-DoorKey-6x6-v0", "MiniGrid-FourRooms-v0"])
def test_the_planner_reaches_every_goal_and_plans_the_same_length_turned_or_not(env_id):
    lengths = []
    for wrappers in ([FULL, "minigrid"], [FULL, "Egocentric", "minigrid"]):
        config = GymnasiumConfig(env_id, wrappers=list(wrappers))
        results = played(config.references()["expert"], config, 12)
        assert (results.returns > 0).all()
        lengths.append(results.lengths.tolist())
    assert lengths[0] == lengths[1]


def test_the_planner_is_for_goals_on_grids_that_are_seen_whole():
    for env_id, wrappers in (
        ("MiniGrid-FourRooms-v0", ["minigrid"]),
        ("MiniGrid-Empty-8x8-v0", ["minigrid.wrappers.RGBImgObsWrapper", "minigrid.wrappers.ImgObsWrapper"]),
        ("MiniGrid-GoToDoor-5x5-v0", [FULL, "minigrid"]),
    ):
        assert GymnasiumConfig(env_id, wrappers=list(wrappers)).expert is None


def test_babyais_bot_demonstrates_and_repeats():
    assert GO_TO_OBJ.expert is not None
    once, again = (next(GO_TO_OBJ.expert.parts(6, 0)) for _ in range(2))
    assert (once.returns > 0.8).all()
    assert torch.equal(once.observations, again.observations)
    assert (played(GO_TO_OBJ.references()["expert"], GO_TO_OBJ, 20).returns > 0.8).all()


def test_the_mission_reaches_the_network_as_words_beside_planes_of_symbols():
    batch = GO_TO_OBJ.make_batch(1, seed=1)
    obs = batch.reset()
    assert GO_TO_OBJ.spaces.codec is not None
    native = GO_TO_OBJ.spaces.codec.decode(obs)
    words = [word for word, said in zip(minigrid._WORDS, native["mission"][0], strict=True) if said]
    assert sorted(words) == sorted(batch.games[0].unwrapped.mission.split())  # type: ignore[attr-defined]

    seen = observation_scale(GO_TO_OBJ.spaces)
    assert seen.name == "one-hot"
    assert seen.module is not None
    row = seen.module(obs)[0]
    ((start, planes, height, width),) = seen.pictures
    assert planes == 11 + 6 + 4
    cells = row[start : start + planes * height * width].view(planes, height, width)
    for channel, (first, last) in enumerate(((0, 11), (11, 17), (17, 21))):
        assert torch.equal(cells[first:last].argmax(0), torch.from_numpy(native["image"][0, :, :, channel]).long())
    assert torch.equal(row[planes * height * width :], torch.from_numpy(native["mission"][0]).float())

    torch.manual_seed(0)
    agent = SoftQ(GO_TO_OBJ.spaces, SmallCNN)
    others = obs.clone()
    others[:, -len(minigrid._WORDS) :] = 0
    assert not torch.equal(agent.q_values(obs), agent.q_values(others))


def test_a_word_that_the_vocabulary_lacks_is_named():
    env = minigrid.ImageAndMission(gymnasium.make("BabyAI-GoToObj-v0"), words=["go", "to"])
    with pytest.raises(UserError, match="has the word 'the', which is not in the vocabulary"):
        env.reset(seed=0)


def cells(image):
    return sorted(map(tuple, image.reshape(-1, 3).tolist()))


def test_the_grid_turns_around_its_player():
    game: Any = gymnasium.make("MiniGrid-FourRooms-v0")
    with pytest.raises(UserError, match="the player in it: put FullyObsWrapper inside"):
        minigrid.Egocentric(game).reset(seed=0)
    whole = FullyObsWrapper(game)
    env: Any = minigrid.Egocentric(whole)
    before = env.reset(seed=3)[0]["image"]
    middle = len(before) // 2
    for action in (LEFT, RIGHT, FORWARD, LEFT, FORWARD):
        assert before[middle, middle].tolist() == [10, 0, 3]
        unturned = whole.observation(game.unwrapped.gen_obs())["image"]
        unturned[unturned[..., 0] == 10, 2] = 3
        assert cells(before) == cells(unturned)
        ahead = game.unwrapped.grid.get(*game.unwrapped.front_pos)
        assert before[middle, middle - 1, 0] == (1 if ahead is None else ahead.encode()[0])
        after = env.step(action)[0]["image"]
        if action == LEFT:  # what was on the left is ahead
            assert after[middle, middle - 1].tolist() == before[middle - 1, middle].tolist()
        before = after


@pytest.mark.parametrize(
    ("env_id", "wrappers"),
    [
        ("MiniGrid-DoorKey-6x6-v0", [FULL, "Egocentric", "babyai"]),
        ("MiniGrid-FourRooms-v0", [FULL, "Egocentric", "minigrid"]),
    ],
)
def test_the_mirror_exchanges_left_and_right(env_id, wrappers):
    config = GymnasiumConfig(env_id, wrappers=wrappers)
    mirror, expert, codec = config.symmetry(), config.references()["expert"], config.spaces.codec
    assert mirror is not None
    assert codec is not None
    batch = config.make_batch(4, seed=0)
    keys, obs = torch.ones(4, dtype=torch.int64), batch.reset()
    for _ in range(12):
        actions = expert.act(obs)
        step = batch.step(actions)
        image = mirror(Transition(obs, actions, step.next_obs, step.terminated, step.truncated), keys)
        assert torch.equal(mirror(image, keys).obs, obs)
        before, after = (codec.decode(each) for each in (image.obs, obs))
        one, other = (each["image"] if isinstance(each, dict) else each for each in (before, after))
        middle = one.shape[1] // 2
        assert np.array_equal(one[:, middle], other[:, middle])
        assert np.array_equal(one[:, middle - 1, middle], other[:, middle + 1, middle])
        assert image.actions[actions < 2].tolist() == (1 - actions[actions < 2]).tolist()
        assert image.actions[actions > 1].tolist() == actions[actions > 1].tolist()
        obs = step.obs


def test_a_word_for_left_becomes_that_for_right():
    mirror = GO_TO_OBJ.symmetry()
    assert mirror is not None
    obs = GO_TO_OBJ.make_batch(1, seed=0).reset()
    obs[:, -len(minigrid._WORDS) + minigrid._WORDS.index("left")] = 1
    seen = mirror.observations(obs, torch.ones(1, dtype=torch.int64))[0, -len(minigrid._WORDS) :]
    assert seen[minigrid._WORDS.index("right")] == 1
    assert seen[minigrid._WORDS.index("left")] == 0


def test_grids_that_are_not_seen_from_their_player_have_no_mirror():
    assert GymnasiumConfig("MiniGrid-FourRooms-v0", wrappers=[FULL, "minigrid"]).symmetry() is None
    assert GymnasiumConfig("MiniGrid-FourRooms-v0", wrappers=["minigrid", "FlattenObservation"]).symmetry() is None


@pytest.mark.parametrize(
    ("env_id", "wrapper", "words"),
    [
        ("CartPole-v1", "Egocentric", "for MiniGrid's observations"),
        ("CartPole-v1", "babyai", "for MiniGrid's observations"),
        ("MiniGrid-LavaGapS5-v0", "Egocentrical", "did you mean 'Egocentric'"),
    ],
)
def test_other_observations_and_names_are_refused(env_id, wrapper, words):
    with pytest.raises(UserError, match=words):
        _ = GymnasiumConfig(env_id, wrappers=[wrapper]).spaces


@pytest.mark.parametrize("name", ["babyai_gotoobj_iq", "doorkey_iq", "fourrooms_iq"])
def test_the_configurations_train(workplace, name):
    config = str(Path(__file__).parents[2] / "configs" / f"{name}.yaml")
    few = [
        "--data.episodes",
        "4",
        "--data.batch_size",
        "8",
        "--trainer.max_steps",
        "2",
        "--data.updates_per_epoch",
        "2",
    ]
    quiet = ["--trainer.callbacks", "[]", "--data.updates_per_step", "1"]
    assert (workplace.fit(*few, *quiet, config=config) / "checkpoints" / "last.ckpt").exists()
