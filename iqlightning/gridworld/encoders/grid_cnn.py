"""A convolutional network for grid planes: local, the same in all directions, read out at the player.

What the study's networks lacked is not size but these four properties. A shortest path is found by a local rule
applied everywhere again and again, so one small layer is applied repeatedly; the rule does not depend on the direction,
so the layer sees its four neighbours only through their maximum; nothing passes through a wall, so walls hold nothing,
like the cells outside; and what counts is what lies beside the player, so the features of an action are those of the
cell it leads to. Rotating or mirroring the grid then rotates or mirrors the Q-values by construction, and nothing about
it has to be learned from more demonstrations.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from iqlightning.gridworld.encoders.grid_cnn_portable import portable_features
from iqlightning.gridworld.encoders.plan_memory import PlanMemory
from iqlightning.gridworld.encoders.planes import require_grid
from iqlightning.gridworld.encoders.propagation import CLOSED, carrying_weight
from iqlightning.gridworld.game.rules import cell_steps
from iqlightning.gridworld.game.settings import SIZES
from iqlightning.nets.encoders.encoder import Encoder

__all__ = ["GridCNN"]

_CELLS_IN_CACHE = 16_384


class _Propagate(torch.autograd.Function):
    """All iterations in one, on memory that is asked for once, for cells in one line with zeros at both ends.

    Step by step, a thousand operations' bookkeeping takes a fifth of an update of small batches, padding and joining
    copy every map twice, and the gradient of a maximum makes six passes over memory where one is enough. Cannot be
    differentiated twice.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, weight: Tensor, iterations: int, stride: int) -> Tensor:
        channels, count = z.shape
        kept = iterations + 1 if any(ctx.needs_input_grad) else 2
        maps = z.new_empty(kept, channels, count + 2 * stride)
        maps[:, :, :stride] = maps[:, :, stride + count :] = 0
        around, middle = _views(maps, stride)
        highest, beside = torch.empty_like(z), torch.empty_like(z)
        carry, echo = weight.chunk(2, dim=1)
        torch.clamp(z, min=0, out=middle[0])
        for step in range(iterations):
            now, following = step % kept, (step + 1) % kept
            _highest(around[now], beside, out=highest)
            torch.addmm(z, carry, highest, out=beside).addmm_(echo, middle[now])
            torch.clamp(beside, min=0, out=middle[following])
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(weight, maps)
            ctx.stride = stride
        return middle[iterations % kept].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:  # type: ignore[override]
        weight, maps = ctx.saved_tensors
        stride = ctx.stride
        around, middle = _views(maps, stride)
        carry, echo = (half.t() for half in weight.chunk(2, dim=1))
        of_weight = torch.zeros_like(weight)
        of_carry, of_echo = of_weight.chunk(2, dim=1)
        of_own = gradients[0].contiguous()  # it comes transposed
        of_z, share, highest, arriving = torch.zeros_like(of_own), *(torch.empty_like(of_own) for _ in range(3))
        reached = [torch.empty_like(of_own) for _ in range(4)]
        buffer = torch.zeros_like(maps[0])
        windows, center = _around(buffer, stride), buffer[:, stride:-stride]
        of_relu, highest_t = torch.ops.aten.threshold_backward.grad_input, highest.t()
        for step in range(len(maps) - 2, -1, -1):
            _highest(around[step], share, out=highest)  # to find it again is faster than to keep it
            of_relu(of_own, middle[step + 1], 0, grad_input=arriving)
            of_z += arriving
            of_carry.addmm_(arriving, highest_t)
            of_echo.addmm_(arriving, middle[step].t())
            # Neighbours that are equally large share the gradient. In open space many are, and giving each of them the
            # whole of it would multiply it by up to four in every iteration.
            for neighbour, mask in zip(around[step], reached, strict=True):
                torch.eq(neighbour, highest, out=mask)
            torch.add(reached[0], reached[1], out=share).add_(reached[2]).add_(reached[3])
            torch.div(torch.mm(carry, arriving, out=highest), share, out=share)
            of_own = torch.mm(echo, arriving, out=center)
            for window, mask in zip(windows, reached, strict=True):
                window.addcmul_(share, mask)
        of_z += of_relu(of_own, middle[0], 0, grad_input=arriving)
        return of_z, of_weight, None, None


def _around(line: Tensor, stride: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The four neighbours of each cell of a line with ``stride`` zeros at both ends."""
    count = line.shape[1] - 2 * stride
    return (
        line[:, :count],
        line[:, 2 * stride :],
        line[:, stride - 1 : stride - 1 + count],
        line[:, stride + 1 : stride + 1 + count],
    )


def _views(maps: Tensor, stride: int) -> tuple[list[tuple[Tensor, Tensor, Tensor, Tensor]], list[Tensor]]:
    """Of each of several lines: the neighbours of its cells, and the cells themselves."""
    lines = maps.unbind()
    return [_around(line, stride) for line in lines], [line[:, stride:-stride] for line in lines]


def _highest(around: tuple[Tensor, Tensor, Tensor, Tensor], beside: Tensor, out: Tensor) -> None:
    """The maximum of the four; ``beside`` is written over."""
    above, below, left, right = around
    torch.maximum(left, right, out=beside)
    torch.maximum(torch.maximum(above, below, out=out), beside, out=out)


class GridCNN(Encoder):
    r"""A weight-shared convolution over the four neighbours, iterated, and read out at the player.

    With x the planes walls, goal and inside at each cell, N(i) its four neighbours and C channels::

        z_i     = K x_i                                            (C, 3) times (3,)
        h_i^0   = relu(z_i)
        h_i^k+1 = relu(z_i + A max_{j in N(i)} h_j^k + B h_i^k)    elementwise maximum
        h_i^k   = 0 on walls and outside the grid                  nothing passes through them
        f(s, a) = relu(M [h_p; x_p; h_p(a); x_p(a)] + m)           p the player's cell, p(a) the cell that a points at

    It plays grids of any size. Each iteration carries information one cell further, so ``iterations=None`` takes
    height + width of the grid at hand. A grid that occurs several times in a batch is computed once, and while a batch
    of episodes is played only the first move computes anything (:class:`.plan_memory.PlanMemory`).

    Args:
        observation_shape: (3, H, W).
        channels: C.
        iterations: number of applications of the layer; None for height + width.
        hidden: width of the features of each action.

    Shapes:
        observations (B, 3, H, W) to features (B, 4, hidden).
    """

    shares_work = True  # s and s' lie on one grid
    sides = SIZES
    reads_planes = True

    def __init__(
        self,
        observation_shape: tuple[int, ...],
        channels: int = 16,
        iterations: int | None = None,
        hidden: int = 64,
    ) -> None:
        super().__init__()
        require_grid(self, observation_shape)
        self.channels = channels
        self.iterations = iterations
        self.stem = nn.Linear(3, channels)
        self.weight = carrying_weight(channels)
        self.readout = nn.Linear(2 * (channels + 3), hidden)
        self.feature_shape = (4, hidden)
        self._memory = PlanMemory()

    def forward(self, observations: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 4 hidden"]:
        """Features of the four actions at the player's cell."""
        if torch.compiler.is_exporting():
            return portable_features(observations, self.stem, self.weight, self.readout, self.iterations)
        width = observations.shape[-1]
        player = observations[:, 1].flatten(1).argmax(1)
        plans, which = self._memory.plans(
            observations[:, ::2], (*self.stem.parameters(), self.weight), self._plan, keep=not self.training
        )
        # One border cell behind each row and one border row below each grid hold zeros, so what lies before the first
        # row or column is the border of the grid before; an index below zero is the last grid's.
        stride = width + 1
        cells = plans.flatten(0, 1)
        here = which * plans.shape[1] + player // width * stride + player % width
        there = here[:, None] + torch.tensor(cell_steps(stride), device=here.device)
        own = cells[here][:, None].expand(-1, 4, -1)
        return F.relu(self.readout(torch.cat([own, cells[there]], dim=-1)))

    def _plan(self, grids: Tensor) -> Tensor:
        """Planes walls and goal (G, 2, H, W) to the last [h; x] with a border, (G, (H + 1) (W + 1), C + 3)."""
        height, width = grids.shape[-2:]
        size = (height + 1) * (width + 1)
        # Parts that fit in a processor's cache are worked on one after the other: twice as fast for thousands of grids.
        part = max(1, _CELLS_IN_CACHE // size)
        iterations = self.iterations or height + width
        maps = [self._propagate(some, iterations) for some in grids.split(part)]
        return (torch.cat(maps) if len(maps) > 1 else maps[0]).view(len(grids), size, -1)

    def _propagate(self, grids: Tensor, iterations: int) -> Tensor:
        """Planes (G, 2, H, W) to the last [h; x] of G (H + 1) (W + 1) cells.

        All grids lie in one line, so that a neighbour is a shifted slice and no convolution has to touch the borders.
        """
        stride = grids.shape[-1] + 1
        ends = (stride, stride)
        inside = torch.ones_like(grids[:, :1])
        x = F.pad(torch.cat([grids, inside], dim=1), (0, 1, 0, 1)).transpose(0, 1).reshape(3, -1)
        count = x.shape[1]
        closed = x[2] - x[0] < 0.5  # a wall or outside; observations may be noisy
        z = torch.addmm(self.stem.bias[:, None], self.stem.weight, x).masked_fill(closed, CLOSED)
        if not x.requires_grad:  # else, for a penalty on it, the gradient is differentiated again
            h = _Propagate.apply(z, self.weight.to(z.dtype), iterations, stride)
            return torch.cat([h, x.to(h.dtype)]).t()  # type: ignore[list-item]
        h = F.pad(F.relu(z), ends)
        for _ in range(iterations):
            neighbours = torch.stack(_around(h, stride)).amax(0)
            own = h[:, stride : stride + count]
            h = F.pad(F.relu(torch.addmm(z, self.weight, torch.cat([neighbours, own]))), ends)
        return torch.cat([h[:, stride : stride + count], x]).t()
