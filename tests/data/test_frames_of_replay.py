"""Stacks of frames in the replay buffer: what is read is what was played, each frame is kept once."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from iqlightning.data.replay import ReplayBuffer
from iqlightning.data.shards import share_of
from iqlightning.spaces import Spaces
from iqlightning.types import StepResult, Transition

FRAME = (8, 8)


class Played:
    """N environments of random frames, and everything that they showed.

    Args:
        num_envs: N.
        stack: frames of an observation; 1 for plain pictures.
        padding: what an episode begins with before its first frame: ``reset`` (copies of it) or ``zero``.
        broken: share of steps whose stack has nothing to do with the one before.
        ends: share of moves that end an episode.
        colours: planes of a frame; 0 for frames that are one.
    """

    def __init__(
        self,
        num_envs: int = 3,
        stack: int = 4,
        padding: str = "reset",
        broken: float = 0.0,
        ends: float = 0.2,
        colours: int = 0,
    ) -> None:
        self.numbers = np.random.default_rng(0)
        self.num_envs, self.stack, self.padding, self.broken, self.ends = num_envs, stack, padding, broken, ends
        self.colours = colours
        self.obs = torch.stack([self.first() for _ in range(num_envs)])
        self.history: list[dict[str, torch.Tensor]] = []

    def frame(self) -> torch.Tensor:
        shape = (self.colours, *FRAME) if self.colours else FRAME
        return torch.from_numpy(self.numbers.integers(1, 256, shape).astype(np.uint8))

    def first(self) -> torch.Tensor:
        frame = self.frame()
        if self.stack == 1:
            return frame
        earlier = [frame if self.padding == "reset" else torch.zeros_like(frame)] * (self.stack - 1)
        return self.joined([*earlier, frame])

    def joined(self, frames: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat(frames) if self.colours else torch.stack(frames)

    def successor(self, obs: torch.Tensor) -> torch.Tensor:
        if self.stack == 1:
            return self.frame()
        if self.history and self.numbers.random() < self.broken:
            return self.joined([self.frame() for _ in range(self.stack)])
        return torch.cat([obs[self.colours or 1 :], self.joined([self.frame()])])

    def step(self, *buffers: ReplayBuffer) -> None:
        next_obs = torch.stack([self.successor(each) for each in self.obs])
        kind = torch.from_numpy(self.numbers.random(self.num_envs))
        terminated, truncated = kind < self.ends / 2, (kind >= self.ends / 2) & (kind < self.ends)
        ended = terminated | truncated
        shown = torch.stack([self.first() if end else each for end, each in zip(ended, next_obs, strict=True)])
        rewards = torch.from_numpy(self.numbers.random(self.num_envs)).float()
        actions = torch.from_numpy(self.numbers.integers(0, 4, self.num_envs))
        row = {"obs": self.obs, "actions": actions, "next_obs": next_obs, "rewards": rewards}
        self.history.append(row | {"terminated": terminated, "truncated": truncated})
        for buffer in buffers:
            buffer.add(self.obs, actions, StepResult(shown, next_obs, rewards, terminated, truncated))
        self.obs = shown

    def begin_anew(self, *buffers: ReplayBuffer) -> None:
        """As where environments cannot be restored."""
        for buffer in buffers:
            buffer.cut()
        self.history[-1]["truncated"] = ~self.history[-1]["terminated"]
        self.obs = torch.stack([self.first() for _ in range(self.num_envs)])

    def assert_kept(self, buffer: ReplayBuffer) -> None:
        """All of the last steps are read as they were played (n = 1)."""
        kept = self.history[-buffer.num_steps :]
        batch = buffer.sample(torch.arange(self.num_envs * buffer.num_steps))
        for name, column in batch._asdict().items():
            if column is not None:
                assert torch.equal(column, torch.cat([row[name] for row in kept])), name


def buffer_for(played: Played, steps: int = 12, **options: Any) -> ReplayBuffer:
    shape = tuple(played.obs.shape[1:])
    both = Spaces(spaces.Box(0, 255, shape, np.uint8), spaces.Discrete(4))
    return ReplayBuffer(steps * played.num_envs, played.num_envs, both, **options)


def assert_same(one: Transition, other: Transition) -> None:
    for ours, theirs in zip(one, other, strict=True):
        assert (ours is None) == (theirs is None)
        assert ours is None or theirs is None or torch.equal(ours, theirs)


@pytest.mark.parametrize("broken", [0.0, 0.3])
@pytest.mark.parametrize("padding", ["reset", "zero"])
@pytest.mark.parametrize(("stack", "colours"), [(1, 0), (2, 0), (4, 0), (1, 3), (4, 3)])
def test_what_is_read_is_what_was_played(stack, colours, padding, broken):
    played = Played(stack=stack, colours=colours, padding=padding, broken=broken)
    buffer = buffer_for(played)
    for step in range(60):
        played.step(buffer)
        if step % 13 == 12:
            played.begin_anew(buffer)
        played.assert_kept(buffer)


@pytest.mark.parametrize("ends", [0.0, 0.9])
def test_places_are_used_again(ends):
    played = Played(padding="zero", ends=ends)
    buffer = buffer_for(played)
    sizes = []
    for step in range(200):
        played.step(buffer)
        if step % 50 == 49:
            sizes.append(len(buffer._frames))
    assert sizes[0] == sizes[-1] if ends == 0 else sizes[-1] < 3 * (12 + 4) * 6  # a last and a zero frame a step
    played.assert_kept(buffer)


@pytest.mark.parametrize("colours", [0, 3])
def test_each_frame_is_kept_once(colours):
    played = Played(num_envs=2, ends=0.02, colours=colours)
    buffer = buffer_for(played, steps=400)
    for _ in range(500):
        played.step(buffer)
    held = sum(tensor.nbytes for tensor in buffer.state_dict().values() if isinstance(tensor, torch.Tensor))
    assert (
        held / len(buffer) < 64 * max(1, colours) * 1.1 + 8 + 4 + 2 + 2 * 4 * 4
    )  # a frame, action, reward, ends and references
    assert len(buffer._frames) <= (400 + 4) * 2 * 1.07


def test_vectors_are_kept_once():
    numbers = torch.Generator().manual_seed(0)
    both = Spaces(spaces.Box(-np.inf, np.inf, (11,)), spaces.Box(-1, 1, (3,)))
    buffer = ReplayBuffer(2_000, 2, both, torch.float32)
    obs = torch.randn(2, 11, generator=numbers)
    for step in range(1_500):
        next_obs, end = torch.randn(2, 11, generator=numbers), torch.full((2,), step % 50 == 49)
        shown = torch.where(end[:, None], torch.randn(2, 11, generator=numbers), next_obs)
        buffer.add(obs, torch.zeros(2, 3), StepResult(shown, next_obs, torch.zeros(2), end, ~end))
        obs = shown
    held = sum(tensor.nbytes for tensor in buffer.state_dict().values() if isinstance(tensor, torch.Tensor))
    assert held / len(buffer) < 68  # 106 with both states


@pytest.mark.parametrize("steps", [1, 5, 12, 14, 40])
@pytest.mark.parametrize(("stack", "colours"), [(1, 0), (4, 0), (4, 3)])
def test_a_restored_buffer_goes_on_exactly_and_is_saved_alike(stack, colours, steps):
    played = Played(stack=stack, colours=colours, padding="zero", broken=0.1)
    buffer = buffer_for(played, n_step=1)
    for _ in range(steps):
        played.step(buffer)
    restored = buffer_for(played, n_step=1)
    restored.load_state_dict(buffer.state_dict())
    for _ in range(30):
        played.step(buffer, restored)
        played.assert_kept(restored)
    for name, saved in buffer.state_dict().items():
        again = restored.state_dict()[name]
        assert torch.equal(again, saved) if isinstance(saved, torch.Tensor) else again == saved, name


def test_several_step_returns_of_stacks_are_those_of_single_frames():
    played = Played(num_envs=2)
    buffer, single = (
        buffer_for(played, n_step=3, gamma=0.9),
        buffer_for(played, n_step=3, gamma=0.9, agree=lambda _: False),
    )
    for _ in range(20):
        played.step(buffer, single)
    everything = torch.arange(2 * buffer.num_steps)
    assert_same(buffer.sample(everything), single.sample(everything))
    assert (buffer._stack, single._stack) == (4, 1)


@pytest.mark.parametrize("stack", [1, 4])
def test_a_share_of_the_environments_is_what_it_would_have_played_alone(stack):
    played = Played(num_envs=4, stack=stack, padding="zero")
    buffer = buffer_for(played)
    for _ in range(20):
        played.step(buffer)
    state = buffer.state_dict()
    for rank in range(2):
        share = Played(num_envs=2, stack=stack)
        own = buffer_for(share)
        own.load_state_dict(share_of(state, rank, 2) | {"num_envs": 2})
        steps = torch.arange(12)[:, None] * 4 + torch.tensor([rank, rank + 2])
        assert_same(own.sample(torch.arange(24)), buffer.sample(steps.flatten()))


@pytest.mark.parametrize("steps", [4, 30])
@pytest.mark.parametrize("stack", [1, 4])
def test_a_buffer_of_an_earlier_version_is_read(stack, steps):
    played = Played(stack=stack)
    for _ in range(steps):
        played.step()
    kept = played.history[-12:]
    turned = steps % 12 if steps > 12 else 0
    rows = kept[-turned:] + kept[:-turned] if turned else kept  # the ring as it lay in memory
    state: dict[str, Any] = {name: torch.cat([row[name] for row in rows]) for name in kept[0]}
    buffer = buffer_for(played)
    buffer.load_state_dict(state | {"next_row": steps % 12, "filled": len(kept), "rows": 12, "num_envs": 3})
    played.assert_kept(buffer)
    for _ in range(15):
        played.step(buffer)
        played.assert_kept(buffer)


def test_planes_are_no_stack_of_frames():
    played = Played(stack=4, broken=1.0)
    played.history.append({})  # from the first step on
    buffer = buffer_for(played)
    played.step(buffer)
    assert buffer._stack == 1
