"""Batches of demonstrations, from memory on the training device (a few gathers an update) or from the disk."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from iqlightning.data.augment import Augmentation
from iqlightning.data.disk_rows import ReadAhead
from iqlightning.data.disk_trajectories import DiskTrajectories
from iqlightning.data.experience import Experience
from iqlightning.data.index_stream import IndexStream
from iqlightning.keyed import Stream, integers
from iqlightning.types import Batch, Trajectories, Transition

__all__ = ["ExpertSource", "keep_every"]

# Updates whose indices are drawn together; on small batches the cost of a draw is that of its operations, not its size.
_BLOCK = 128

# Bytes of observations up to which a block's are gathered together too.
_GATHERED = 1 << 22


class ExpertSource:
    """Serves ``{"expert": Transition, "initial": observations}``, both of the batch size of this rank.

    The batch of update u is a pure function of u, the seed and the global batch size. Recorded rewards are not in it.
    All that can be is computed once (where in ``observations`` each transition lies, whether it ends its episode) or
    for many updates at once (indices, keys); what remains is one gather of observations and what the augmentations
    do.

    Args:
        trajectories: on the device from which to serve.
        kept: (K,) indices of the transitions to serve, increasing; None for all of those on the disk.
        stream: of ``Stream.BATCH``, over the K kept transitions.
        initial_stream: of ``Stream.INITIAL``, over the episodes, of the same batch size.
        augmentations: with the purpose their keys are drawn for, applied in order to transitions and initial states.
        experience: of the policy that is being trained; it becomes the batch's ``policy``.
        initial: whether initial states are wanted.
    """

    def __init__(
        self,
        trajectories: Trajectories | DiskTrajectories,
        kept: Int[Tensor, " kept"] | None,
        stream: IndexStream,
        initial_stream: IndexStream,
        augmentations: Sequence[tuple[Stream, Augmentation]] = (),
        experience: Experience | None = None,
        *,
        initial: bool = True,
    ) -> None:
        self._stream, self._initial_stream, self._initial = stream, initial_stream, initial
        self._augmentations = list(augmentations)
        self._experience = experience
        self._rows: dict[int, list[tuple[Any, ...]]] = {}  # by the first update of a block; the last two blocks
        self._ahead: ReadAhead | None = None
        self._gather: Callable[[Tensor], Tensor] | None = None
        self._read: Callable[[int, Any], Sequence[Tensor]]
        width = (2 + initial) * len(stream.positions)
        if isinstance(trajectories, DiskTrajectories):
            self._table: _Table | _DiskTable = _DiskTable(trajectories, kept)
            self._ahead = ahead = ReadAhead(
                trajectories.observations, width, _BLOCK, lambda update: self._row(update)[0]
            )
            self._read = lambda update, frames: self._parts(ahead.batch(update).to(trajectories.device))
        else:
            assert kept is not None
            self._table, observations = _Table(trajectories, kept), trajectories.observations
            if _BLOCK * width * observations[:1].nbytes <= _GATHERED:
                self._gather = lambda frames: observations[frames]
                self._read = lambda update, parts: parts
            else:
                self._read = lambda update, frames: self._parts(observations.index_select(0, frames))

    def batch(self, update: int) -> Batch:
        """The batch of update ``update``, from 0."""
        seen, actions, terminated, truncated, *keys = self._row(update)
        obs, next_obs, *rest = self._read(update, seen)
        size = actions.shape[0]
        expert = Transition(obs, actions, next_obs, terminated, truncated)
        initial = rest[0] if self._initial else None
        policy = None if self._experience is None else self._experience.transitions(update)
        for (_, augmentation), key in zip(self._augmentations, keys, strict=True):
            expert = augmentation(expert, key[:size])
            initial = None if initial is None else augmentation.observations(initial, key[size : 2 * size])
            policy = None if policy is None else augmentation(policy, key[2 * size :])
        batch = Batch(expert=expert)
        if initial is not None:
            batch["initial"] = initial
        if policy is not None:
            batch["policy"] = policy
        return batch

    def close(self) -> None:
        """Ends reading ahead, if demonstrations stay on the disk; a further batch begins it again."""
        if self._ahead is not None:
            self._ahead.close()

    def _parts(self, observations: Tensor, dim: int = 0) -> Sequence[Tensor]:
        """s, s' and, if they are wanted, initial states."""
        return observations.split(len(self._stream.positions), dim)

    def _row(self, update: int) -> tuple[Any, ...]:
        first = update // _BLOCK * _BLOCK
        block = self._rows.get(first)
        if block is None:
            block = self._draw(first, _BLOCK)
            self._rows = dict([*self._rows.items(), (first, block)][-2:])
        return block[update - first]

    def _draw(self, first: int, count: int) -> list[tuple[Any, ...]]:
        """For each of ``count`` updates: observations or where they lie, actions, flags, keys of augmentations."""
        frame, *transition = self._table.transitions(self._stream.indices_of(first, count))
        frames = [frame, frame + 1]
        if self._initial:
            frames.append(self._table.initial(self._initial_stream.indices_of(first, count)))
        rows = torch.cat(frames, 1)
        if self._gather is None:
            seen: Iterable[Any] = rows.unbind(0)
        else:
            parts = self._parts(self._gather(rows), 1)
            seen = zip(*(part.unbind(0) for part in parts), strict=True)
        columns = [*transition, *(self._keys(purpose, first, count) for purpose, _ in self._augmentations)]
        return list(zip(seen, *(column.unbind(0) for column in columns), strict=True))

    def _keys(self, purpose: Stream, first: int, count: int) -> Tensor:
        """(count, 2 B or 3 B): for the expert's transitions, the initial states and, if any, the policy's own."""
        # Samples of a group share their grid and so must share its symmetry; noise is each one's own.
        keys = [self._stream.keys_of(purpose, first, count, shared_by_group=purpose == Stream.SYMMETRY)]
        keys.append(self._initial_stream.keys_of(purpose, first, count))
        if self._experience is not None:
            keys.append(self._experience.stream.keys_of(purpose, first, count))
        return torch.cat(keys, 1)


class _Table:
    """Where each kept transition lies, in memory."""

    def __init__(self, trajectories: Trajectories, kept: Tensor) -> None:
        episode = trajectories.episode_of[kept]
        last = kept + 1 == trajectories.starts[episode + 1]
        self._frame = kept + episode
        self._actions = trajectories.actions[kept]
        self._terminated: Bool[Tensor, " kept"] = last & trajectories.terminated[episode]
        self._truncated: Bool[Tensor, " kept"] = last & trajectories.truncated[episode]
        episodes = torch.arange(trajectories.num_episodes, device=trajectories.starts.device)
        self._initial_frame = trajectories.starts[:-1] + episodes

    def transitions(self, indices: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of kept transitions: the row of s, action, terminated, truncated."""
        return self._frame[indices], self._actions[indices], self._terminated[indices], self._truncated[indices]

    def initial(self, episodes: Tensor) -> Tensor:
        """Rows of initial states."""
        return self._initial_frame[episodes]


class _DiskTable:
    """The same, worked out when it is asked for: a table of ten million rows would take half a gigabyte."""

    def __init__(self, trajectories: DiskTrajectories, kept: Tensor | None) -> None:
        self._trajectories, self._kept = trajectories, kept

    def transitions(self, indices: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of kept transitions: the row of s (on the CPU), action, terminated, truncated."""
        indices = indices.cpu()
        rows, *rest = self._trajectories.rows_of(indices if self._kept is None else self._kept[indices])
        actions, terminated, truncated = (each.to(self._trajectories.device) for each in rest)
        return rows, actions, terminated, truncated

    def initial(self, episodes: Tensor) -> Tensor:
        """Rows of initial states."""
        return self._trajectories.first_rows(episodes.cpu())


def keep_every(trajectories: Trajectories | DiskTrajectories, stride: int, seed: int) -> Int[Tensor, " kept"]:
    """Indices of every ``stride``-th transition of each episode, from a keyed random phase on.

    As in the reference implementation of Garg et al. (2021), where long episodes of similar states are thinned out; but
    an episode shorter than ``stride`` keeps one transition. Successors remain the true ones.
    """
    lengths = trajectories.lengths
    episodes = torch.arange(trajectories.num_episodes, device=lengths.device)
    phase = integers(Stream.PHASE, seed, episodes, bound=lengths.clamp(max=stride))
    episode = torch.repeat_interleave(episodes, lengths)
    within = torch.arange(trajectories.num_transitions, device=lengths.device) - trajectories.starts[episode]
    return ((within - phase[episode]) % stride == 0).nonzero().squeeze(1)
