"""Demonstrations in NumPy archives."""

from typing import Any, cast

import numpy as np
import pytest
import torch
from gymnasium import spaces

from iqlightning.data.arrays import read_npz
from iqlightning.errors import UserError
from iqlightning.spaces import Spaces

SPACES = Spaces(spaces.Box(-np.inf, np.inf, (2,)), spaces.Box(-1.0, 1.0, (1,)))


def arrays() -> dict[str, np.ndarray]:
    observations = np.arange(10, dtype=np.float64).reshape(5, 2)
    return {
        "observations": observations,
        "actions": np.linspace(-1, 1, 5)[:, None],
        "next_observations": observations + 2,
        "rewards": np.arange(5.0),
        "terminated": np.array([0, 1, 0, 0, 0], bool),
        "truncated": np.array([0, 0, 0, 0, 1], bool),
        "episode_starts": np.array([0, 2, 5]),
    }


@pytest.mark.parametrize("left_out", [(), ("episode_starts",)])
def test_episodes_are_those_of_the_arrays(tmp_path, left_out):
    given = {name: each for name, each in arrays().items() if name not in left_out}
    np.savez(tmp_path / "x.npz", **cast(Any, given))
    read = read_npz(tmp_path / "x.npz", SPACES)
    assert read.starts.tolist() == [0, 2, 5]
    assert (read.terminated.tolist(), read.truncated.tolist()) == ([True, False], [False, True])
    transitions = read.transitions()
    assert torch.equal(transitions.obs, torch.arange(10.0).view(5, 2))
    assert torch.equal(transitions.next_obs, torch.arange(10.0).view(5, 2) + 2)
    assert transitions.actions.dtype == torch.float32
    assert read.rewards.tolist() == [0, 1, 2, 3, 4]
    assert transitions.terminated.tolist() == [False, True, False, False, False]


def test_without_successors_the_last_transition_of_each_episode_is_left_out(tmp_path):
    given = {name: each for name, each in arrays().items() if name not in ("next_observations", "rewards")}
    np.savez(tmp_path / "x.npz", **cast(Any, given))
    read = read_npz(tmp_path / "x.npz", SPACES)
    assert read.starts.tolist() == [0, 1, 3]
    assert not read.terminated.any()
    assert torch.equal(read.transitions().obs[:, 0], torch.tensor([0.0, 4.0, 6.0]))
    assert torch.equal(read.transitions().next_obs[:, 0], torch.tensor([2.0, 6.0, 8.0]))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"actions": None}, "no array 'actions'"),
        ({"rewards": np.zeros(4)}, "5 observations, but 4 rewards"),
        ({"episode_starts": np.array([0, 3, 2])}, "episode_starts"),
        ({"episode_starts": None, "terminated": None, "truncated": None}, "where episodes end"),
        ({"observations": np.array([None] * 5)}, "not an archive"),
    ],
)
def test_what_makes_no_episodes_is_refused_in_a_sentence(tmp_path, changes, word):
    given = {name: each for name, each in (arrays() | changes).items() if each is not None}
    np.savez(tmp_path / "x.npz", **cast(Any, given))
    with pytest.raises(UserError, match=word):
        read_npz(tmp_path / "x.npz", SPACES)


def test_what_is_no_archive_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"nothing")
    with pytest.raises(UserError, match="not an archive"):
        read_npz(tmp_path / "x.npz", SPACES)
    with pytest.raises(UserError, match="no file"):
        read_npz(tmp_path / "y.npz", SPACES)


def test_transitions_that_do_not_follow_each_other_are_refused(tmp_path):
    given = arrays()
    given["next_observations"][2] += 1
    np.savez(tmp_path / "x.npz", **cast(Any, given))
    with pytest.raises(UserError, match="rows 2 to 4 whose next_observations are not the observations of the rows"):
        read_npz(tmp_path / "x.npz", SPACES)


def test_an_end_within_an_episode_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", **cast(Any, arrays() | {"episode_starts": np.array([0, 5])}))
    with pytest.raises(UserError, match="rows 0 to 4 that terminates before its end"):
        read_npz(tmp_path / "x.npz", SPACES)


def test_a_damaged_compressed_archive_is_a_sentence(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", **cast(Any, arrays()))
    content = bytearray((tmp_path / "x.npz").read_bytes())
    content[60:140] = b"\xff" * 80
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(UserError, match="is not an archive of NumPy arrays"):
        read_npz(tmp_path / "x.npz", SPACES)
