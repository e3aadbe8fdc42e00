"""A planner in log space: path costs in several currencies at once, exact at any distance, read out at the player.

Discounted values of far cells are tiny, and a network that computes them loses the way beyond the distances it has
seen. Their logarithms are path costs, which neither shrink nor saturate: a planner that adds costs and takes minima
is as exact at the thousandth cell as at the tenth. What made an earlier form of it touchy was that the Q-values were
these costs, so that one scale had to serve both the order of the moves and the size of the rewards, and a penalty on
rewards fought the scale that far goals need. Here the two are apart: how much nearer a move leads is a bounded number
of the same size everywhere, and how much a state is worth is a discounted value, one for each of several discounts.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional as F

from iqlightning.gridworld.encoders.plan_memory import PlanMemory
from iqlightning.gridworld.encoders.planes import neighbours, require_grid
from iqlightning.gridworld.encoders.portable import player_cell, until_it_stays
from iqlightning.gridworld.game.rules import cell_steps
from iqlightning.gridworld.game.settings import SIZES
from iqlightning.nets.encoders.encoder import Encoder

__all__ = ["LogPlanner", "path_costs"]

_FAR = 1e4  # the cost of what cannot be reached; the longest way on the largest grid costs less
_CELLS_IN_CACHE = 16_384
_LOOK_EVERY = 4  # iterations between two looks at whether anything still changes


class _PathCosts(torch.autograd.Function):
    """The fixed point D_i = min(0 at sources, c_i + min over neighbours D_j), for cells in one line.

    Only the fixed point is stored. The gradient of D_i is handed on to the neighbours that the way from i leads
    through, shared among equally good ones, until all of it has arrived at the sources.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, cost: Tensor, source: Tensor, stride: int, longest: int) -> Tensor:
        channels, count = cost.shape
        total = torch.full((channels, count + 2 * stride), _FAR, dtype=cost.dtype, device=cost.device)
        own = total[:, stride : stride + count]
        own.masked_fill_(source, 0.0)
        windows = [total[:, offset : offset + count] for offset in _offsets(stride)]
        for iteration in range(longest):
            nearest = torch.minimum(torch.minimum(windows[0], windows[1]), torch.minimum(windows[2], windows[3]))
            better = torch.minimum(own, nearest.add_(cost))
            if iteration % _LOOK_EVERY == _LOOK_EVERY - 1 and torch.equal(better, own):
                break
            own.copy_(better)
        ctx.save_for_backward(cost, source, total)
        ctx.stride = stride  # type: ignore[attr-defined]
        return own.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        cost, source, total = ctx.saved_tensors
        stride, count = ctx.stride, cost.shape[1]
        own = total[:, stride : stride + count]
        reachable = (own < _FAR) & ~source
        through = [reachable & (total[:, o : o + count] + cost == own) for o in _offsets(stride)]
        shares = sum(each.to(cost.dtype) for each in through).clamp_(min=1).reciprocal_()  # type: ignore[union-attr]
        weights = [each * shares for each in through]
        given = gradients[0].contiguous()
        flow = given
        while True:
            handed = F.pad(given, (stride, stride))
            for offset, weight in zip(_offsets(stride), weights, strict=True):
                handed[:, offset : offset + count].addcmul_(weight, flow)
            handed = handed[:, stride : stride + count]
            if torch.equal(handed, flow):
                return flow * reachable, None, None, None
            flow = handed


def _offsets(stride: int) -> tuple[int, ...]:
    """Where the cells above, right, below and left of the first one begin in a line padded by ``stride``."""
    return tuple(stride + step for step in cell_steps(stride))


def path_costs(
    cost: Float[Tensor, "batch channels height width"], source: Tensor, longest: int | None = None
) -> Float[Tensor, "batch channels height width"]:
    """Cost of the cheapest way from each cell to a source, where being in cell i costs c_i and a source nothing.

    Args:
        cost: above 0; at least 1e4 where nobody can be.
        source: (B, H, W) bool.
        longest: moves of the longest way that is looked for; None for any.

    Returns:
        The costs, 1e4 where no way leads to a source.
    """
    batch, channels, height, width = cost.shape
    line = F.pad(cost, (0, 1, 0, 1), value=_FAR).transpose(0, 1).reshape(channels, -1)
    sources = F.pad(source, (0, 1, 0, 1)).reshape(-1)
    costs: Tensor = _PathCosts.apply(line, sources, width + 1, longest or height * width)  # type: ignore[assignment]
    return costs.view(channels, batch, height + 1, width + 1)[:, :, :height, :width].transpose(0, 1)


def _portable_path_costs(cost: Tensor, source: Tensor, longest: int | None) -> Tensor:
    """:func:`path_costs` in operations that an exported program can express; no gradients."""
    begin = torch.full_like(cost, _FAR).masked_fill(source[:, None], 0.0)

    def iterate(total: Tensor) -> Tensor:
        up, right, down, left = neighbours(total, _FAR)
        nearest = torch.minimum(torch.minimum(up, down), torch.minimum(left, right))
        return torch.minimum(total, nearest + cost)

    # no way is longer than there are cells
    return until_it_stays(iterate, begin, source[0].numel() if longest is None else longest)


class LogPlanner(Encoder):
    r"""Path costs by min-plus iteration to the fixed point, read out as differences and as discounted values.

    With x the planes walls, goal and inside at each cell, N(i) its four neighbours and C channels::

        c_i     = softplus(K x_i)                                   the price of a step, learnt; no steps on walls
        D_i     = 0 at the goal, else c_i + min_{j in N(i)} D_j     repeated until nothing changes
        f(s, a) = relu(M [exp(-D_p); tanh(D_p(a) - D_p); x_p(a)] + m)

    p is the player's cell, p(a) the cell that a points at. exp(-D) is the value discounted by exp(-c) a step: the
    channels begin with discounts from 0.99 to 0.37 or so and so tell near from far on every scale. tanh(D_p(a) - D_p)
    is below 0 for a move that leads nearer, above for one that does not, 1 for a wall, at any distance from the goal;
    the order of the actions learnt on small grids therefore holds on large ones. Which cells are walls and which is the
    goal is given; a :class:`~iqlightning.gridworld.encoders.grid_cnn.GridCNN` has to find out what the goal is.

    It plays grids of any size, turns and mirrors with the grid, and reads a grid that occurs several times once.

    Args:
        observation_shape: (3, H, W).
        channels: C.
        hidden: width of the features of each action.
        iterations: the longest way that is planned, in cells; None for any, that is until nothing changes.

    Shapes:
        observations (B, 3, H, W) to features (B, 4, hidden).
    """

    shares_work = True  # s and s' lie on one grid
    sides = SIZES
    reads_planes = True

    def __init__(
        self, observation_shape: tuple[int, ...], channels: int = 8, hidden: int = 64, iterations: int | None = None
    ) -> None:
        super().__init__()
        require_grid(self, observation_shape)
        self.iterations = iterations
        self.price = nn.Linear(3, channels)
        with torch.no_grad():
            self.price.weight.mul_(0.1)
            prices = torch.logspace(-2, 0, channels) if channels > 1 else torch.tensor([0.3])
            self.price.bias.copy_(torch.log(torch.expm1(prices)))  # the inverse of softplus
        self.readout = nn.Linear(2 * channels + 3, hidden)
        self.feature_shape = (4, hidden)
        self._memory = PlanMemory()

    def forward(self, observations: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 4 hidden"]:
        """Features of the four actions at the player's cell."""
        width = observations.shape[-1]
        row, column = player_cell(observations[:, 1])
        plans, which = self._memory.plans(
            observations[:, ::2], self.price.parameters(), self._plan, keep=not self.training
        )
        stride = width + 2
        here = (row + 1) * stride + column + 1
        there = torch.stack([here + step for step in cell_steps(stride)], dim=1)
        costs, kinds = plans[which[:, None], there].split([plans.shape[-1] - 3, 3], dim=-1)
        own = plans[which, here][:, None, :-3]
        value = torch.exp(-own).expand(-1, 4, -1)
        return F.relu(self.readout(torch.cat([value, torch.tanh(costs - own), kinds], dim=-1)))

    def _plan(self, planes: Tensor) -> Tensor:
        """Planes walls and goal (G, 2, H, W) to [D; x] of every cell and a border, (G, (H + 2) (W + 2), C + 3)."""
        height, width = planes.shape[-2:]
        x = torch.cat([planes, torch.ones_like(planes[:, :1])], dim=1)
        closed = planes[:, :1] > 0.5  # observations may be noisy
        prices = F.softplus(F.conv2d(x, self.price.weight[:, :, None, None], self.price.bias))
        prices = prices.masked_fill(closed, _FAR)
        is_goal = torch.arange(planes[0, 0].numel(), device=x.device) == planes[:, 1].flatten(1).argmax(1, keepdim=True)
        goal = is_goal.view(-1, height, width)
        if torch.compiler.is_exporting():
            costs = _portable_path_costs(prices, goal, self.iterations)
        else:
            part = max(1, _CELLS_IN_CACHE // ((height + 1) * (width + 1)))
            parts = zip(prices.split(part), goal.split(part), strict=True)
            costs = torch.cat([path_costs(*each, self.iterations) for each in parts])
        border = (1, 1, 1, 1)
        cells = torch.cat([F.pad(costs, border, value=_FAR), F.pad(x, border)], dim=1)
        return cells.flatten(2).transpose(1, 2)
