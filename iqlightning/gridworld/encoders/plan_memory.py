"""Plans kept from one call to the next: a plan belongs to the grid, and playing an episode only moves the player."""

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from iqlightning.keyed import Stream, hash_keys

__all__ = ["PlanMemory", "grid_keys"]

_FACTORS: dict[tuple[int, torch.device], Tensor] = {}

# Bytes of a number to the integer of that size, and to where the exponent begins in it.
_INTEGERS = {2: (torch.int16, 7), 4: (torch.int32, 23), 8: (torch.int64, 52)}


def grid_keys(planes: Float[Tensor, "batch channels height width"]) -> Int[Tensor, " batch"]:
    """A number for each grid that tells different ones apart, the same in any batch.

    It is a multilinear hash, modulo 2**64, of the bits of all numbers; two different grids of zeros and ones share it
    with probability about 2**-63 a pair.
    """
    dtype, exponent = _INTEGERS[planes.element_size()]
    bits = planes.flatten(1).contiguous().view(dtype)
    # Only the highest bits of a one are set; in a product modulo 2**64 they would count for little.
    return ((bits ^ (bits >> exponent)) * _factors(bits.shape[1], bits.device)).sum(1)


def _factors(count: int, device: torch.device) -> Tensor:
    factors = _FACTORS.get((count, device))
    if factors is None:
        factors = hash_keys(Stream.SPLIT, torch.arange(count, device=device)) | 1
        # what is made while a network is traced has no data and must not outlive the trace
        if type(factors) is Tensor:
            _FACTORS[count, device] = factors
    return factors


class PlanMemory:
    """The plans of the grids of the last call.

    Within a call each distinct grid is planned once. From call to call plans are kept as long as no gradient is asked
    for, the weights stay as they are and every grid of the call is among those kept: so it is while a batch of
    episodes is played to its end, which becomes as cheap as one step.
    """

    def __init__(self) -> None:
        self._state: tuple | None = None
        self._keys: Tensor | None = None
        self._plans: Tensor | None = None

    def __deepcopy__(self, memo: dict) -> "PlanMemory":
        return PlanMemory()  # the copy of a network has no use for the plans of the original

    def __getstate__(self) -> dict:
        return PlanMemory().__dict__

    def plans(
        self,
        planes: Float[Tensor, "batch channels height width"],
        weights: Iterable[Tensor],
        plan: Callable[[Tensor], Tensor],
        *,
        keep: bool,
    ) -> tuple[Tensor, Int[Tensor, " batch"]]:
        """Plans of the distinct grids, and which of them is each grid's.

        Args:
            planes: what a plan depends on.
            weights: what else it depends on; plans of other or changed weights are forgotten.
            plan: (G, channels, height, width) to (G, ...).
            keep: whether to look for kept plans and to keep these; never while gradients are recorded.
        """
        if torch.compiler.is_exporting():  # which grids are equal depends on values, and a program keeps nothing
            return plan(planes), torch.arange(planes.shape[0], device=planes.device)
        keys = grid_keys(planes)
        keep = keep and not torch.is_grad_enabled()
        state = (planes.shape[1:], planes.dtype, *((id(weight), weight._version) for weight in weights))
        if keep and self._state == state and self._keys is not None and self._plans is not None:
            which = torch.searchsorted(self._keys, keys).clamp_(max=len(self._keys) - 1)
            if self._keys.device == keys.device and torch.equal(self._keys[which], keys):
                return self._plans, which
        self._state = self._keys = self._plans = None
        distinct, which = torch.unique(keys, return_inverse=True)
        order = torch.arange(len(which), device=which.device)
        first = order.new_full((len(distinct),), len(which)).scatter_reduce(0, which, order, "amin")
        plans = plan(planes[first])
        if keep:
            self._state, self._keys, self._plans = state, distinct, plans
        return plans, which
