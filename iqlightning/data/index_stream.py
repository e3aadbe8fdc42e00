"""Which samples update u sees: a pure function of (seed, u, global position), so that nothing needs to be saved."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from iqlightning.errors import UserError, nearest_multiples
from iqlightning.keyed import Stream, hash_keys, integers, uniform

__all__ = ["IndexStream", "check_batch_size"]


class IndexStream:
    """Indices of a global batch, drawn with replacement; each rank gets every ``world_size``-th group of it.

    The indices are drawn for the whole world: position p of update u gets the same sample whatever the number of
    processes. The first sample of a group is uniform over all samples. The other ``per_group - 1`` are uniform over
    the episode of the first, so that samples of one episode come together while each single one stays uniform over
    all samples.

    Args:
        size: number of samples.
        batch_size: of the global batch.
        seed: of the stream.
        stream: the purpose, for instance ``Stream.BATCH``.
        rank: of this process.
        world_size: number of processes.
        per_group: samples of one episode that come together.
        episode_starts: (E + 1,) offsets of the episodes' samples; needed only for ``per_group`` > 1.
        device: of the indices.

    Raises:
        UserError: if the batch cannot be divided among processes and into groups.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        seed: int,
        *,
        stream: Stream = Stream.BATCH,
        rank: int = 0,
        world_size: int = 1,
        per_group: int = 1,
        episode_starts: Int[Tensor, " bounds"] | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        check_batch_size(batch_size, world_size, per_group)
        self.size, self.seed, self.stream, self.per_group = size, seed, stream, per_group
        self.batch_size, self.rank, self.world_size = batch_size, rank, world_size
        groups = torch.arange(batch_size // per_group, device=device)[rank::world_size]
        self.groups = groups.repeat_interleave(per_group)
        self.positions = self.groups * per_group + torch.arange(per_group, device=device).repeat(len(groups))
        if per_group > 1:
            if episode_starts is None:
                raise ValueError("groups of samples need to know the episodes: give episode_starts")
            self._starts = episode_starts.to(device)
            self._lengths = self._starts[1:] - self._starts[:-1]

    def indices(self, update: int) -> Int[Tensor, " batch"]:
        """This rank's samples of one update."""
        return self.indices_of(update, 1)[0]

    def indices_of(self, first: int, count: int) -> Int[Tensor, "count batch"]:
        """This rank's samples of ``count`` updates from ``first`` on: many cost little more than one."""
        updates = self._updates(first, count)
        leaders = self.groups * self.per_group
        indices = integers(self.stream, self.seed, updates, leaders, bound=self.size)
        if self.per_group == 1:
            return indices
        episode = torch.searchsorted(self._starts, indices, right=True) - 1
        within = integers(self.stream, self.seed, updates, self.positions, bound=self._lengths[episode])
        return torch.where(self.positions == leaders, indices, self._starts[episode] + within)

    def fractions_of(self, first: int, count: int) -> Float[Tensor, "count batch"]:
        """Uniform numbers in [0, 1), for samples whose number grows: index = floor(fraction x size of the day)."""
        return uniform(self.stream, self.seed, self._updates(first, count), self.positions)

    def keys_of(
        self, purpose: Stream, first: int, count: int, *, shared_by_group: bool = False
    ) -> Int[Tensor, "count batch"]:
        """A key per sample for ``purpose``; with ``shared_by_group``, one per group that all its samples get."""
        positions = self.groups if shared_by_group else self.positions
        # This stream is among the keys to tell apart the batches of one update (transitions, initial states).
        return hash_keys(purpose, self.stream, self.seed, self._updates(first, count), positions)

    def _updates(self, first: int, count: int) -> Tensor:
        return torch.arange(first, first + count, device=self.positions.device).unsqueeze(1)


def check_batch_size(batch_size: int, world_size: int, per_group: int = 1) -> None:
    """Checks that every process gets equally many whole groups.

    Raises:
        UserError: if not.
    """
    if batch_size < 1 or per_group < 1:
        raise UserError(f"batch_size and per_episode must be at least 1, but are {batch_size} and {per_group}")
    unit = world_size * per_group
    if batch_size % unit:
        raise UserError(
            f"batch_size {batch_size} is not a multiple of {unit} ({world_size} processes x {per_group} samples of an "
            f"episode); the nearest valid: {nearest_multiples(batch_size, unit)}"
        )
