"""What an actor draws with: standard normal numbers, keyed, and as part of the batch where a loss is made of them."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from iqlightning.agents.agent import Keys, Objective
from iqlightning.keyed import NormalsAhead, Stream
from iqlightning.types import Batch, Transition

__all__ = ["ActorNoise", "rows_before_actor", "transitions_of"]


class ActorNoise:
    """Standard normal numbers (samples, rows, size), from one of four places.

    By keys where there are any, as when a policy collects; within an objective by ``noise`` of the batch, row after
    row, so that a compiled update finds them among its inputs; otherwise always the same ones, so that figures repeat
    whatever was drawn before, or torch's own where a user draws actions without keys.

    Args:
        samples: draws of each row.
        size: numbers of each draw.

    Attributes:
        given: what is left of the present batch's; None outside an objective.
    """

    def __init__(self, samples: int, size: int) -> None:
        self.samples, self.size = samples, size
        self.given: Tensor | None = None
        self._acting, self._updating, self._fixed = (NormalsAhead(samples, size) for _ in range(3))
        self._exploring = NormalsAhead(1, size)
        self._shape: tuple[object, ...] = ()
        self._rows = torch.empty(0, dtype=torch.int64)

    def __call__(
        self, rows: int, keys: Keys | None, device: torch.device, *, at_random: bool = False
    ) -> Float[Tensor, "samples rows size"]:
        """Those of so many rows.

        Args:
            rows: how many.
            keys: of them; the last is a number for each row, the one before it moves from step to step.
            device: where they are needed.
            at_random: take torch's own where there are neither keys nor a batch's.
        """
        if keys is not None:
            return _keyed(self._acting, keys)
        if self.given is not None:
            own, self.given = self.given.split([rows, self.given.shape[1] - rows], dim=1)
            return own
        if at_random:
            return torch.randn((self.samples, rows, self.size), device=device)
        return self._fixed(Stream.PROBE, step=0, rows=torch.arange(rows, device=device))

    def exploring(self, keys: Keys) -> Float[Tensor, "rows size"]:
        """What is added to the actions drawn with these keys."""
        return _keyed(self._exploring, (Stream.EXPLORATION, *keys[1:]))[0]

    def of_update(
        self, batch: Batch, seed: int, update: int, rank: int, world_size: int
    ) -> Float[Tensor, "samples rows size"]:
        """All that one update draws, keyed by seed, update and the position of each row among those of all processes.

        Rows: states, successors and initial states for V, then states again for the actor.
        """
        observations = [part.obs for part in transitions_of(batch)]
        states = [len(obs) for obs in observations]
        initial = [len(batch["initial"])] if "initial" in batch else []
        counts = [*states, *initial, *states, *states]
        rows = self._positions(counts, rank, world_size, observations[0].device)
        return self._updating(Stream.ACTOR, seed, step=update, rows=rows).to(torch.float32)

    def within(self, objective: Callable[[Batch], Objective], skip: Callable[[Batch], int]) -> Callable:
        """An objective that draws from ``noise`` of its batch, from a row on."""

        def drawing(batch: Batch) -> Objective:
            noise = batch.get("noise")
            self.given = None if noise is None else noise[:, skip(batch) :]
            try:
                return objective(batch)
            finally:
                self.given = None

        return drawing

    def _positions(self, counts: list[int], rank: int, world_size: int, device: torch.device) -> Int[Tensor, " rows"]:
        """A key for each row; the same for all updates of a run."""
        shape = (*counts, rank, world_size, device)
        if shape != self._shape:
            each = [
                torch.arange(count, device=device) * world_size + rank + (place << 32)
                for place, count in enumerate(counts)
            ]
            self._shape, self._rows = shape, torch.cat(each)
        return self._rows


def _keyed(normals: NormalsAhead, keys: Keys) -> Float[Tensor, "samples rows size"]:
    *shared, step, row = keys
    assert isinstance(row, Tensor)
    return normals(*map(int, shared), step=int(step), rows=row)


def rows_before_actor(batch: Batch) -> int:
    """Rows of an update's noise that come before the actor's."""
    initial = batch.get("initial")
    return 2 * sum(len(part.obs) for part in transitions_of(batch)) + (0 if initial is None else len(initial))


def transitions_of(batch: Batch) -> list[Transition]:
    """Of expert and policy, where there are any."""
    return [part for part in (batch.get("expert"), batch.get("policy")) if part is not None]
