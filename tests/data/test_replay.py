"""The replay buffer against sums written out by hand and a plain reference."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from iqlightning.data.replay import ReplayBuffer
from iqlightning.errors import UserError
from iqlightning.spaces import Spaces
from iqlightning.types import StepResult


def of_vectors(size: int) -> Spaces:
    return Spaces(spaces.Box(-np.inf, np.inf, (size,)), spaces.Discrete(4))


def filled(steps: int, capacity: int, num_envs: int = 3, seed: int = 0, **options) -> tuple[ReplayBuffer, list[dict]]:
    """A buffer after random steps, and the steps; an observation is (step, environment), a last one that plus 0.5."""
    generator = torch.Generator().manual_seed(seed)
    buffer = ReplayBuffer(capacity, num_envs, of_vectors(2), torch.float32, **options)
    history = []
    for t in range(steps):
        obs = torch.stack([torch.full((num_envs,), float(t)), torch.arange(num_envs).float()], 1)
        end = torch.randint(0, 6, (num_envs,), generator=generator)
        row = {
            "obs": obs,
            "next_obs": torch.where((end < 2)[:, None], obs + 0.5, obs + torch.tensor([1.0, 0.0])),
            "actions": torch.randint(0, 4, (num_envs,), generator=generator),
            "rewards": torch.randn(num_envs, generator=generator),
            "terminated": end == 0,
            "truncated": end == 1,
        }
        history.append(row)
        result = StepResult(
            obs + torch.tensor([1.0, 0.0]), row["next_obs"], row["rewards"], row["terminated"], row["truncated"]
        )
        buffer.add(obs, row["actions"], result)
    return buffer, history


@pytest.mark.parametrize("n_step", [1, 2, 5])
@pytest.mark.parametrize("steps", [5, 20, 47])
def test_samples_equal_a_plain_reference(n_step, steps):
    buffer, history = filled(steps, capacity=62, n_step=n_step, gamma=0.9)
    kept = history[-20:]
    assert len(buffer) == 3 * len(kept)
    assert buffer.num_steps == len(kept) - n_step + 1
    batch = buffer.sample(torch.arange(3 * buffer.num_steps))
    for i in range(3 * buffer.num_steps):
        first, env = divmod(i, 3)
        total, moves = 0.0, 0
        for k in range(n_step):
            row = kept[first + k]
            total += 0.9**k * float(row["rewards"][env])
            moves += 1
            if row["terminated"][env] or row["truncated"][env]:
                break
        last = kept[first + moves - 1]
        assert torch.equal(batch.obs[i], kept[first]["obs"][env])
        assert batch.actions[i] == kept[first]["actions"][env]
        assert torch.equal(batch.next_obs[i], last["next_obs"][env])
        assert batch.terminated[i] == last["terminated"][env]
        assert batch.truncated[i] == last["truncated"][env]
        assert batch.rewards is not None
        assert abs(float(batch.rewards[i]) - total) < 1e-5
        assert (batch.steps is None) == (n_step == 1)
        assert batch.steps is None or batch.steps[i] == moves


def test_three_steps_by_hand():
    buffer = ReplayBuffer(6, 1, of_vectors(1), n_step=3, gamma=0.5)
    ends = {2: "terminated", 4: "truncated"}
    for t in range(6):
        flags = {name: torch.tensor([ends.get(t) == name]) for name in ("terminated", "truncated")}
        frame = torch.tensor([[t]], dtype=torch.uint8)
        buffer.add(frame, torch.tensor([0]), StepResult(frame, frame + 100, torch.tensor([2.0**t]), **flags))
    batch = buffer.sample(torch.arange(4))
    assert batch.rewards is not None
    assert batch.steps is not None
    # 1 + 2/2 + 4/4; 2 + 4/2 up to the termination; 4 alone; 8 + 16/2 up to the truncation
    assert batch.rewards.tolist() == [3.0, 4.0, 4.0, 16.0]
    assert batch.steps.tolist() == [3, 2, 1, 2]
    assert batch.next_obs.flatten().tolist() == [102, 102, 102, 104]
    assert batch.terminated.tolist() == [True, True, True, False]
    assert batch.truncated.tolist() == [False, False, False, True]


def test_what_is_saved_is_not_a_copy():
    buffer, _ = filled(8, capacity=30)
    state = buffer.state_dict()
    assert state["actions"].data_ptr() == buffer.actions.data_ptr()
    assert state["frames"].data_ptr() == buffer._frames.data_ptr()


@pytest.mark.parametrize("steps", [4, 25])
def test_a_restored_buffer_goes_on_exactly(steps):
    buffer, _ = filled(steps, capacity=30, n_step=2)
    state = buffer.state_dict()
    restored = ReplayBuffer(30, 3, of_vectors(2), torch.float32, n_step=2)
    restored.load_state_dict(state)
    for step in range(3):
        for one in (buffer, restored):
            frame = torch.full((3, 2), 100.0 + step)
            no = torch.zeros(3, dtype=torch.bool)
            one.add(frame, torch.ones(3, dtype=torch.int64), StepResult(frame, frame, torch.ones(3), no, no))
        everything = torch.arange(3 * buffer.num_steps)
        for ours, theirs in zip(buffer.sample(everything), restored.sample(everything), strict=True):
            assert ours is not None
            assert theirs is not None
            assert torch.equal(ours, theirs)


def test_a_cut_ends_unfinished_episodes():
    buffer, history = filled(9, capacity=12, n_step=2)
    buffer.cut()
    newest = buffer.sample(torch.arange(6, 9))  # the last but one, of two steps
    ended = history[7]["terminated"] | history[7]["truncated"]
    assert torch.equal(newest.terminated, torch.where(ended, history[7]["terminated"], history[8]["terminated"]))
    assert torch.equal(newest.truncated, ~newest.terminated)


def test_sizes_that_cannot_be_are_refused():
    with pytest.raises(UserError, match="at least 12"):
        ReplayBuffer(11, 4, of_vectors(2), n_step=3)
    with pytest.raises(UserError, match="n_step must be at least 1"):
        ReplayBuffer(11, 4, of_vectors(2), n_step=0)
    buffer, _ = filled(5, capacity=30)
    with pytest.raises(UserError, match="same capacity and num_envs"):
        ReplayBuffer(60, 3, of_vectors(2)).load_state_dict(buffer.state_dict())
