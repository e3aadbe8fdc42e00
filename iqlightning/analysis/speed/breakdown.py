"""Where the time of one update goes inside ``fit``: the parts of the update loop, timed by wrapping them."""

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

__all__ = ["Parts"]


class Parts:
    """Time of each part of the update; what is left over is Lightning's loop with loggers, callbacks and the bar.

    Time is that of the part alone: a part within another one is taken off the outer one.
    """

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._inner = 0.0
        self._calls = 0
        start = time.process_time()
        for _ in range(1000):
            time.process_time()
        self._cost = (time.process_time() - start) / 1000  # of looking at the clock, to be taken off

    def watch_fit(self, trainer: Any) -> None:
        """Wraps the parts of a running fit."""
        learner = trainer.lightning_module
        self.wrap(trainer.datamodule.source if hasattr(trainer.datamodule, "source") else trainer.datamodule, "batch")
        (update,) = learner.updater.steps.values()
        self.wrap(update, "objective", "forward and loss")
        self.wrap(update, "backward", "backward")
        self.wrap(update.optimizer, "step", "optimizer")
        self.wrap(learner.metrics, "add", "sums for the log")
        self.wrap(learner.metrics, "log", "log")
        for callback in trainer.callbacks:
            for hook in ("on_train_batch_start", "on_train_batch_end", "on_train_epoch_end", "on_train_epoch_start"):
                if hook in type(callback).__dict__:
                    save = "BestAndLast" in type(callback).__name__
                    self.wrap(callback, hook, "checkpoints" if save else "callbacks and bar")
        self.wrap(learner, "training_step", "rest of training_step")

    def wrap(self, owner: Any, name: str, label: str | None = None) -> None:
        """Measures calls of ``owner.name`` under ``label``."""
        inner: Callable[..., Any] = getattr(owner, name)
        label = label or name

        def measured(*args: Any, **kwargs: Any) -> Any:
            outer, self._inner = self._inner, 0.0
            start = time.process_time()
            try:
                return inner(*args, **kwargs)
            finally:
                spent = time.process_time() - start
                self.seconds[label] += spent - self._inner - self._cost
                # the outer part has two looks at the clock, one of which is within `spent`
                self._inner = outer + spent + self._cost
                self._calls += 1

        setattr(owner, name, measured)

    def shares(self, total: float, updates: int) -> dict[str, float]:
        """Microseconds an update by part, the rest of ``total`` seconds as Lightning's loop."""
        found = {label: 1e6 * seconds / updates for label, seconds in self.seconds.items()}
        left = total - sum(self.seconds.values()) - 2 * self._cost * self._calls
        found["Lightning's loop"] = 1e6 * max(0.0, left) / updates
        return found
