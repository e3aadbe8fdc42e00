"""Learning-rate schedules as factors of the optimizer's rate, by update."""

import math
from abc import abstractmethod
from collections.abc import Sequence

from iqlightning.errors import UserError
from iqlightning.recorded import Recorded

__all__ = ["Constant", "Cosine", "Schedule", "Steps"]


class Schedule(Recorded):
    """Learning rate = optimizer's rate * warm-up(update) * decay(update).

    Args:
        warmup: updates over which the rate rises linearly from 1 / warmup to 1; 0 for none.
    """

    def __init__(self, warmup: int = 0) -> None:
        if warmup < 0:
            raise UserError(f"warmup counts updates and cannot be negative: {warmup}")
        self.warmup = warmup

    @abstractmethod
    def decay(self, update: int, total: int) -> float:
        """The factor without the warm-up; ``total`` is the number of updates of the whole run."""

    def factor(self, update: int, total: int) -> float:
        """The factor at ``update`` (from 0)."""
        rise = min(1.0, (update + 1) / self.warmup) if self.warmup else 1.0
        return rise * self.decay(update, total)


class Constant(Schedule):
    """No decay."""

    def decay(self, update: int, total: int) -> float:
        """1."""
        return 1.0


class Cosine(Schedule):
    """final + (1 - final) (1 + cos(pi t)) / 2 with t = update / total (Loshchilov and Hutter 2017, eq. 5).

    Args:
        warmup: updates over which the rate rises linearly from 1 / warmup to 1; 0 for none.
        final: the factor at the end.
    """

    def __init__(self, warmup: int = 0, final: float = 0.0) -> None:
        super().__init__(warmup)
        self.final = final

    def decay(self, update: int, total: int) -> float:
        """From 1 to ``final``; a run without an end does not decay."""
        share = min(1.0, update / total) if total > 0 else 0.0
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * share))


class Steps(Schedule):
    """The rate is multiplied by ``rate`` at each milestone.

    Args:
        warmup: updates over which the rate rises linearly from 1 / warmup to 1; 0 for none.
        milestones: updates at which the rate drops.
        rate: the multiplier.
    """

    def __init__(self, warmup: int = 0, milestones: Sequence[int] = (1000,), rate: float = 0.1) -> None:
        super().__init__(warmup)
        self.milestones = sorted(milestones)
        self.rate = rate

    def decay(self, update: int, total: int) -> float:
        """Rate ** (milestones passed)."""
        return self.rate ** sum(update >= milestone for milestone in self.milestones)
