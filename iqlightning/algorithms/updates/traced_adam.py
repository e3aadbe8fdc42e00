"""Adam's step as part of a compiled update, where a call of the optimizer costs a fifth of a small network's update.

The arithmetic is the library's own, :func:`torch.optim.adam.adam`, traced with the update; its moments stay in the
optimizer's state, so that checkpoints and whoever else reads the optimizer know nothing of it.
"""

import torch
from torch import Tensor
from torch.optim.adam import adam

__all__ = ["TracedAdam"]

_KINDS = (torch.optim.Adam, torch.optim.AdamW)


class TracedAdam:
    """Adam or AdamW on one vector of weights.

    Args:
        optimizer: of one parameter; see :meth:`supports`.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self._rate = torch.zeros((), dtype=torch.float64)

    @staticmethod
    def supports(optimizer: torch.optim.Optimizer) -> bool:
        """Whether its step can be traced: Adam or AdamW without AMSGrad, and a learning rate that is a number."""
        if type(optimizer) not in _KINDS:
            return False
        return not any(group["amsgrad"] or isinstance(group["lr"], Tensor) for group in optimizer.param_groups)

    @property
    def state(self) -> list[Tensor]:
        """Both moments, the number of steps and the learning rate; the graph changes all but the last.

        Empty before the optimizer's first step, which makes them, and at a rate of 0, which the graph divides by.
        """
        (group,) = self.optimizer.param_groups
        state = self.optimizer.state.get(group["params"][0])
        if not state or group["lr"] == 0:
            return []
        return [state["exp_avg"], state["exp_avg_sq"], state["step"], self._rate.fill_(group["lr"])]

    def step(self, vector: Tensor, gradient: Tensor, state: list[Tensor]) -> None:
        """Changes weights and state in place, by operations that can be traced."""
        mean, square, count, rate = state
        # 1 - beta^count loses four digits in single precision at first
        exact = count.double()
        (group,) = self.optimizer.param_groups
        adam(
            [vector],
            [gradient],
            [mean],
            [square],
            [],
            [exact],
            foreach=False,
            differentiable=True,  # reads the number of steps as a tensor
            decoupled_weight_decay=group["decoupled_weight_decay"],
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=rate,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=group["maximize"],
        )
        count.copy_(exact)
