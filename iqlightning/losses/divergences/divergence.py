r"""What a divergence between expert and policy is: a concave function of the recovered reward.

IQ-Learn maximises E_expert[phi(r)] - (value term), with r = Q(s, a) - gamma V(s'). In the occupancy measures rho of the
policy and rho_E of the expert (Garg et al. 2021, arXiv 2106.12142, eq. 9 and Appendix B)

    max_r E_{rho_E}[phi(r)] - E_rho[r] = E_{rho_E}[f(rho / rho_E)],    phi(x) = -f*(-x) = inf_t [f(t) + t x],

so phi is the negated conjugate of the divergence's generator f, and phi'(r) is the density ratio rho / rho_E that a
reward claims. Where policy and expert agree, the reward is the one at which phi' = 1: 0 for most, 1 for ForwardKL, -1
for ReverseKL. Adding c (t - 1) to f moves it by -c and changes no divergence, so that offline, where the policy ends up
agreeing with the expert, this level is a convention and not knowledge of the task; if ended episodes go on in absorbing
states, its sign alone decides what reaching an end is worth.

A divergence is a map from batches of rewards to a scalar, not always a mean over points, so that forms such as
-log E[exp(-r)] and mixtures of expert and policy samples fit as well.
"""

import math
from abc import abstractmethod
from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from iqlightning.errors import UserError
from iqlightning.recorded import Recorded
from iqlightning.types import Transition

__all__ = ["Divergence", "PointwiseDivergence"]


class Divergence(Recorded):
    """The expert term of the objective, to be maximised. Add one by one subclass and one line of YAML."""

    needs_policy_data: bool = False
    """True if ``policy_rewards`` must be given, which an offline run cannot do."""

    domain: tuple[float, float] = (-math.inf, math.inf)
    """Lowest and highest reward at which phi is itself; outside a tangent or a barrier stands in for it."""

    max_reward: float | None = None
    """Largest absolute reward of the optimum, where the divergence bounds it on expert and policy data alike."""

    @abstractmethod
    def __call__(
        self,
        expert_rewards: Float[Tensor, " batch"],
        policy_rewards: Float[Tensor, " other"] | None = None,
        *,
        expert_weights: Float[Tensor, " batch"] | None = None,
        policy_weights: Float[Tensor, " other"] | None = None,
    ) -> Float[Tensor, ""]:
        """Rewards to the scalar to be maximised.

        Args:
            expert_rewards: r of expert transitions.
            policy_rewards: r of the policy's, where there are any.
            expert_weights: how many steps each transition stands for; None for one each.
            policy_weights: the same of the policy's.
        """

    def guarded(self, expert_rewards: Float[Tensor, " batch"]) -> Float[Tensor, ""]:
        """Share of rewards outside :attr:`domain`, between 0 and 1; far from 0, another objective is optimised."""
        low, high = self.domain
        return ((expert_rewards < low) | (expert_rewards > high)).to(expert_rewards.dtype).mean()

    def penalty(
        self,
        q_function: Callable[[Tensor, Tensor | None], Tensor],
        expert: Transition,
        policy: Transition | None,
        scale: float = 1.0,
    ) -> Float[Tensor, ""] | None:
        """A further term to be minimised that reads the Q-function itself, or None; see ``GradientPenalty``.

        Args:
            q_function: observations (N, *shape), and actions where they are continuous, to (N, columns): Q of every
                action, or of every copy.
            expert: the batch's expert transitions.
            policy: the policy's, or None offline.
            scale: the value that the network scales to 1; distances between observations are measured after it.
        """
        return None


class PointwiseDivergence(Divergence):
    r"""mean_i w_i phi(r_i), for a phi whose slope is capped at ``max_weight``.

    Where phi has a pole or grows exponentially, one sample far from the domain would own the gradient. With the cap the
    density ratio is taken to be at most ``max_weight``,

        phi(x) = inf_{0 <= t <= max_weight} [f(t) + t x],

    which is phi itself from ``guard`` on (where phi' = max_weight), and the tangent at ``guard`` below: once
    differentiable, concave, finite everywhere, still the conjugate of a generator.

    Args:
        max_weight: the cap, in (1, inf]; ``inf`` for none.
    """

    def __init__(self, max_weight: float = math.inf) -> None:
        if not max_weight > 1:
            raise UserError(f"max_weight of {type(self).__name__} must be above 1, not {max_weight}")
        self.max_weight = max_weight
        self.guard = -math.inf if math.isinf(max_weight) else self.where_slope_is(max_weight)
        self.domain = (self.guard, math.inf)

    @abstractmethod
    def uncapped(self, rewards: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """Phi on its own domain."""

    @abstractmethod
    def generator(self, ratios: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """The function f, at density ratios t = rho / rho_E > 0, where the divergence is E_{rho_E}[f(t)]."""

    @abstractmethod
    def where_slope_is(self, weight: float) -> float:
        """The reward at which phi' equals ``weight``."""

    def phi(self, rewards: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """The capped phi, at every real number."""
        if math.isinf(self.guard):
            return self.uncapped(rewards)
        inside = rewards.clamp_min(self.guard)
        # nothing is added inside the domain; below it the clamp has no gradient, and this is the tangent's
        return self.uncapped(inside) + self.max_weight * (rewards - inside)

    def __call__(
        self,
        expert_rewards: Float[Tensor, " batch"],
        policy_rewards: Float[Tensor, " other"] | None = None,
        *,
        expert_weights: Float[Tensor, " batch"] | None = None,
        policy_weights: Float[Tensor, " other"] | None = None,
    ) -> Float[Tensor, ""]:
        """Mean of phi over the expert's transitions."""
        phi = self.phi(expert_rewards)
        return (phi if expert_weights is None else expert_weights * phi).mean()
