"""The gradient penalty that keeps a Q-function Lipschitz in the observation."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from iqlightning.errors import UserError
from iqlightning.types import Transition

__all__ = ["GradientPenalty", "interpolate"]


def interpolate(expert: Tensor, other: Tensor) -> Tensor:
    """Points between two batches (B, *shape), pair by pair, with B shares spread evenly over (0, 1).

    Gulrajani et al. 2017 draw the shares uniformly. The rows of a batch are drawn at random already, so that shares by
    position are as independent of the data, spread better, and need no state to repeat. What has more rows than the
    other is cut.
    """
    count = min(len(expert), len(other))
    shares = (torch.arange(count, device=expert.device, dtype=torch.float32) + 0.5) / count
    shares = shares.view(-1, *[1] * (expert.ndim - 1))
    return shares * expert[:count] + (1 - shares) * other[:count]


class GradientPenalty:
    r"""weight * mean_{i, a} (|grad_s Q(s_i, a)| - target)^2 at observations s_i between two batches.

    Where actions are continuous, they lie between the two batches as well and the gradient is that of (s, a), for each
    copy of Q.

    Between expert and policy observations where there are both (Gulrajani et al. 2017, arXiv 1704.00028, eq. 3; the
    reference takes the mean over actions too). Offline there is no policy data: then between expert observations and
    others of the same batch, half a batch apart, which covers the segments among the expert's states.

    One more forward pass, and one backward pass for each action.

    Args:
        weight: of the penalty.
        target: the norm aimed at, in Q per unit of scaled observation.
    """

    def __init__(self, weight: float = 10.0, target: float = 1.0) -> None:
        if not weight >= 0 or not target >= 0:
            raise UserError(f"a gradient penalty needs weight and target of at least 0, not {weight} and {target}")
        self.weight = weight
        self.target = target

    def __call__(
        self,
        q_function: Callable[[Tensor, Tensor | None], Tensor],
        expert: Transition,
        policy: Transition | None,
        scale: float = 1.0,
    ) -> Float[Tensor, ""]:
        """The weighted penalty; see ``Divergence.penalty`` for the arguments."""
        first = expert.obs.float()
        second = torch.roll(first, len(first) // 2, 0) if policy is None else policy.obs.float()
        points = interpolate(first, second).requires_grad_()
        actions = None
        # probabilities of numbered actions, as guessed ones are, are no place in an action space
        if expert.actions.is_floating_point() and (policy is None or policy.actions.is_floating_point()):
            other = torch.roll(expert.actions, len(first) // 2, 0) if policy is None else policy.actions
            actions = interpolate(expert.actions, other).requires_grad_()
        inputs = [points] if actions is None else [points, actions]
        with torch.enable_grad():
            q = q_function(points, actions)
            slopes = [torch.autograd.grad(column.sum(), inputs, create_graph=True) for column in q.unbind(1)]
        # the square root has no derivative at 0, where a network without a slope begins
        norms = [(_squared_norm(*slope, scale=scale) + 1e-12).sqrt() for slope in slopes]
        return self.weight * (torch.stack(norms) - self.target).square().mean()


def _squared_norm(by_state: Tensor, by_action: Tensor | None = None, *, scale: float) -> Tensor:
    square = by_state.flatten(1).square().sum(1) * scale**2
    return square if by_action is None else square + by_action.flatten(1).square().sum(1)
