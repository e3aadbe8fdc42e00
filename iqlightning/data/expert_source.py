"""Batches of demonstrations from memory on the training device: a few gathers an update."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from iqlightning.data.augment import Augmentation
from iqlightning.data.experience import Experience
from iqlightning.data.index_stream import IndexStream
from iqlightning.keyed import Stream, integers
from iqlightning.types import Batch, Trajectories, Transition

__all__ = ["ExpertSource", "keep_every"]

# Updates whose indices are drawn together; on small batches the cost of a draw is that of its operations, not its size.
_BLOCK = 128


class ExpertSource:
    """Serves ``{"expert": Transition, "initial": observations}``, both of the batch size of this rank.

    The batch of update u is a pure function of u, the seed and the global batch size. Recorded rewards are not in it.
    All that can be is computed once (where in ``observations`` each transition lies, whether it ends its episode) or
    for many updates at once (indices, keys); what remains is one gather of observations and what the augmentations
    do.

    Args:
        trajectories: on the device from which to serve.
        kept: (K,) indices of the transitions to serve, increasing.
        stream: of ``Stream.BATCH``, over the K kept transitions.
        initial_stream: of ``Stream.INITIAL``, over the episodes, of the same batch size.
        augmentations: with the purpose their keys are drawn for, applied in order to transitions and initial states.
        experience: of the policy that is being trained; it becomes the batch's ``policy``.
    """

    def __init__(
        self,
        trajectories: Trajectories,
        kept: Int[Tensor, " kept"],
        stream: IndexStream,
        initial_stream: IndexStream,
        augmentations: Sequence[tuple[Stream, Augmentation]] = (),
        experience: Experience | None = None,
    ) -> None:
        self._observations = trajectories.observations
        episode = trajectories.episode_of[kept]
        last = kept + 1 == trajectories.starts[episode + 1]
        self._frame = kept + episode
        self._actions = trajectories.actions[kept]
        self._terminated: Bool[Tensor, " kept"] = last & trajectories.terminated[episode]
        self._truncated: Bool[Tensor, " kept"] = last & trajectories.truncated[episode]
        self._initial_frame = trajectories.starts[:-1] + torch.arange(
            trajectories.num_episodes, device=trajectories.starts.device
        )
        self._stream, self._initial_stream = stream, initial_stream
        self._augmentations = list(augmentations)
        self._experience = experience
        self._first, self._rows = 0, []

    def batch(self, update: int) -> Batch:
        """The batch of update ``update``, from 0."""
        row = update - self._first
        if not 0 <= row < len(self._rows):
            self._first = update // _BLOCK * _BLOCK
            self._rows = self._draw(self._first, _BLOCK)
            row = update - self._first
        frames, actions, terminated, truncated, *keys = self._rows[row]
        size = actions.shape[0]
        observations = self._observations.index_select(0, frames)
        expert = Transition(observations[:size], actions, observations[size : 2 * size], terminated, truncated)
        initial = observations[2 * size :]
        policy = None if self._experience is None else self._experience.transitions(update)
        for (_, augmentation), key in zip(self._augmentations, keys, strict=True):
            expert = augmentation(expert, key[:size])
            initial = augmentation.observations(initial, key[size : 2 * size])
            policy = None if policy is None else augmentation(policy, key[2 * size :])
        batch = Batch(expert=expert, initial=initial)
        if policy is not None:
            batch["policy"] = policy
        return batch

    def _draw(self, first: int, count: int) -> list[tuple[Tensor, ...]]:
        """For each of ``count`` updates: frames of s, s' and initial states, actions, flags, keys of augmentations."""
        indices = self._stream.indices_of(first, count)
        frame = self._frame[indices]
        initial = self._initial_frame[self._initial_stream.indices_of(first, count)]
        columns = [torch.cat([frame, frame + 1, initial], 1), self._actions[indices]]
        columns += [self._terminated[indices], self._truncated[indices]]
        columns += [self._keys(purpose, first, count) for purpose, _ in self._augmentations]
        return list(zip(*(column.unbind(0) for column in columns), strict=True))

    def _keys(self, purpose: Stream, first: int, count: int) -> Tensor:
        """(count, 2 B or 3 B): for the expert's transitions, the initial states and, if any, the policy's own."""
        # Samples of a group share their grid and so must share its symmetry; noise is each one's own.
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
    episode = trajectories.episode_of
    within = torch.arange(trajectories.num_transitions, device=lengths.device) - trajectories.starts[episode]
    return ((within - phase[episode]) % stride == 0).nonzero().squeeze(1)
