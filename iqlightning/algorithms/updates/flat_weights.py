"""All weights of a network in one line of memory, so that an optimizer sees one parameter instead of dozens.

For a small network an optimizer's step, the norm of the gradient and its reset cost several times more in dispatching
than in arithmetic, and each is paid for every parameter. Seen as one vector they are paid once. Results are the same
for optimizers that treat each number by itself, which are most; the others keep their parameters apart.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["FlatWeights", "flat_optimizer"]

_ELEMENTWISE = frozenset(
    {
        torch.optim.Adadelta,
        torch.optim.Adagrad,
        torch.optim.Adam,
        torch.optim.AdamW,
        torch.optim.Adamax,
        torch.optim.NAdam,
        torch.optim.RAdam,
        torch.optim.RMSprop,
        torch.optim.SGD,
    }
)

# Beyond this many weights arithmetic and memory dominate, not the number of operations.
_SMALL = 1 << 18


class FlatWeights:
    """One vector that holds all trainable weights of a network; its parameters become windows into it.

    Moving the network to another device or dtype undoes this; then make it anew.

    Args:
        network: its trainable parameters are of one dtype and on one device.

    Attributes:
        vector: (P,) parameter, with its gradient always present.
        parameters: the network's own, whose data and gradients are windows into the vector's.
        small: whether an operation on all weights costs more to call than to make.
    """

    @torch.no_grad()
    def __init__(self, network: nn.Module) -> None:
        named = [(name, each) for name, each in network.named_parameters() if each.requires_grad]
        self.names = [name for name, _ in named]
        self.parameters = [each for _, each in named]
        self.shapes = [each.shape for each in self.parameters]
        self.sizes = [each.numel() for each in self.parameters]
        self.vector = nn.Parameter(torch.cat([each.detach().reshape(-1) for each in self.parameters]))
        self.small = self.vector.numel() <= _SMALL
        self.gradient = torch.zeros_like(self.vector)
        self.vector.grad = self.gradient
        for parameter, window in zip(self.parameters, self.windows(self.vector.detach()), strict=True):
            parameter.data = window
        self._gradients = self.windows(self.gradient)
        self.attach()

    def windows(self, vector: Tensor) -> list[Tensor]:
        """A (P,) vector in the shapes of the parameters."""
        return [part.view(shape) for part, shape in zip(vector.split(self.sizes), self.shapes, strict=True)]

    def attach(self) -> None:
        """Makes sure that gradients arrive in the vector's, also where someone has dropped them."""
        self.vector.grad = self.gradient
        for parameter, gradient in zip(self.parameters, self._gradients, strict=True):
            if parameter.grad is not gradient:
                parameter.grad = gradient


def flat_optimizer(
    network: nn.Module, build: Callable[[Iterable], torch.optim.Optimizer]
) -> tuple[torch.optim.Optimizer, FlatWeights | None]:
    """The optimizer, and the flat weights that it steps; None where it has to tell parameters apart."""
    optimizer = build(network.parameters())
    trainable = [each for each in network.parameters() if each.requires_grad]
    alike = {(each.dtype, each.device) for each in trainable}
    if type(optimizer) not in _ELEMENTWISE or len(alike) != 1:
        return optimizer, None
    flat = FlatWeights(network)
    vectors: Any = [flat.vector]
    return build(vectors), flat
