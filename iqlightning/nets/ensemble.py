"""Several perceptrons of one shape, evaluated together."""

import itertools
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from iqlightning.errors import UserError

__all__ = ["EnsembleMLP"]


class EnsembleMLP(nn.Module):
    """``copies`` perceptrons on the same inputs: x -> [linear -> LayerNorm, if asked for -> ReLU] ... -> linear.

    One batched product a layer serves them all, and each copy begins with weights of its own, drawn as ``nn.Linear``
    draws them.

    Args:
        inputs: width of the inputs.
        hidden: widths of the hidden layers.
        outputs: width of the outputs.
        copies: how many.
        layer_norm: normalise before each activation (Ba, Kiros and Hinton 2016, arXiv 1607.06450), which keeps critics
            from growing without limit (Ball et al. 2023, arXiv 2302.02948, section 4.2).

    Shapes:
        (B, inputs) to (copies, B, outputs).
    """

    def __init__(
        self, inputs: int, hidden: Sequence[int], outputs: int, copies: int = 1, layer_norm: bool = False
    ) -> None:
        super().__init__()
        if copies < 1:
            raise UserError(f"an ensemble needs at least one copy, not {copies}")
        widths = [inputs, *hidden, outputs]
        self.copies, self.layer_norm = copies, layer_norm
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for before, after in itertools.pairwise(widths):
            bound = 1 / math.sqrt(before)
            self.weights.append(nn.Parameter(torch.empty(copies, before, after).uniform_(-bound, bound)))
            self.biases.append(nn.Parameter(torch.empty(copies, 1, after).uniform_(-bound, bound)))
        normed = hidden if layer_norm else ()
        self.scales = nn.ParameterList(nn.Parameter(torch.ones(copies, 1, width)) for width in normed)
        self.shifts = nn.ParameterList(nn.Parameter(torch.zeros(copies, 1, width)) for width in normed)

    def forward(self, x: Float[Tensor, "batch inputs"], *, frozen: bool = False) -> Float[Tensor, "copies batch out"]:
        """Outputs of every copy; ``frozen`` lets no gradient reach the weights, as an actor's objective wants."""
        held = (lambda weight: weight.detach()) if frozen else (lambda weight: weight)
        h = x.expand(self.copies, *x.shape)
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = torch.baddbmm(held(bias), h, held(weight))
            if layer == last:
                break
            if self.layer_norm:
                h = F.layer_norm(h, h.shape[-1:]) * held(self.scales[layer]) + held(self.shifts[layer])
            h = F.relu(h)
        return h
