"""Damaged demonstrations files and ones that lie are named: never a traceback, never other data than was written."""

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from counts import slow
from safetensors.torch import load, load_file, save, save_file

from iqlightning.data import demonstrations
from iqlightning.data.demonstrations import load_demonstrations, save_demonstrations
from iqlightning.data.imitation_data import ImitationData
from iqlightning.errors import UserError
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.expert import shortest_path_demonstrations

ENV = GridWorldConfig(height=4, width=4, num_walls=2)
FLIPS, TRUNCATIONS = 500, 100
ARRAYS = ("observations", "actions", "rewards", "starts", "terminated", "truncated")


class File(NamedTuple):
    """A demonstrations file taken apart."""

    header: dict[str, Any]
    body: bytes

    @staticmethod
    def of(content: bytes) -> "File":
        end = 8 + struct.unpack("<Q", content[:8])[0]
        return File(json.loads(content[8:end]), content[end:])

    def joined(self, header: Any = None, length: int | None = None) -> bytes:
        text = header if isinstance(header, bytes) else json.dumps(self.header if header is None else header).encode()
        return struct.pack("<Q", len(text) if length is None else length) + text + self.body


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "whole.safetensors"
    save_demonstrations(path, shortest_path_demonstrations(ENV, 40, seed=3), {"env": ENV.to_dict(), "seed": 3})
    return path.read_bytes()


def flips(whole: bytes) -> list[bytes]:
    numbers, made = random.Random(0), []
    # a third of them in the header, which is a small part of the file
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    for count in range(FLIPS):
        damaged = bytearray(whole)
        damaged[numbers.randrange(header if count % 3 == 0 else len(whole))] ^= 1 << numbers.randrange(8)
        made.append(bytes(damaged))
    return made


def truncations(whole: bytes) -> list[bytes]:
    numbers = random.Random(1)
    lengths = [0, 1, 7, 8, 9, len(whole) - 1, *numbers.sample(range(10, len(whole) - 1), TRUNCATIONS - 6)]
    return [whole[:length] for length in lengths]


def refused(path: Path, content: bytes) -> str:
    """The sentence with which a file is refused."""
    path.write_bytes(content)
    with pytest.raises(UserError) as raised:
        load_demonstrations(path)
    sentence = str(raised.value)
    assert str(path) in sentence
    return sentence


def test_flipped_bits_are_noticed(tmp_path, whole):
    seen = [refused(tmp_path / "flipped.safetensors", content) for content in flips(whole)]
    assert len(seen) == FLIPS


def test_truncations_are_noticed(tmp_path, whole):
    seen = [refused(tmp_path / "cut.safetensors", content) for content in truncations(whole)]
    assert len(seen) == TRUNCATIONS
    assert all("damaged or truncated" in sentence for sentence in seen)


# ---- headers that lie about the bytes behind them

Lie = Callable[[File], bytes]


def about_array(name: str, **changes: Any) -> Lie:
    def lie(file: File) -> bytes:
        return file.joined(file.header | {name: file.header[name] | changes})

    return lie


def about_metadata(**changes: Any) -> Lie:
    """Changes what the header says and seals it again with a checksum that is right."""

    def lie(file: File) -> bytes:
        metadata = {name: value for name, value in (file.header["__metadata__"] | changes).items() if value is not None}
        if "sha256" not in changes:
            metadata["sha256"] = demonstrations._checksum(arrays(file), metadata)
        return file.joined(file.header | {"__metadata__": metadata})

    return lie


def in_arrays(**changes: Callable[[torch.Tensor], torch.Tensor]) -> Lie:
    """Changes arrays and seals them with a checksum that is right, as a program with a bug would."""

    def lie(file: File) -> bytes:
        tensors = arrays(file)
        tensors |= {name: change(tensors[name]) for name, change in changes.items()}
        metadata = dict(file.header["__metadata__"])
        metadata["sha256"] = demonstrations._checksum(tensors, metadata)
        return save(tensors, metadata)

    return lie


def arrays(file: File) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in load(file.joined()).items()}


def put(index: Any, value: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    def change(tensor: torch.Tensor) -> torch.Tensor:
        tensor[index] = value
        return tensor

    return change


def env(**changes: Any) -> str:
    return json.dumps(ENV.to_dict() | changes)


def spaces(**changes: Any) -> str:
    described = ENV.spaces.to_dict()
    return json.dumps(described | {name: change and described[name] | change for name, change in changes.items()})


HUGE = 1 << 62
LIES: dict[str, Lie] = {
    **{f"{name} lie beyond the end": about_array(name, data_offsets=[0, 1 << 40]) for name in ARRAYS},
    **{f"{name} end before they begin": about_array(name, data_offsets=[64, 8]) for name in ARRAYS},
    **{f"{name} have an absurd shape": about_array(name, shape=[HUGE, HUGE]) for name in ARRAYS},
    **{f"{name} have another type": about_array(name, dtype="F8_E4M3") for name in ARRAYS},
    "actions are as long but real": about_array("actions", dtype="F64"),
    "rewards are as long but whole": about_array("rewards", dtype="I32"),
    "flags are as long but numbers": about_array("terminated", dtype="U8"),
    "a shape is negative": about_array("actions", shape=[-1]),
    "a shape is no number": about_array("actions", shape=["many"]),
    "an array is missing": lambda file: file.joined({k: v for k, v in file.header.items() if k != "truncated"}),
    "the header is longer than the file": lambda file: file.joined(length=1 << 30),
    "the header is longer than anything": lambda file: file.joined(length=(1 << 64) - 1),
    "the header is empty": lambda file: file.joined(b""),
    "the header is a list": lambda file: file.joined(b"[]"),
    "the header is not JSON": lambda file: file.joined(b"{'actions': "),
    "the header is a thousand lists": lambda file: file.joined(b"[" * 1000),
    "there is no metadata": lambda file: file.joined({k: v for k, v in file.header.items() if k != "__metadata__"}),
    "there is no version": about_metadata(schema_version=None),
    "the version is older": about_metadata(schema_version="0"),
    "the version is newer": about_metadata(schema_version="4"),
    "the version promises stacks": about_metadata(schema_version="3"),
    "there are no spaces": about_metadata(spaces=None),
    "spaces are not JSON": about_metadata(spaces="{"),
    "spaces are nested without end": about_metadata(spaces="[" * 100_000),
    "spaces are a list": about_metadata(spaces="[1]"),
    "there is no space of observations": about_metadata(spaces=spaces(observation=None)),
    "observations are of another shape": about_metadata(spaces=spaces(observation={"shape": [3, 4, 5]})),
    "observations are of absurd size": about_metadata(spaces=spaces(observation={"shape": [1 << 31, 1 << 30]})),
    "observations are of no numbers": about_metadata(spaces=spaces(observation={"dtype": "object"})),
    "observations are long words": about_metadata(spaces=spaces(observation={"dtype": "S1000000000"})),
    "observations have too many bounds": about_metadata(spaces=spaces(observation={"low": [0] * 7})),
    "the space has fewer actions": about_metadata(spaces=spaces(action={"n": 1})),
    "the space has no actions": about_metadata(spaces=spaces(action={"n": -1})),
    "the space has actions of a kind that is not known": about_metadata(spaces=spaces(action={"kind": "os.system"})),
    "the space has actions that are numbers": about_metadata(
        spaces=spaces(action={"kind": "Box", "low": 0, "high": 4, "shape": [], "dtype": "float32"})
    ),
    "the version is a word": about_metadata(schema_version="one"),
    "there is no checksum": about_metadata(sha256=None),
    "the checksum is another": about_metadata(sha256="0" * 64),
    "metadata are not JSON": about_metadata(seed="{"),
    "metadata are nested without end": about_metadata(seed="[" * 100_000),
    "the environment is unknown": about_metadata(env=env(kind="os.system")),
    "the environment is a list": about_metadata(env=json.dumps(["GridWorldConfig"])),
    "the environment has other settings": about_metadata(env=env(command="touch executed")),
    "the environment is of other types": about_metadata(env=env(wall_density="dense", num_walls=None)),
    "the environment is larger": about_metadata(env=env(height=5)),
    "the environment is absurd": about_metadata(env=env(height=10**9)),
    "the environment is nowhere": about_metadata(env=json.dumps({"kind": "GymnasiumConfig", "id": "nowhere:Env-v0"})),
    "the environment has fewer actions": about_metadata(
        env=json.dumps({"kind": "GymnasiumConfig", "id": "CartPole-v1"})
    ),
    "episodes are a single number": in_arrays(starts=lambda starts: starts[0]),
    "a flag is a single truth": in_arrays(terminated=lambda flags: flags[0]),
    "actions are a single number": in_arrays(actions=lambda actions: actions[0]),
    "observations are a single number": in_arrays(observations=lambda x: x.flatten()[0]),
    "episodes go back": in_arrays(starts=lambda starts: starts.flip(0)),
    "episodes overlap": in_arrays(starts=put(1, 0)),
    "episodes begin before the first": in_arrays(starts=put(0, -3)),
    "episodes go on beyond the last": in_arrays(starts=put(-1, 1 << 40)),
    "an action is negative": in_arrays(actions=put(0, -1)),
    "an action is out of range": in_arrays(actions=put(5, 4)),
    "an action is absurd": in_arrays(actions=put(5, HUGE)),
    "a reward is not a number": in_arrays(rewards=put(2, torch.nan)),
    "a reward is infinite": in_arrays(rewards=put(2, -torch.inf)),
    "an observation is not a number": in_arrays(observations=lambda x: put(0, torch.nan)(x.float())),
    "an observation is missing": in_arrays(observations=lambda x: x[:-1]),
    "observations are truths": in_arrays(observations=lambda x: x.bool()),
    "observations are flat": in_arrays(observations=lambda x: x.flatten(1)),
    "an episode never ends": in_arrays(terminated=put(0, False)),
    "a flag is missing": in_arrays(truncated=lambda x: x[:-1]),
    "a reward is missing": in_arrays(rewards=lambda x: x[:-1]),
    "rewards are exact": in_arrays(rewards=lambda x: x.double()),
    "actions are short": in_arrays(actions=lambda x: x.int()),
    "actions are a column": in_arrays(actions=lambda x: x[:, None]),
    "actions are numbers": in_arrays(actions=lambda x: x.float()),
    "actions are numbers in an older file": lambda file: about_metadata(schema_version="1", spaces=None)(
        File.of(in_arrays(actions=lambda x: x.float())(file))
    ),
    "there is no transition": in_arrays(
        actions=lambda x: x[:0], rewards=lambda x: x[:0], starts=lambda x: x[:1], observations=lambda x: x[:0]
    ),
}


#: What is said of some, so that none of these is refused for another reason.
SAID = {
    "there is no metadata": "is not a demonstrations file",
    "the version is newer": "schema version 4, but this program reads version 1, 2 and 3",
    "the version promises stacks": "is not a demonstrations file: it lacks stacks",
    "observations are of another shape": "(3, 4, 4), the header's (3, 4, 5)",
    "the space has fewer actions": "action 3, but valid actions are 0 to 0",
    "the space has no actions": "n (counts) have to be positive",
    "the space has actions of a kind that is not known": "no kind of space 'os.system'",
    "the space has actions that are numbers": "torch.int64 of shape (), the header's torch.float32",
    "actions are a single number": "actions have shape ()",
    "episodes go back": "do not cover the transitions",
    "episodes overlap": "do not increase",
    "an action is negative": "there is an action -1",
    "a reward is not a number": "a reward is not finite",
    "an observation is not a number": "an observation is not finite",
    "an observation is missing": "need 159 observations, not 158",
    "observations are truths": "observations are torch.bool",
    "an episode never ends": "neither terminated nor truncated",
    "a flag is missing": "39 flags 'truncated'",
    "a reward is missing": "118 rewards, 119 actions",
    "actions are short": "actions are torch.int32",
}


@pytest.mark.parametrize("lie", LIES)
def test_headers_and_arrays_that_lie_are_refused(tmp_path, whole, lie):
    path = tmp_path / "lying.safetensors"
    sentence = refused(path, LIES[lie](File.of(whole)))
    assert len(sentence) < 600
    assert SAID.get(lie, "") in sentence
    with pytest.raises(UserError) as raised:  # and so where observations stay in the file
        ImitationData(path=str(path), batch_size=1, out_of_core=True).setup("fit")
    assert str(path) in str(raised.value)
    assert len(str(raised.value)) < 600


def test_the_untouched_file_is_read_and_its_parts_join_again(tmp_path, whole):
    path = tmp_path / "whole.safetensors"
    file = File.of(whole)
    for content in (whole, file.joined(), in_arrays()(file), about_metadata()(file)):
        path.write_bytes(content)
        assert load_demonstrations(path)[0].num_episodes == 40


@pytest.mark.parametrize("every", [60, *slow(8)])
def test_a_command_refuses_damaged_files_with_a_sentence(workplace, whole, every):
    path = workplace.folder / "given.safetensors"
    lies = [lie(File.of(whole)) for lie in LIES.values()]
    for content in (*flips(whole)[::every], *truncations(whole)[::every], *lies[::every]):
        path.write_bytes(content)
        assert "given.safetensors" in workplace.refused("fit", "--config", "tiny.yaml", "--data.path", str(path))
        assert not list(workplace.folder.glob("logs/*/*"))


def test_a_damaged_file_that_was_made_here_is_refused_too(workplace):
    """The one that a run made for itself in an earlier run is checked as one from elsewhere is."""
    workplace.fit("--trainer.max_steps", "1")
    (path,) = workplace.folder.glob("data/*.safetensors")
    save_file(load_file(path), path)
    assert path.name in workplace.refused("fit", "--config", "tiny.yaml")
