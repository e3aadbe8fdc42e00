"""Scalars of the updates since the last log: their means are logged next, whether or not a run was resumed between."""

import math
from collections.abc import Callable
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["MetricsBuffer"]

# Updates whose scalars wait to be stacked: many at once cost little more than one, but what waits must not grow
# without limit.
_AT_ONCE = 256


class MetricsBuffer:
    """One row of scalars for each update since the last log, on the device.

    Rows are kept, not sums: the mean of the same rows is the same to the last bit wherever a run was interrupted, and
    the first update that was not finite can be named.

    Attributes:
        names: of the scalars.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self._waiting: list[tuple[Tensor, ...] | Tensor] = []
        self._stacked: list[Tensor] = []

    def add(self, names: list[str], scalars: tuple[Tensor, ...] | Tensor) -> None:
        """The scalars of one more update."""
        if self._stacked and not self._waiting and names != self.names:
            self._stacked.clear()  # rows of a checkpoint that another version wrote
        self.names = names
        self._waiting.append(scalars)
        if len(self._waiting) >= _AT_ONCE:
            self._stack()

    def rows(self) -> Float[Tensor, "updates scalars"] | None:
        """One for each update, None if there are none."""
        if self._waiting:
            self._stack()
        if not self._stacked:
            return None
        if len(self._stacked) > 1:
            newest = self._stacked[-1]
            self._stacked = [torch.cat([rows.to(newest) for rows in self._stacked])]
        return self._stacked[0]

    def clear(self) -> None:
        """They have been logged."""
        self._waiting.clear()
        self._stacked.clear()

    def first_not_finite(self) -> tuple[int, dict[str, float]] | None:
        """How many updates ago the first was made of which a scalar is not finite (0: the last), and those scalars."""
        rows = self.rows()
        if rows is None:
            return None
        bad = (~rows.isfinite()).any(1)
        if not bool(bad.any()):
            return None
        first = int(bad.float().argmax())
        values = dict(zip(self.names, rows[first].tolist(), strict=True))
        wrong = {name: value for name, value in values.items() if not math.isfinite(value)}
        return len(rows) - 1 - first, wrong

    def state_dict(self, all_gather: Callable[[Tensor], Tensor] | None = None) -> dict[str, Any]:
        """Names, and the rows of every process (processes, updates, scalars).

        Args:
            all_gather: stacks a tensor of every process; None if there is one process.
        """
        rows = self.rows()
        if rows is None:
            return {"names": list(self.names), "rows": torch.empty(1, 0, len(self.names))}
        return {"names": list(self.names), "rows": rows[None].clone() if all_gather is None else all_gather(rows)}

    def load_state_dict(self, state: dict[str, Any], rank: int, world_size: int) -> None:
        """Restores this process's rows; on another number of processes, each takes the mean of those there were."""
        self.clear()
        self.names, rows = list(state["names"]), state["rows"]
        if rows.shape[1]:
            self._stacked = [rows[rank].clone() if len(rows) == world_size else rows.mean(0)]

    def _stack(self) -> None:
        rows = self._waiting
        if all(isinstance(row, Tensor) for row in rows):
            self._stacked.append(torch.stack(cast("list[Tensor]", rows)))
        else:
            self._stacked.append(torch.stack([scalar for row in rows for scalar in row]).view(len(rows), -1))
        self._waiting.clear()
