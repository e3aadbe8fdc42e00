"""One share of the environments and of what they have played for each process; checkpoints hold all of them together.

Process r of W has environments r, r + W, r + 2W, ... A state is a dictionary whose tensors have the environments along
their first dimension, each in turn (or time and environments, flattened, the latter running faster): its share for
process r is ``tensor[r::W]``. Everything else in it, 0-dimensional tensors too, is the same for all processes.
"""

from typing import Any

import torch
from torch import Tensor, distributed

from iqlightning.errors import UserError, nearest_multiples

__all__ = ["check_num_envs", "everywhere", "gathered", "share_of"]


def check_num_envs(num_envs: int, world_size: int) -> None:
    """Checks that every process gets equally many environments.

    Raises:
        UserError: if not.
    """
    if num_envs % world_size:
        raise UserError(
            f"num_envs {num_envs} is not a multiple of {world_size}, the number of processes that share them out; the "
            f"nearest valid: {nearest_multiples(num_envs, world_size)}"
        )


def everywhere(truth: bool, world_size: int, device: torch.device) -> bool:
    """Whether a truth holds on all processes, which have to ask together."""
    if world_size == 1 or not distributed.is_initialized():
        return truth
    number = torch.tensor(int(truth), device=device)
    distributed.all_reduce(number, distributed.ReduceOp.MIN)
    return bool(number)


def share_of(state: dict[str, Any], rank: int, world_size: int) -> dict[str, Any]:
    """The part of a whole state that process ``rank`` of ``world_size`` goes on with."""
    return {name: _share_of(value, rank, world_size) for name, value in state.items()}


def _share_of(value: Any, rank: int, world_size: int) -> Any:
    if isinstance(value, dict):
        return share_of(value, rank, world_size)
    return value[rank::world_size] if isinstance(value, Tensor) and value.dim() else value


def gathered(state: dict[str, Any], rank: int, world_size: int) -> dict[str, Any]:
    """The whole state on process 0, from the shares of all processes, which have to call this together.

    Elsewhere the share is returned as it is: process 0 writes checkpoints. Where one process has more of something for
    each of its environments than another, zeros make up for it.
    """
    if world_size == 1:
        return state
    return {name: _gathered(value, rank, world_size) for name, value in state.items()}


def _gathered(value: Any, rank: int, world_size: int) -> Any:
    if isinstance(value, dict):
        return gathered(value, rank, world_size)
    if not isinstance(value, Tensor) or not value.dim():
        return value
    # backends do not all know booleans
    own = value.contiguous()
    own = own.view(torch.uint8) if own.dtype == torch.bool else own
    longest = torch.tensor(len(own), device=own.device)
    distributed.all_reduce(longest, distributed.ReduceOp.MAX)
    own = torch.cat([own, own.new_zeros((int(longest) - len(own), *own.shape[1:]))]) if len(own) < longest else own
    shares = [torch.empty_like(own) for _ in range(world_size)] if rank == 0 else None
    distributed.gather(own, shares, dst=0)
    return value if shares is None else torch.stack(shares, 1).flatten(0, 1).view(value.dtype)
