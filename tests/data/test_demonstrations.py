"""The demonstrations file: what goes in comes out, and nothing broken comes out."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces

from iqlightning.data.demonstrations import (
    header_of,
    load_demonstrations,
    read_metadata,
    save_demonstrations,
)
from iqlightning.data.validation import check_fits
from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.errors import UserError
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.expert import shortest_path_demonstrations
from iqlightning.spaces import Spaces
from iqlightning.types import Trajectories

ENV = GridWorldConfig(height=4, width=5, num_walls=2)
METADATA = {"env": ENV.to_dict(), "seed": 3, "source": "test", "recipe": {"episodes": 6}}


@pytest.fixture
def trajectories() -> Trajectories:
    return shortest_path_demonstrations(ENV, 6, seed=3)


@pytest.fixture
def path(tmp_path, trajectories):
    path = tmp_path / "made" / "demonstrations.safetensors"
    save_demonstrations(path, trajectories, METADATA)
    return path


REAL = Spaces(spaces.Box(-1, 1, (3,)), spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 1.0], np.float32)))


def driven(**changes) -> Trajectories:
    """Two episodes of three moves with actions of two numbers."""
    arrays = {
        "observations": torch.linspace(-1, 1, 24).view(8, 3),
        "actions": torch.linspace(0, 1, 12).view(6, 2),
        "rewards": torch.ones(6),
        "starts": torch.tensor([0, 3, 6]),
        "terminated": torch.tensor([True, False]),
        "truncated": torch.tensor([False, True]),
    }
    return Trajectories(**(arrays | changes))


def test_what_is_saved_comes_back(path, trajectories):
    loaded, metadata = load_demonstrations(path)
    for name in ("observations", "actions", "rewards", "starts", "terminated", "truncated"):
        original, copy = getattr(trajectories, name), getattr(loaded, name)
        assert original.dtype == copy.dtype
        assert torch.equal(original, copy)
    assert loaded.observations.dtype == torch.uint8
    assert metadata == METADATA == read_metadata(path)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_actions_that_are_numbers_come_back_with_their_spaces(tmp_path):
    path = tmp_path / "driven.safetensors"
    save_demonstrations(path, driven(), {"source": "test"}, REAL)
    for in_memory in (True, False):
        loaded, metadata = load_demonstrations(path, in_memory=in_memory)
        assert metadata == {"source": "test"}
        assert loaded.actions.dtype == torch.float32
        assert torch.equal(loaded.actions, driven().actions)
        assert torch.equal(loaded.transitions().actions, driven().actions)
    assert Spaces.from_dict(json.loads(header_of(path)[0]["spaces"])) == REAL


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"actions": torch.full((6, 2), 1.5)},
            r"the action \[1.5, 1.5\], but valid ones are from \[-2, 0\] to \[2, 1\]",
        ),
        ({"actions": torch.full((6, 2), torch.nan)}, "an action is not finite"),
        ({"actions": torch.zeros(6, 3)}, r"float32 of shape \(3,\), the header's torch.float32 of shape \(2,\)"),
        ({"actions": torch.zeros(6, dtype=torch.int64)}, r"int64 of shape \(\), the header's torch.float32"),
        ({"actions": torch.zeros(6, 2).double()}, "actions are torch.float64, not torch.int64 or torch.float32"),
        ({"observations": torch.zeros(8, 3, dtype=torch.uint8)}, "observations are torch.uint8, the header's torch.f"),
        ({"observations": torch.zeros(8, 4)}, r"shape \(4,\), the header's \(3,\)"),
    ],
)
def test_what_is_not_of_the_spaces_is_not_written(tmp_path, changes, problem):
    with pytest.raises(UserError, match=problem):
        save_demonstrations(tmp_path / "file.safetensors", driven(**changes), {}, REAL)
    assert not list(tmp_path.iterdir())


def test_bounds_belong_to_the_spaces_up_to_rounding(tmp_path):
    actions = driven().actions.clone()
    actions[0] = torch.tensor([2.0, 1.0]) * (1 + 2**-23)
    save_demonstrations(tmp_path / "file.safetensors", driven(actions=actions), {}, REAL)


def test_a_file_says_its_spaces(tmp_path, trajectories):
    with pytest.raises(UserError, match="do not say which environment they are of, nor its spaces"):
        save_demonstrations(tmp_path / "file.safetensors", trajectories, {"seed": 0})
    assert not list(tmp_path.iterdir())


def test_equal_demonstrations_are_equal_bytes(path, trajectories, tmp_path):
    save_demonstrations(tmp_path / "again.safetensors", trajectories, dict(reversed(METADATA.items())))
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(UserError, match="does not exist; make one with: iqlightning collect"):
        load_demonstrations(tmp_path / "none.safetensors")
    with pytest.raises(UserError, match="is a folder"):
        load_demonstrations(tmp_path)


def test_demonstrations_have_to_fit_the_environment(trajectories):
    check_fits("a file", trajectories, ENV)
    with pytest.raises(UserError, match=r"\(3, 4, 5\), the environment's \(3, 10, 10\)"):
        check_fits("a file", trajectories, GridWorldConfig())
    with pytest.raises(UserError, match=r"observations are torch.float32, the environment's torch.uint8"):
        check_fits("a file", replace(trajectories, observations=trajectories.observations.float()), ENV)
    trajectories.actions[0] = 4
    with pytest.raises(UserError, match="action 4, but valid actions are 0 to 3"):
        check_fits("a file", trajectories, ENV)


def test_a_file_whose_actions_its_own_environment_lacks_is_refused(tmp_path, trajectories):
    trajectories.actions[0] = 9
    path = tmp_path / "f.safetensors"
    with pytest.raises(UserError, match="action 9"):
        save_demonstrations(path, trajectories, METADATA)
    assert not path.exists()
    other = GymnasiumConfig("iqlightning/GridWorld-v0", {"height": 4, "width": 5})
    wider = other.spaces._replace(action=spaces.Discrete(10))
    save_demonstrations(path, trajectories, METADATA, wider)  # the header allows what the environment does not
    with pytest.raises(UserError, match=r"do not fit the environment 'gridworld-.*action 9"):
        load_demonstrations(path)


def test_a_folder_that_cannot_be_is_a_plain_sentence(tmp_path, trajectories):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="cannot write the demonstrations file"):
        save_demonstrations(tmp_path / "file" / "f.safetensors", trajectories, METADATA)


@pytest.mark.parametrize("content", [b"obs_0,action\n0,1\n" * 9, b"PK\x03\x04 an archive", b"\x80\x04\x95 objects"])
def test_a_file_of_another_kind_is_called_that_and_nobody_is_told_to_delete_it(tmp_path, content):
    (tmp_path / "mine.bin").write_bytes(content)
    with pytest.raises(UserError, match=r"'.*' is not a demonstrations file; .* collect --from") as caught:
        load_demonstrations(tmp_path / "mine.bin")
    assert "delete it" not in str(caught.value)


def test_nobody_is_told_to_delete_a_damaged_file_that_may_be_the_only_one(path):
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="copy it anew") as caught:
        load_demonstrations(path)
    assert "delete it" not in str(caught.value)
