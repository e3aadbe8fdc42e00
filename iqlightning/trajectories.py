"""Transitions and whole episodes as tensors."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from iqlightning.frames import FrameLog, frame_stack

__all__ = ["Trajectories", "Transition"]


class Transition(NamedTuple):
    """A batch of transitions (s, a, s'); the batch dimension comes first everywhere.

    Attributes:
        obs: (B, *shape) observations s.
        actions: (B,) int64, or (B, *action shape) float32 where actions are continuous.
        next_obs: (B, *shape) the true successors s', never the first observation of the next episode.
        terminated: (B,) bool, s' is terminal: its value is zero.
        truncated: (B,) bool, the episode was cut off at s': its value is bootstrapped all the same.
        rewards: (B,) float32, or None: demonstrations reach the algorithms without their recorded rewards.
        steps: (B,) int64, the n of an n-step transition; None means 1.
    """

    obs: Tensor
    actions: Tensor
    next_obs: Tensor
    terminated: Tensor
    truncated: Tensor
    rewards: Tensor | None = None
    steps: Tensor | None = None


@dataclass(frozen=True)
class Trajectories:
    """E episodes of N transitions in flat arrays; an episode of T moves has T + 1 observations.

    Transition i of episode e goes from ``observations[i + e]`` to ``observations[i + e + 1]``, so that nothing is
    stored twice and a successor is always the true one. Of stacks of frames each frame is stored once as well: whoever
    looks at observations asks :meth:`observations_at` or :meth:`observations_in_order`, and need not know.

    Attributes:
        observations: (N + E, *shape); the (F, *frame) frames where there are ``stacks``.
        actions: (N,) int64, or (N, *action shape) float32.
        rewards: (N,) float32, as the environment gave them; for evaluation only.
        starts: (E + 1,) int64, offset of each episode's first transition; the last entry is N.
        terminated: (E,) bool, the episode ended in a terminal state.
        truncated: (E,) bool, the episode was cut off.
        shared_rows: None, or (E,) int64 where ``observations`` are those of a whole file mapped into memory: the row of
            each episode's first one, instead of ``starts[e] + e``. They are then neither copied by :meth:`select` nor
            moved by :meth:`to`; what is asked for comes to the device of the rest.
        stacks: None, or (N + E, K) int32: the frames that each observation of shape (K, *frame) is made of.
    """

    observations: Tensor
    actions: Tensor
    rewards: Float[Tensor, " transitions"]
    starts: Int[Tensor, " bounds"]
    terminated: Bool[Tensor, " episodes"]
    truncated: Bool[Tensor, " episodes"]
    shared_rows: Int[Tensor, " episodes"] | None = None
    stacks: Int[Tensor, "rows frames"] | None = None

    @property
    def observation_shape(self) -> tuple[int, ...]:
        """Of one observation."""
        shape = tuple(self.observations.shape[1:])
        return shape if self.stacks is None else (self.stacks.shape[1], *shape)

    @property
    def num_episodes(self) -> int:
        """E."""
        return self.starts.shape[0] - 1

    @property
    def num_transitions(self) -> int:
        """N."""
        return self.actions.shape[0]

    @property
    def lengths(self) -> Int[Tensor, " episodes"]:
        """Moves of each episode."""
        return self.starts[1:] - self.starts[:-1]

    @property
    def returns(self) -> Float[Tensor, " episodes"]:
        """Undiscounted sum of recorded rewards of each episode."""
        total = torch.zeros(self.num_episodes, dtype=torch.float64, device=self.rewards.device)
        return total.index_add_(0, self.episode_of, self.rewards.to(torch.float64)).to(torch.float32)

    @property
    def episode_of(self) -> Int[Tensor, " transitions"]:
        """The episode that each transition belongs to."""
        return torch.repeat_interleave(self._episodes, self.lengths)

    @property
    def first_observations(self) -> Tensor:
        """(E, *shape) the true initial states."""
        return self.initial_observations(self._episodes)

    def initial_observations(self, episodes: Int[Tensor, " chosen"]) -> Tensor:
        """The true initial states of some episodes."""
        return self.observations_at(self.first_rows(episodes))

    def first_rows(self, episodes: Int[Tensor, "*batch"]) -> Int[Tensor, "*batch"]:
        """The rows of some episodes' first observations."""
        return self.starts[episodes] + episodes if self.shared_rows is None else self.shared_rows[episodes]

    def observations_at(self, rows: Int[Tensor, "*batch"]) -> Tensor:
        """(*batch, *shape) the observations at some rows."""
        where = rows.flatten().to(self.observations.device)
        if self.stacks is not None:
            where = self.stacks.index_select(0, where).flatten()
        chosen = self.observations.index_select(0, where)
        return chosen.view(*rows.shape, *self.observation_shape).to(self.starts.device)

    def locate(self, indices: Int[Tensor, "*batch"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of some transitions: the row of s (that of s' is the next one), the action, terminated, truncated."""
        indices = indices.contiguous()
        episode = torch.searchsorted(self.starts, indices, right=True) - 1
        rows = self.first_rows(episode) + indices - self.starts[episode]
        last = indices + 1 == self.starts[episode + 1]
        return rows, self.actions[indices], last & self.terminated[episode], last & self.truncated[episode]

    def transitions(self, indices: Int[Tensor, " batch"] | None = None) -> Transition:
        """The transitions at ``indices`` (all of them by default), without recorded rewards."""
        if indices is None:
            indices = torch.arange(self.num_transitions, device=self.starts.device)
        rows, actions, terminated, truncated = self.locate(indices)
        return Transition(
            obs=self.observations_at(rows),
            actions=actions,
            next_obs=self.observations_at(rows + 1),
            terminated=terminated,
            truncated=truncated,
        )

    def observations_in_order(self, first: int = 0, last: int | None = None) -> Tensor:
        """Numbers ``first`` to before ``last`` of the N + E observations, episode after episode, wherever they lie."""
        if self.shared_rows is None and self.stacks is None:
            return self.observations[first:last]
        count = self.num_transitions + self.num_episodes
        numbers = torch.arange(first, count if last is None else min(last, count), device=self.starts.device)
        return self.observations_at(self._rows_of(numbers))

    def stacked_once(self) -> "Trajectories":
        """The same trajectories with each frame once, if observations are stacks of frames, else themselves."""
        stack = 1 if self.stacks is not None or self.shared_rows is not None else _stack_of(self)
        if stack == 1:
            return self
        log, parts, seen = FrameLog(stack), [], None
        before = None
        starts = (self.starts[:-1] + self._episodes).tolist()
        first = torch.zeros(len(self.observations), dtype=torch.bool)
        first[starts] = True
        for row, begins in enumerate(first.tolist()):
            obs = self.observations[row : row + 1]
            seen = log.refer(obs, None if begins or before is None else before)
            before = (obs, seen)
            parts.append(seen)
        return replace(self, observations=log.frames, stacks=torch.cat(parts).to(torch.int32))

    def _rows_of(self, numbers: Int[Tensor, " some"]) -> Int[Tensor, " some"]:
        """The rows of some of the N + E observations, by their numbers in order."""
        if self.shared_rows is None:
            return numbers
        before = self.starts[:-1] + self._episodes
        episode = torch.searchsorted(before, numbers, right=True) - 1
        return self.shared_rows[episode] + numbers - before[episode]

    def select(self, episodes: Int[Tensor, " chosen"]) -> "Trajectories":
        """The chosen episodes, in the order given."""
        lengths = self.lengths[episodes]
        starts = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        moves = _runs(self.starts[:-1][episodes], lengths)
        first_rows, shared = self.first_rows(episodes), self.shared_rows is not None
        observations, stacks = self.observations, self.stacks
        if not shared:
            rows = _runs(first_rows, lengths + 1)
            observations, stacks = _chosen(observations, stacks, rows)
        return Trajectories(
            observations=observations,
            actions=self.actions[moves],
            rewards=self.rewards[moves],
            starts=starts,
            terminated=self.terminated[episodes],
            truncated=self.truncated[episodes],
            shared_rows=first_rows if shared else None,
            stacks=stacks,
        )

    def to(self, device: str | torch.device) -> "Trajectories":
        """The same trajectories on another device."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.shared_rows is not None:
            del arrays["observations"], arrays["stacks"]
        return replace(self, **{name: array.to(device) for name, array in arrays.items() if array is not None})

    @staticmethod
    def concatenate(parts: Sequence["Trajectories"]) -> "Trajectories":
        """One after the other."""
        counts = torch.tensor([0] + [part.num_transitions for part in parts]).cumsum(0).tolist()
        starts = [part.starts[:-1] + offset for part, offset in zip(parts, counts, strict=False)]
        stacks = None
        if all(part.stacks is not None for part in parts):
            own = [part._own_frames() for part in parts]
            offsets = torch.tensor([0] + [len(frames) for frames, _ in own]).cumsum(0).tolist()
            observations = torch.cat([frames for frames, _ in own])
            stacks = torch.cat([stack + offset for (_, stack), offset in zip(own, offsets, strict=False)])
        else:
            observations = torch.cat([part.observations_in_order() for part in parts])
        return Trajectories(
            observations=observations,
            actions=torch.cat([part.actions for part in parts]),
            rewards=torch.cat([part.rewards for part in parts]),
            starts=torch.cat([*starts, parts[0].starts.new_tensor([counts[-1]])]),
            terminated=torch.cat([part.terminated for part in parts]),
            truncated=torch.cat([part.truncated for part in parts]),
            stacks=stacks,
        )

    def _own_frames(self) -> tuple[Tensor, Tensor]:
        """The frames that its observations are made of, and of which ones each is, in order."""
        assert self.stacks is not None
        if self.shared_rows is None:
            return self.observations, self.stacks
        numbers = torch.arange(self.num_transitions + self.num_episodes, device=self.starts.device)
        rows = self._rows_of(numbers).to(self.observations.device)
        observations, stacks = _chosen(self.observations, self.stacks, rows)
        assert stacks is not None
        return observations, stacks

    @property
    def _episodes(self) -> Int[Tensor, " episodes"]:
        return torch.arange(self.num_episodes, device=self.starts.device)


def _runs(first: Int[Tensor, " runs"], lengths: Int[Tensor, " runs"]) -> Int[Tensor, " numbers"]:
    """``first[i], first[i] + 1, ...``, ``lengths[i]`` numbers, run after run."""
    ends = lengths.cumsum(0)
    shift = torch.repeat_interleave(first - ends + lengths, lengths)
    return torch.arange(len(shift), device=first.device) + shift


def _chosen(observations: Tensor, stacks: Tensor | None, rows: Int[Tensor, " rows"]) -> tuple[Tensor, Tensor | None]:
    """Some rows alone, of frames those that they are made of."""
    if stacks is None:
        return observations[rows], None
    used, numbers = torch.unique(stacks[rows], return_inverse=True)
    return observations[used.long()], numbers.to(torch.int32)


def _stack_of(trajectories: Trajectories) -> int:
    """K where all observations but the first of an episode continue the stack of K frames before them, else 1."""
    stack, step = 1, 256
    for first in range(0, trajectories.num_transitions, step):
        numbers = torch.arange(
            first, min(first + step, trajectories.num_transitions), device=trajectories.starts.device
        )
        rows = trajectories.locate(numbers)[0]
        found = frame_stack(trajectories.observations_at(rows), trajectories.observations_at(rows + 1))
        if found == 1 or (first and found != stack):
            return 1
        stack = found
    return stack
