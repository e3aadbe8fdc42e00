"""Adam on one vector of weights: the arithmetic of ``torch.optim.Adam`` without what it costs to get there."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from iqlightning.algorithms.flat_weights import FlatWeights

__all__ = ["AdamNumbers", "FlatAdam"]


class AdamNumbers(NamedTuple):
    """The factors of one step that depend on its number t and the learning rate.

    Attributes:
        rate: lr / (1 - beta1^t).
        root: 1 / sqrt(1 - beta2^t).
        decay: lr x weight decay.
    """

    rate: float
    root: float
    decay: float


class FlatAdam:
    """Adam (Kingma and Ba 2015, arXiv 1412.6980, algorithm 1) or AdamW for an optimizer that steps flat weights.

        m <- b1 m + (1 - b1) g,   v <- b2 v + (1 - b2) g^2
        w <- w - lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps)

    The state lives where the optimizer keeps it, so that checkpoints are the same whoever makes the step.

    Args:
        optimizer: an Adam or AdamW for which :meth:`fits` holds.
        flat: what it steps.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, flat: FlatWeights) -> None:
        self.optimizer, self.flat = optimizer, flat
        self.group: dict[str, Any] = optimizer.param_groups[0]
        self.decoupled = type(optimizer) is torch.optim.AdamW or bool(self.group.get("decoupled_weight_decay"))
        self.steps = 0
        self._state: dict[str, Tensor] = {}
        self._step_here: Any = None

    @staticmethod
    def fits(optimizer: torch.optim.Optimizer) -> bool:
        """Whether the optimizer is one of the two, without an option that changes the formula."""
        group = optimizer.param_groups[0]
        plain = not any(group.get(name) for name in ("amsgrad", "maximize", "differentiable"))
        return type(optimizer) in (torch.optim.Adam, torch.optim.AdamW) and plain and isinstance(group["lr"], float)

    def begin(self) -> None:
        """Called before the first of several steps in a row: finds or makes the optimizer's state."""
        state = self.optimizer.state[self.flat.vector]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=self.flat.vector.device)
            state["exp_avg"] = torch.zeros_like(self.flat.gradient)
            state["exp_avg_sq"] = torch.zeros_like(self.flat.gradient)
        self.steps = int(state["step"])
        self._state = state
        # on the CPU a number is written in a tenth of the time that an operation on a tensor takes
        self._step_here = state["step"].numpy() if state["step"].device.type == "cpu" else None

    def count(self) -> tuple[AdamNumbers, Tensor, Tensor]:
        """Counts a step; its numbers and the two moments, which are to be changed in place."""
        self.steps += 1
        state, group = self._state, self.group
        if self._step_here is None:
            state["step"] += 1
        else:
            self._step_here[...] = self.steps
        first, second = group["betas"]
        # in double precision: 1 - 0.999^t has but four digits left in single
        numbers = AdamNumbers(
            rate=group["lr"] / (1 - first**self.steps),
            root=1 / math.sqrt(1 - second**self.steps),
            decay=group["lr"] * group["weight_decay"],
        )
        return numbers, state["exp_avg"], state["exp_avg_sq"]

    def back_to(self, steps: int) -> None:
        """Sets the number of steps made, where one was counted but not made."""
        self.steps = steps
        self._state["step"].fill_(float(steps))

    def apply(self, weights: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, numbers: Tensor) -> None:
        """A step as a graph wants it: every tensor written once; ``numbers`` (3,) are those of :class:`AdamNumbers`."""
        first, second = self.group["betas"]
        rate, root, decay = numbers.unbind(0)
        decayed = weights
        if self.group["weight_decay"]:
            if self.decoupled:
                decayed = weights * (1 - decay)
            else:
                gradient = gradient + self.group["weight_decay"] * weights
        new_mean = mean + (1 - first) * (gradient - mean)
        new_square = second * square + (1 - second) * gradient * gradient
        new_weights = decayed - rate * new_mean / (new_square.sqrt() * root + self.group["eps"])
        mean.copy_(new_mean)
        square.copy_(new_square)
        weights.copy_(new_weights)

    @torch.no_grad()
    def step(self) -> None:
        """One step with the gradient at hand."""
        numbers, mean, square = self.count()
        weights, gradient, (first, second) = self.flat.vector, self.flat.gradient, self.group["betas"]
        if self.group["weight_decay"]:
            if self.decoupled:
                weights.mul_(1 - numbers.decay)
            else:
                gradient = gradient.add(weights, alpha=self.group["weight_decay"])
        mean.lerp_(gradient, 1 - first)
        square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        weights.addcdiv_(mean, square.sqrt().mul_(numbers.root).add_(self.group["eps"]), value=-numbers.rate)
