"""Demonstrations whose observations are stacks of frames: each frame is kept once, in memory and in files."""

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from iqlightning.data.demonstrations import digest_of, header_of, load_demonstrations, save_demonstrations
from iqlightning.data.write_in_pieces import write_in_pieces
from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.errors import UserError
from iqlightning.rollout import rollout
from iqlightning.spaces import Spaces
from iqlightning.types import Trajectories

FRAME = (12, 12)
SPACES = Spaces(spaces.Box(0, 255, (4, *FRAME), np.uint8), spaces.Discrete(3))


def whole(lengths: tuple[int, ...] = (7, 1, 12), seed: int = 0, planes: int = 1) -> Trajectories:
    """Episodes of random frames in stacks of four, written out."""
    numbers, observations = np.random.default_rng(seed), []
    for length in lengths:
        frames = torch.from_numpy(numbers.integers(0, 256, (length + 1, planes, *FRAME)).astype(np.uint8))
        frames = torch.cat([frames[:1]] * 3 + [frames])
        observations += [frames[i : i + 4].flatten(0, 1) for i in range(length + 1)]
    count = sum(lengths)
    ends = torch.arange(len(lengths)) % 2 == 0
    return Trajectories(
        observations=torch.stack(observations),
        actions=torch.from_numpy(numbers.integers(0, 3, count)),
        rewards=torch.zeros(count),
        starts=torch.tensor([0, *np.cumsum(lengths).tolist()]),
        terminated=ends,
        truncated=~ends,
    )


def assert_same(one: Trajectories, other: Trajectories) -> None:
    assert torch.equal(one.observations_in_order(), other.observations_in_order())
    for ours, theirs in zip(one.transitions(), other.transitions(), strict=True):
        assert (ours is None) == (theirs is None)
        assert ours is None or theirs is None or torch.equal(ours, theirs)


@pytest.mark.parametrize("planes", [1, 3])
def test_each_frame_is_kept_once_and_nothing_else_changes(planes):
    plain = whole(planes=planes)
    compact = plain.stacked_once()
    assert compact.observations.shape == (planes * (20 + 3), *FRAME)
    assert compact.observation_shape == (planes * 4, *FRAME)
    assert_same(compact, plain)
    assert digest_of(compact) == digest_of(plain)
    chosen = torch.tensor([2, 0])
    assert len(compact.select(chosen).observations) == planes * (12 + 1 + 7 + 1)
    assert_same(compact.select(chosen), plain.select(chosen))
    assert_same(Trajectories.concatenate([compact, compact]), Trajectories.concatenate([plain, plain]))
    assert_same(Trajectories.concatenate([compact, plain]), Trajectories.concatenate([plain, plain]))
    assert torch.equal(compact.first_observations, plain.first_observations)


def test_frames_may_be_rows():
    plain = whole()
    rows = Trajectories(**vars(plain) | {"observations": plain.observations.flatten(2)})
    compact = rows.stacked_once()
    assert compact.observations.shape == (20 + 3, FRAME[0] * FRAME[1])
    assert_same(compact, rows)


def test_what_is_no_stack_stays_as_it_is():
    plain = whole()
    broken = plain.observations.clone()
    broken[5, 0, 0, 0] += 1
    other = Trajectories(**vars(plain) | {"observations": broken})
    assert other.stacked_once() is other


@pytest.mark.parametrize("in_memory", [True, False])
def test_files_hold_each_frame_once(tmp_path, in_memory):
    plain, path = whole((400,)), tmp_path / "stacks.safetensors"
    save_demonstrations(path, plain, {"seed": 1}, SPACES)
    assert path.stat().st_size < 401 * (12 * 12 + 4 * 4 + 8 + 4) + 3_000
    loaded, metadata = load_demonstrations(path, in_memory=in_memory)
    assert metadata == {"seed": 1}
    assert (loaded.shared_rows is None) == in_memory
    assert_same(loaded, plain)
    assert_same(loaded.select(torch.tensor([0])), plain)
    assert header_of(path)[0]["schema_version"] == "3"
    save_demonstrations(tmp_path / "again.safetensors", loaded, {"seed": 1}, SPACES)
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_a_file_written_in_pieces_is_that_of_one_piece(tmp_path):
    parts = [whole((7, 3)), whole((5, 12), seed=1).stacked_once()]
    write_in_pieces(tmp_path / "pieces.safetensors", parts, {"seed": 1}, SPACES)
    save_demonstrations(tmp_path / "one.safetensors", Trajectories.concatenate(parts), {"seed": 1}, SPACES)
    assert (tmp_path / "pieces.safetensors").read_bytes() == (tmp_path / "one.safetensors").read_bytes()


@pytest.mark.parametrize(("row", "frame"), [(3, 23), (0, -1)])
def test_a_stack_of_frames_that_are_not_there_is_refused(tmp_path, row, frame):
    compact = whole().stacked_once()
    assert compact.stacks is not None
    compact.stacks[row, 1] = frame
    with pytest.raises(UserError, match="a stack is of frames that are not there"):
        save_demonstrations(tmp_path / "stacks.safetensors", compact, {}, SPACES)


class Counting(gymnasium.Env):
    """Frames that count up, for as many moves as the seed says; of colours they have the negative as well."""

    action_space = spaces.Discrete(3)

    def __init__(self, coloured: bool) -> None:
        self.coloured = coloured
        self.observation_space = spaces.Box(0, 255, (*FRAME, 3) if coloured else FRAME, np.uint8)

    def shown(self) -> np.ndarray:
        frame = np.full(FRAME, self.count, np.uint8)
        return np.stack([frame, 255 - frame, frame], axis=-1) if self.coloured else frame

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left, self.count = int(self.np_random.integers(2, 9)), int(self.np_random.integers(0, 100))
        return self.shown(), {}

    def step(self, action):
        self.left, self.count = self.left - 1, self.count + 1
        return self.shown(), 0.0, self.left == 0, False, {}


class First:
    """A policy that always does the same."""

    def act(self, observations: torch.Tensor, *, sample: bool = False) -> torch.Tensor:
        return observations.new_zeros(len(observations), dtype=torch.int64)


@pytest.mark.parametrize("coloured", [False, True])
@pytest.mark.parametrize("padding", ["reset", "zero"])
def test_episodes_of_gymnasiums_stacks_are_played_into_single_frames(padding, coloured):
    def stacked(**_: Any) -> gymnasium.Env:
        return gymnasium.wrappers.FrameStackObservation(Counting(coloured), 4, padding_type=padding)

    name = f"tests/Counting{'Colours' if coloured else 'Stacks'}-v0"
    gymnasium.register(name, stacked)
    try:
        played = rollout(First(), GymnasiumConfig(name).make_batch(3, seed=0), 7)
    finally:
        del gymnasium.registry[name]
    assert played.stacks is not None
    planes = 3 if coloured else 1
    assert len(played.observations) == planes * (played.num_transitions + 7 * (1 if padding == "reset" else 2))
    obs = played.observations_in_order()[:, ::planes, 0, 0].int()
    rows = played.first_rows(torch.arange(7))
    first = obs[rows]
    assert torch.equal(first[:, :3], first[:, 3:].expand(-1, 3) if padding == "reset" else torch.zeros(7, 3).int())
    batch = played.transitions()
    assert torch.equal(batch.next_obs[:, : 3 * planes], batch.obs[:, planes:])
    assert torch.equal(batch.next_obs[:, 3 * planes].int(), batch.obs[:, 3 * planes].int() + 1)
