"""Demonstrations from arrays in memory."""

import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from iqlightning.data import from_arrays
from iqlightning.data.demonstrations import load_demonstrations
from iqlightning.errors import UserError
from iqlightning.spaces import Spaces

SPACES = Spaces(spaces.Box(-np.inf, np.inf, (2,)), spaces.Box(-1.0, 1.0, (1,)))
NUMBERED = Spaces(SPACES.observation, spaces.Discrete(3))
BYTES = Spaces(spaces.Box(0, 255, (2,), np.uint8), spaces.Discrete(3))


def rows() -> dict[str, Any]:
    """Two episodes, of two and of three transitions."""
    observations = np.arange(10, dtype=np.float64).reshape(5, 2)
    return {
        "observations": observations,
        "actions": np.linspace(-1, 1, 5)[:, None],
        "next_observations": observations + 2,
        "rewards": np.arange(5.0),
        "terminated": np.array([0, 1, 0, 0, 0], bool),
        "truncated": np.array([0, 0, 0, 0, 1], bool),
        "spaces": SPACES,
    }


def silent(**arguments: Any):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return from_arrays(**arguments)


def said(**arguments: Any):
    """What is made of the arrays, and all that is told of it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = from_arrays(**arguments)
    return made, " ".join(str(each.message) for each in caught)


@pytest.mark.parametrize(
    "ends",
    [
        {},
        {"episode_starts": np.array([0, 2, 5])},
        {"episode_starts": [0, 2]},
        {"episode_ends": torch.tensor([2, 5])},
        {"episode": np.array([7, 7, 3, 3, 3])},
    ],
)
def test_rows_are_parted_by_any_sign_of_where_episodes_end(ends):
    made = silent(**rows(), **ends)
    assert made.starts.tolist() == [0, 2, 5]
    assert (made.terminated.tolist(), made.truncated.tolist()) == ([True, False], [False, True])
    transitions = made.transitions()
    assert torch.equal(transitions.obs, torch.arange(10.0).view(5, 2))
    assert torch.equal(transitions.next_obs, torch.arange(10.0).view(5, 2) + 2)
    assert transitions.actions.dtype == torch.float32
    assert made.rewards.tolist() == [0, 1, 2, 3, 4]
    assert transitions.terminated.tolist() == [False, True, False, False, False]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int16, torch.uint8])
def test_lists_of_episodes_of_any_real_dtype_are_the_same_as_rows(dtype):
    whole = [torch.arange(6).view(3, 2).to(dtype), torch.arange(4, 12).view(4, 2).to(dtype)]
    moves = [np.array([2, 0]), torch.tensor([1, 1, 2], dtype=torch.int32)]
    made = silent(
        observations=whole,
        actions=moves,
        rewards=[[0, 1], [2, 3, 4]],
        terminated=[True, False],
        truncated=[False, torch.tensor([False, False, True])],
        spaces=NUMBERED,
    )
    assert made.starts.tolist() == [0, 2, 5]
    assert made.observations.dtype == torch.float32
    assert torch.equal(made.transitions().next_obs, torch.arange(10.0).view(5, 2) + 2)
    assert made.actions.tolist() == [2, 0, 1, 1, 2]
    assert made.actions.dtype == torch.int64
    assert made.terminated.tolist() == [True, False]


def test_without_successors_the_last_transition_of_each_episode_is_left_out_and_that_is_said():
    given = {name: each for name, each in rows().items() if name not in ("next_observations", "rewards")}
    made, told = said(**given)
    assert made.starts.tolist() == [0, 1, 3]
    assert not made.terminated.any()
    assert torch.equal(made.transitions().obs[:, 0], torch.tensor([0.0, 4.0, 6.0]))
    assert torch.equal(made.transitions().next_obs[:, 0], torch.tensor([2.0, 6.0, 8.0]))
    assert "last transition of each episode is left out" in told
    assert "one terminal state is lost" in told
    assert "rewards are not recorded" in told


def test_an_episode_with_as_many_observations_as_actions_loses_its_last_transition_alone():
    made, told = said(
        observations=[np.zeros((3, 2)), np.ones((3, 2))],
        actions=[np.zeros((2, 1)), np.ones((3, 1))],
        rewards=[np.zeros(2), np.ones(3)],
        terminated=[True, True],
        spaces=SPACES,
    )
    assert made.lengths.tolist() == [2, 2]
    assert made.terminated.tolist() == [True, False]
    assert made.returns.tolist() == [0, 2]
    assert "last transition of 1 of 2 episodes is left out" in told


def test_an_episode_that_was_still_going_on_is_kept_as_cut_off_and_that_is_said():
    made, told = said(**rows() | {"truncated": np.zeros(5, bool)})
    assert made.truncated.tolist() == [False, True]
    assert "the last episode does not end" in told


def test_an_episode_of_one_observation_is_left_out_and_that_is_said():
    given = {name: each for name, each in rows().items() if name != "next_observations"}
    made, told = said(**given, episode_starts=[0, 2, 4])
    assert made.lengths.tolist() == [1, 1]
    assert "one episode is left out that hold" in told


def test_a_file_is_written_in_the_same_step_and_none_is_replaced_unasked(tmp_path, monkeypatch):
    path = tmp_path / "new" / "mine.safetensors"
    states = np.zeros((9, 4))
    given = {"observations": [states], "actions": [np.ones(8, int)], "rewards": [np.ones(8)]}
    made = silent(**given, terminated=[False], env="CartPole-v1", output=path, source="me", truncated=[True])
    read, metadata = load_demonstrations(path)
    assert torch.equal(read.actions, made.actions)
    assert metadata == {"env": {"kind": "GymnasiumConfig", "id": "CartPole-v1", "kwargs": {}}, "source": "me"}
    with pytest.raises(UserError, match="exists already"):
        from_arrays(**given, env="CartPole-v1", output=path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="exists already"):
        from_arrays(**given, env="CartPole-v1", output="~/new/mine.safetensors")
    said(**given, env="CartPole-v1", output="~/mine.safetensors")
    assert (tmp_path / "mine.safetensors").is_file()
    assert not (tmp_path / "~").exists()


def test_spaces_that_no_environment_says_are_guessed_and_said():
    _, told = said(**rows() | {"spaces": None, "actions": np.array([0, 2, 1, 0, 1])})
    assert "Discrete(3)" in told
    _, told = said(**rows() | {"spaces": None, "actions": np.array([0.5, 2, 1, 0, 1])[:, None]})
    assert "Box(-1.0, 2.0, (1,), float32)" in told
    with pytest.raises(UserError, match="run from 1 to 2, and no environment says which is the first"):
        from_arrays(**rows() | {"spaces": None, "actions": np.array([1, 2, 1, 1, 1])})


def test_actions_that_start_at_one_are_refused_or_shifted_on_request():
    given = rows() | {"actions": np.array([1, 3, 2, 1, 3]), "spaces": NUMBERED}
    with pytest.raises(
        UserError, match=r"whole numbers from 0 to 2, but one is 3; they run from 1 to 3.*first_action=1"
    ):
        from_arrays(**given)
    made, told = said(**given, first_action=1)
    assert made.actions.tolist() == [0, 2, 1, 0, 2]
    assert "actions count from 1" in told


def test_an_environment_that_counts_from_one_gets_its_own_units(monkeypatch):
    class FromOne(gymnasium.Env):
        observation_space, action_space = SPACES.observation, spaces.Discrete(3, start=1)

    spec = EnvSpec("FromOne-v0", entry_point=FromOne)  # type: ignore[arg-type]
    monkeypatch.setitem(gymnasium.registry, "FromOne-v0", spec)
    given: dict[str, Any] = rows() | {
        "actions": np.array([1, 3, 2, 1, 3])[:, None],
        "spaces": None,
        "env": "FromOne-v0",
    }
    made, told = said(**given)
    assert made.actions.tolist() == [0, 2, 1, 0, 2]
    assert "actions count from 1" in told
    given["actions"] = np.array([0, 2, 1, 0, 1])
    with pytest.raises(UserError, match=r"from 1 to 3, but one is 0.*first_action=0"):
        from_arrays(**given)


def test_pictures_in_0_to_1_of_an_environment_of_bytes_are_refused_or_scaled_on_request():
    pictures = np.array([[0, 255], [51, 102], [153, 204], [1, 2], [254, 3]], np.uint8)
    after = np.concatenate([pictures[1:], pictures[:1]])
    given: dict[str, Any] = rows() | {
        "actions": np.zeros(5, int),
        "spaces": BYTES,
        "truncated": None,
        "terminated": None,
    }
    given |= {"episode_ends": [5], "observations": pictures / 255, "next_observations": after / 255}
    with pytest.raises(UserError, match=r"lie in \[0, 1\].*in \[0, 255\].*observation_scale=255"):
        from_arrays(**given)
    for dtype in (np.float64, np.float32, np.float16):
        small: dict[str, Any] = {name: given[name].astype(dtype) for name in ("observations", "next_observations")}
        made, _ = said(**given | small, observation_scale=255.0)
        assert made.observations.dtype == torch.uint8
        assert torch.equal(made.transitions().obs, torch.from_numpy(pictures))
    as_it_is: dict[str, Any] = {
        name: (given[name] > 0.5).astype(float) for name in ("observations", "next_observations")
    }
    made, _ = said(**given | as_it_is, observation_scale=1.0)
    assert made.observations.max() == 1


def test_bytes_of_an_environment_in_0_to_1_are_refused_or_scaled_on_request():
    unit = Spaces(spaces.Box(0, 1, (2,)), SPACES.action)
    given: dict[str, Any] = rows() | {"spaces": unit}
    given |= {name: (each * 20).astype(np.uint8) for name, each in rows().items() if "observations" in name}
    with pytest.raises(UserError, match="reach 220, those of the environment at most 1"):
        from_arrays(**given)
    made = silent(**given, observation_scale=1 / 255)
    assert made.observations.max() == pytest.approx(220 / 255)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rewards": np.zeros(4)}, "5 observations, but 4 rewards"),
        ({"episode_starts": [0, 3, 2]}, "episode_starts of 'arrays' must be whole numbers"),
        ({"episode_ends": [0, 5]}, "episode_ends of 'arrays' must be whole numbers that increase from 1"),
        ({"episode_ends": [2.5, 5]}, "must be whole numbers"),
        ({"episode": np.array([0, 0, 1, 0, 0])}, "are not together"),
        ({"episode": np.zeros(5), "episode_ends": [5]}, "more than once"),
        ({"terminated": None, "truncated": None}, "does not say where episodes end"),
        ({"episode_ends": [5]}, "said to end before its last move"),
        ({"observations": np.array([None] * 5)}, "no rows of numbers, but object"),
        ({"actions": ["a"] * 5}, "no rows of numbers"),
        ({"actions": np.full((5, 1), np.nan)}, "an action of 'arrays' is not finite .at row 0 of 5"),
        ({"actions": np.full((5, 1), 2.0)}, "they contain the action"),
        ({"actions": np.zeros((5, 2))}, "have shape .2,., and the environment's have .1,."),
        ({"observations": np.zeros((0, 2))}, "5 actions|0 observations"),
        ({"observations": rows()["observations"] * 1e300, "next_observations": None}, "more than float32 holds"),
        (
            {"observations": rows()["observations"].astype(int) << 24, "next_observations": None},
            "does not hold 16777216",
        ),
        ({"first_action": 1}, "is for actions that are numbered"),
        ({"spaces": NUMBERED}, "must be whole numbers from 0 to 2"),
        (
            {"spaces": BYTES, "observations": rows()["observations"] / 2, "next_observations": None},
            "from 0 to 255, but",
        ),
        ({"observations": [np.zeros((3, 2))]}, "make an array of a list of rows|1 episodes of observations"),
    ],
)
def test_what_makes_no_demonstrations_is_refused_in_a_sentence(changes, words):
    with pytest.raises(UserError, match=words) as caught:
        from_arrays(**rows() | changes)
    assert "\n" not in str(caught.value)


def test_transitions_that_do_not_follow_each_other_are_refused():
    given = rows()
    given["next_observations"][2] += 1
    with pytest.raises(
        UserError, match=r"episode 1 of 'arrays' has next_observations that are not .*first at its row 0"
    ):
        from_arrays(**given)


def test_episodes_of_different_shapes_are_refused():
    with pytest.raises(UserError, match=r"observations of 'arrays' are not all of one shape, but of \(2,\) and \(3,\)"):
        from_arrays([np.zeros((3, 2)), np.zeros((3, 3))], [np.zeros((2, 1))] * 2, spaces=SPACES)


def test_an_episode_that_fits_neither_way_is_named():
    with pytest.raises(UserError, match="episode 1 of 'arrays' has 2 actions and 5 observations"):
        from_arrays([np.zeros((3, 2)), np.zeros((5, 2))], [np.zeros((2, 1))] * 2, spaces=SPACES)
