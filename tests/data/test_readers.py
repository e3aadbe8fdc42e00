"""Recordings in files of other formats."""

import pickle
from typing import Any, cast

import numpy as np
import pytest
import torch
from gymnasium import spaces

from iqlightning.data.fitting import fitted
from iqlightning.data.readers import read_recording
from iqlightning.errors import UserError
from iqlightning.spaces import Spaces

SPACES = Spaces(spaces.Box(-np.inf, np.inf, (2,)), spaces.Box(-1.0, 1.0, (1,)))
MISSING = "optional extra not installed"

# Two episodes, of two and of three transitions; the second is cut off.
TABLE = """\
episode,t,obs_0,obs_1,action_0,reward,terminated,truncated,next_obs_0,next_obs_1
a,0,0,1,-1,0,False,False,2,3
a,1,2,3,-0.5,1,True,False,4,5
b,0,4,5,0,2,false,false,6,7
b,1,6,7,0.5,3,false,false,8,9
b,2,8,9,1,4,false,true,10,11
"""


def arrays() -> dict[str, np.ndarray]:
    """The same."""
    observations = np.arange(10.0).reshape(5, 2)
    return {
        "observations": observations,
        "actions": np.linspace(-1, 1, 5)[:, None],
        "next_observations": observations + 2,
        "rewards": np.arange(5.0),
        "terminated": np.array([0, 1, 0, 0, 0], bool),
        "truncated": np.array([0, 0, 0, 0, 1], bool),
    }


def read(path, **names: str):
    recording = read_recording(str(path), None, names)
    assert recording is not None
    return recording


def require_the_episodes(recording) -> None:
    made = fitted(recording, SPACES)
    assert made.starts.tolist() == [0, 2, 5]
    assert (made.terminated.tolist(), made.truncated.tolist()) == ([True, False], [False, True])
    assert torch.equal(made.transitions().obs, torch.arange(10.0).view(5, 2))
    assert torch.equal(made.transitions().next_obs, torch.arange(10.0).view(5, 2) + 2)
    assert made.actions[:, 0].tolist() == [-1, -0.5, 0, 0.5, 1]
    assert made.rewards.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_of_text_becomes_episodes(tmp_path, separator):
    (tmp_path / "x.csv").write_text("\ufeff" + TABLE.replace(",", separator))
    recording = read(tmp_path / "x.csv")
    require_the_episodes(recording)
    assert "not read: t" in recording.notes


def test_columns_of_other_names_are_found_and_ordered_by_their_numbers(tmp_path):
    table = TABLE.replace("obs_1", "x11").replace("obs_0", "x10").replace("next_x", "after.")
    lines = [line.split(",") for line in table.splitlines()]
    for line in lines:  # the second entry comes first
        line[2], line[3] = line[3], line[2]
    text = "\n".join(",".join(line) for line in lines).replace("x1", "x").replace("action_0", "torque")
    (tmp_path / "x.csv").write_text(text.replace("reward", "r").replace("after.1", "after."))
    names = {"observations": "x*", "next_observations": "after*", "actions": "torque", "rewards": "r"}
    require_the_episodes(read(tmp_path / "x.csv", **names))


def test_numbers_of_actions_need_no_column_of_numbers_each(tmp_path):
    (tmp_path / "x.csv").write_text("obs_0,action,episode\n0.5,1,0\n1.5,0,0\n2.5,1,0\n")
    recording = read(tmp_path / "x.csv")
    made = fitted(recording, Spaces(spaces.Box(-9, 9, (1,)), spaces.Discrete(2)))
    assert made.actions.tolist() == [1, 0]
    assert made.observations[:, 0].tolist() == [0.5, 1.5, 2.5]
    assert any("last transition of each episode is left out" in note for note in recording.notes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TABLE.replace("action_0", "act"), r"has no column 'action_\*'; it has episode, t, .* actions=NAME"),
        (TABLE.replace("obs_1", "obs_2"), r"'obs_\*' of .* are numbered, and number 1 is missing before 'obs_2'"),
        (TABLE.replace("0.5", "left"), "column 'action_0' of .* has '-left' at row 1, which is no number"),
        (TABLE.replace("a,1,2,3", "a,1,,3"), "column 'obs_0' of .* has '' at row 1"),
        (TABLE.replace("b,0,4", "b,4"), "row 2 of .* has 9 cells, and its first line names 10 columns"),
        (TABLE.replace("reward", "t"), "more than one column 't'"),
        (TABLE.replace("b,2", "a,2"), "are not together: sort them by episode"),
        (TABLE.splitlines()[0], "holds no transition"),
        ("", "holds no transition"),
        ('a,b\n"', "cannot be read as a table"),
    ],
)
def test_a_table_that_makes_no_episodes_is_refused_in_a_sentence(tmp_path, text, words):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        read(tmp_path / "x.csv")


def test_a_part_or_a_column_that_is_not_there_is_named(tmp_path):
    (tmp_path / "x.csv").write_text(TABLE)
    with pytest.raises(UserError, match="no part of a recording 'observation'; did you mean 'observations'"):
        read(tmp_path / "x.csv", observation="x")
    with pytest.raises(UserError, match=r"no column of '.*' called 'rewad'; did you mean 'reward'"):
        read(tmp_path / "x.csv", rewards="rewad")
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read as a table"):
        read(tmp_path / "x.csv")
    with pytest.raises(UserError, match="there is no file"):
        read(tmp_path / "y.csv")


def test_an_archive_of_arrays_becomes_episodes(tmp_path):
    np.savez(tmp_path / "x.npz", **cast(Any, arrays()), other=np.array([{"not": "read"}]))
    require_the_episodes(read(tmp_path / "x.npz"))
    given = arrays()
    np.savez(tmp_path / "x.npz", **cast(Any, {"seen": given.pop("observations"), **given}))
    require_the_episodes(read(tmp_path / "x.npz", observations="seen"))
    with pytest.raises(UserError, match="has no array 'observations'; it has seen"):
        read(tmp_path / "x.npz")


def test_what_is_no_archive_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"nothing")
    with pytest.raises(UserError, match="not an archive"):
        read(tmp_path / "x.npz")
    with pytest.raises(UserError, match="no file"):
        read(tmp_path / "y.npz")
    np.savez(tmp_path / "x.npz", **cast(Any, arrays() | {"observations": np.array([None] * 5)}))
    with pytest.raises(UserError, match="without Python objects"):
        read(tmp_path / "x.npz")
    np.savez_compressed(tmp_path / "x.npz", **cast(Any, arrays()))
    content = bytearray((tmp_path / "x.npz").read_bytes())
    content[60:140] = b"\xff" * 80
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(UserError, match="is not an archive of NumPy arrays"):
        read(tmp_path / "x.npz")


def test_the_hdf5_of_d4rl_becomes_episodes(tmp_path):
    h5py = pytest.importorskip("h5py", reason=MISSING)
    given = arrays()
    given["terminals"], given["timeouts"] = given.pop("terminated"), given.pop("truncated")
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        for name, array in given.items():
            file[name] = array
        file["infos/qpos"] = np.zeros(5)
    require_the_episodes(read(tmp_path / "x.hdf5"))


def test_an_hdf5_file_cannot_have_another_file_read(tmp_path):
    h5py = pytest.importorskip("h5py", reason=MISSING)
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["observations"] = arrays()["observations"]
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["actions"] = arrays()["actions"]
        file["observations"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/observations")
    with pytest.raises(UserError, match="has no array 'observations'"):
        read(tmp_path / "x.h5")
    layout = h5py.VirtualLayout((5, 2), float)
    layout[:] = h5py.VirtualSource(tmp_path / "secret.h5", "observations", shape=(5, 2))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_virtual_dataset("observations", layout)
    with pytest.raises(UserError, match="keeps its observations in another file"):
        read(tmp_path / "x.h5")
    (tmp_path / "x.h5").write_bytes(b"nothing")
    with pytest.raises(UserError, match="not an HDF5 file"):
        read(tmp_path / "x.h5")


def test_a_parquet_file_becomes_episodes_also_with_lists_in_columns(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason=MISSING)
    parquet = pytest.importorskip("pyarrow.parquet", reason=MISSING)
    given = {name: list(array) for name, array in arrays().items()} | {"episode_index": [0, 0, 1, 1, 1]}
    parquet.write_table(pyarrow.table(given), tmp_path / "x.parquet")
    names = {each: each for each in ("observations", "actions", "next_observations", "rewards")}
    require_the_episodes(read(tmp_path / "x.parquet", episode="episode_index", **names))
    (tmp_path / "x.parquet").write_bytes(b"nothing")
    with pytest.raises(UserError, match="not a Parquet file"):
        read(tmp_path / "x.parquet")


def test_nothing_is_unpickled(tmp_path):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(arrays()))
    with pytest.raises(UserError, match=r"may hold Python objects.*iqlightning\.data\.from_arrays"):
        read(tmp_path / "x.pkl")
