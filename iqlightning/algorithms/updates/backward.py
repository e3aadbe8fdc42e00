"""How the gradient of a loss is computed: by one process, or as the mean over the shares of several."""

from collections.abc import Callable, Sequence

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn

from iqlightning.algorithms.updates.flat_weights import FlatWeights
from iqlightning.errors import LostProcessError

__all__ = ["backward_for", "mean_over_processes"]


def backward_for(
    module: LightningModule, parameters: list[nn.Parameter], flat: FlatWeights | None, alone: bool
) -> Callable[[Tensor], None]:
    """What computes the gradients of a loss with respect to some parameters.

    Lightning's hooks around a backward pass cost as much as a small network's own. Where the gradient is one small
    vector, one exchange after the pass also costs less than to prepare many that overlap with it; and DDP's own
    exchange waits for a gradient of every parameter, which one step of several does not have.

    Args:
        module: the running algorithm.
        parameters: that get a gradient.
        flat: the same as one vector, or None.
        alone: whether an update has but this step, and so the loss depends on no other parameters.
    """
    trainer = module.trainer
    inputs = None if alone else parameters
    if trainer.world_size == 1:
        return lambda loss: loss.backward(inputs=inputs)
    if not isinstance(trainer.strategy, DDPStrategy) or (alone and (flat is None or not flat.small)):
        return lambda loss: module.manual_backward(loss, inputs=inputs)

    def backward(loss: Tensor) -> None:
        loss.backward(inputs=inputs)
        if flat is not None:
            mean_over_processes([flat.gradient])
        else:
            mean_over_processes([each.grad for each in parameters if each.grad is not None])

    return backward


def mean_over_processes(tensors: Sequence[Tensor]) -> None:
    """Replaces tensors by their means over the processes of the run, to the same bits in each of them.

    Raises:
        LostProcessError: if another process has ended.
    """
    processes = torch.distributed.get_world_size()
    try:
        for tensor in tensors:
            torch.distributed.all_reduce(tensor)
            tensor.div_(processes)
    except RuntimeError as error:
        raise LostProcessError(f"gradients could not be exchanged: {error}") from error
