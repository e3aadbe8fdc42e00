"""Batches of demonstrations, a few gathers an update, from memory on the training device or from a mapped file."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from iqlightning.data.experience import Experience
from iqlightning.data.index_stream import IndexStream
from iqlightning.keyed import Stream, integers
from iqlightning.types import Augmentation, Batch, Trajectories, Transition

__all__ = ["ExpertSource", "keep_every"]

# Updates whose indices are drawn together; on small batches the cost of a draw is that of its operations, not its size.
_BLOCK = 128

# Bytes of observations up to which a block's are gathered together too.
_GATHERED = 1 << 22


class ExpertSource:
    """Serves ``{"expert": Transition, "initial": observations}``, both of the batch size of this rank.

    The batch of update u is a pure function of u, the seed and the global batch size. Recorded rewards are not in it.
    All that can be is worked out for many updates at once (indices, rows, keys); what remains is one gather of
    observations and what the augmentations do.

    Args:
        trajectories: on the device from which to serve.
        kept: (K,) indices of the transitions to serve, increasing; None for all.
        stream: of ``Stream.BATCH``, over the K kept transitions.
        initial_stream: of ``Stream.INITIAL``, over the episodes, of the same batch size.
        augmentations: with the purpose their keys are drawn for, applied in order to transitions and initial states.
        experience: of the policy that is being trained; it becomes the batch's ``policy``.
        initial: whether initial states are wanted.
    """

    def __init__(
        self,
        trajectories: Trajectories,
        kept: Int[Tensor, " kept"] | None,
        stream: IndexStream,
        initial_stream: IndexStream,
        augmentations: Sequence[tuple[Stream, Augmentation]] = (),
        experience: Experience | None = None,
        *,
        initial: bool = True,
    ) -> None:
        self._trajectories, self._kept = trajectories, kept
        self._stream, self._initial_stream, self._initial = stream, initial_stream, initial
        self._augmentations = list(augmentations)
        self._experience = experience
        self._blocks: dict[int, list[tuple[Any, ...]]] = {}  # by their first update; the last two
        rows = _BLOCK * (2 + initial) * len(stream.positions)
        self._gathers_blocks = rows * trajectories.observations_at(trajectories.starts[:1]).nbytes <= _GATHERED

    def batch(self, update: int) -> Batch:
        """The batch of update ``update``, from 0."""
        seen, actions, terminated, truncated, *keys = self._drawn(update)
        obs, next_obs, *rest = seen if self._gathers_blocks else self._parts(self._trajectories.observations_at(seen))
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

    def _parts(self, observations: Tensor, dim: int = 0) -> Sequence[Tensor]:
        """s, s' and, if they are wanted, initial states."""
        return observations.split(len(self._stream.positions), dim)

    def _drawn(self, update: int) -> tuple[Any, ...]:
        first = update // _BLOCK * _BLOCK
        block = self._blocks.get(first)
        if block is None:
            block = self._draw(first, _BLOCK)
            self._blocks = dict([*self._blocks.items(), (first, block)][-2:])
        return block[update - first]

    def _draw(self, first: int, count: int) -> list[tuple[Any, ...]]:
        """For each of ``count`` updates: observations or their rows, actions, flags, keys of augmentations."""
        indices = self._stream.indices_of(first, count)
        row, *transition = self._trajectories.locate(indices if self._kept is None else self._kept[indices])
        parts = [row, row + 1]
        if self._initial:
            parts.append(self._trajectories.first_rows(self._initial_stream.indices_of(first, count)))
        rows = torch.cat(parts, 1).to(self._trajectories.observations.device)
        seen: Iterable[Any] = rows.unbind(0)
        if self._gathers_blocks:
            parts = self._parts(self._trajectories.observations_at(rows), 1)
            seen = zip(*(part.unbind(0) for part in parts), strict=True)
        columns = [*transition, *(self._keys(purpose, first, count) for purpose, _ in self._augmentations)]
        return list(zip(seen, *(column.unbind(0) for column in columns), strict=True))

    def _keys(self, purpose: Stream, first: int, count: int) -> Tensor:
        """(count, 2 B or 3 B): for the expert's transitions, the initial states and, if any, the policy's own."""
        # Samples of a group share their episode and so must share its symmetry; noise is each one's own.
        keys = [self._stream.keys_of(purpose, first, count, shared_by_group=purpose == Stream.SYMMETRY)]
        keys.append(self._initial_stream.keys_of(purpose, first, count))
        if self._experience is not None:
            keys.append(self._experience.stream.keys_of(purpose, first, count))
        return torch.cat(keys, 1)


def keep_every(trajectories: Trajectories, stride: int, seed: int) -> Int[Tensor, " kept"]:
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
