"""Observations that are stacks of frames, kept so that each frame is there once.

A stack is recognised by what it is, not by who made it: along its first axis, all frames but the newest are those of
the observation before. A frame is one plane of that axis, or c of them where pictures have colours:

    s'[:-c] == s[c:].

This holds for Gymnasium's ``FrameStackObservation`` under any wrapper that treats frames alike, for environments that
stack by themselves, and for recordings of either; no setting has to name it. It only decides what is tried: whatever
frames turn out to be, :func:`refer` keeps each that is not in the observation before.
"""

from collections.abc import Callable

import torch
from jaxtyping import Int
from torch import Tensor

__all__ = ["FrameLog", "frame_stack", "in_frames", "refer"]

# Bytes of a frame from which on references to it are worth their place.
_SMALLEST = 64


def frame_stack(obs: Tensor, next_obs: Tensor) -> int:
    """K where observations (N, K c, ...) and their successors are stacks of K frames, else 1."""
    if obs.ndim < 3 or not len(obs) or obs[0, 0].nbytes < _SMALLEST:
        return 1
    planes = obs.shape[1]
    shifts = (shift for shift in range(1, planes) if planes % shift == 0)
    return next((planes // each for each in shifts if torch.equal(next_obs[:, :-each], obs[:, each:])), 1)


def in_frames(obs: Tensor, stack: int) -> Tensor:
    """(N, K, *frame) of observations that are stacks of K frames: those of one plane are (H, W), others (c, H, W)."""
    return obs if obs.shape[1] == stack else obs.unflatten(1, (stack, -1))


def refer(
    stack: Tensor,
    place: Callable[[Tensor, Tensor], Tensor],
    newest: Int[Tensor, " rows"] | None = None,
    before: tuple[Tensor, Int[Tensor, "rows k"]] | None = None,
) -> Int[Tensor, "rows k"]:
    """Where the frames of some stacks are, oldest first; those that are nowhere yet are placed.

    Args:
        stack: (N, K, *frame).
        place: keeps frames (M, *frame) of the stacks numbered (M,) and says where.
        newest: where the newest frames are; None to place them too.
        before: the observations (N, K, *frame) before, and where their frames are.
    """
    rows, k = torch.arange(len(stack), device=stack.device), stack.shape[1]
    newest = place(stack[:, -1], rows) if newest is None else newest
    if k == 1:
        return newest.unsqueeze(1)
    if before is None:
        kept, known = torch.zeros(len(stack), k - 1, dtype=torch.bool, device=stack.device), newest.unsqueeze(1)
        where = known.repeat(1, k)
    else:
        kept = (stack[:, :-1] == before[0][:, 1:]).flatten(2).all(2)
        where = torch.cat([before[1][:, 1:], newest.unsqueeze(1)], 1)
    if bool(kept.all()):
        return where
    for frame in range(k - 2, -1, -1):
        other = ~kept[:, frame]
        # an episode begins with copies of one frame
        copies = other & (stack[:, frame] == stack[:, frame + 1]).flatten(1).all(1)
        where[copies, frame] = where[copies, frame + 1]
        new = (other & ~copies).nonzero().squeeze(1)
        if len(new):
            where[new, frame] = place(stack[new, frame], new)
    return where


class FrameLog:
    """Frames in the order in which they came, for observations that are written down one after the other.

    What it gives are planes: an observation of K frames of c planes is K c references, whatever K is.

    Args:
        stack: K.
    """

    def __init__(self, stack: int) -> None:
        self._stack, self._planes = stack, 1
        self._parts: list[Tensor] = []
        self._count = 0

    def refer(self, stack: Tensor, before: tuple[Tensor, Int[Tensor, "rows k"]] | None = None) -> Int[Tensor, "rows k"]:
        """As :func:`refer`, of and to planes; what is new is added."""
        self._planes = planes = stack.shape[1] // self._stack
        if before is not None:
            before = in_frames(before[0], self._stack), before[1][:, ::planes] // planes
        found = refer(in_frames(stack, self._stack), self._place, before=before)
        return (found.unsqueeze(2) * planes + torch.arange(planes, device=found.device)).flatten(1)

    @property
    def frames(self) -> Tensor:
        """(F, *plane) all planes; the log is empty afterwards."""
        frames, self._parts = torch.cat(self._parts), []
        return frames if self._planes == 1 else frames.flatten(0, 1)

    def _place(self, frames: Tensor, rows: Tensor) -> Tensor:
        self._parts.append(frames.clone())
        self._count += len(frames)
        return torch.arange(self._count - len(frames), self._count, device=frames.device)
