"""LS-IQ: least-squares inverse Q-learning (Al-Hafez et al. 2023, arXiv 2303.00599)."""

from typing import Any

from torch import Tensor

from iqlightning.agents.agent import Objective
from iqlightning.algorithms.learner import EncoderFactory, Learner
from iqlightning.losses.ls_iq import RewardBounds, ls_iq_loss
from iqlightning.nets.target import TargetUpdate
from iqlightning.types import Batch

__all__ = ["LSIQ"]


class LSIQ(Learner):
    r"""max_Q E_E[r] - E_mix[V(s) - gamma V(s')] - c E_mix[r^2], r = Q(s, a) - gamma V(s'), online.

    Sections 3 (the objective) and 4 (bounded targets, absorbing states) of Al-Hafez, Tateo, Arenz, Zhao and Peters,
    "LS-IQ: Implicit Reward Regularization for Inverse Reinforcement Learning", ICLR 2023, arXiv 2303.00599.

    Args:
        encoder: builds the agent's encoder from an observation's shape.
        c: weight of the squared reward; rewards of the optimum lie in [-1 / c, 1 / c].
        clip_targets: keep V(s') within +-1 / (c (1 - gamma)).
        fixed_expert_target: the expert term is -(Q(s, a) - Q_max)^2 instead of r: every expert move is worth the most
            that anything can be worth, and no error is bootstrapped along demonstrations.
        absorbing_states: a terminal transition's reward is what its absorbing state pays for ever, so that its square
            counts 1 - gamma times.
        target: how the target network follows; by default by a hundredth at every update.
        settings: those of Learner.
    """

    def __init__(
        self,
        encoder: EncoderFactory | None = None,
        c: float = 0.5,
        clip_targets: bool = True,
        fixed_expert_target: bool = False,
        absorbing_states: bool = True,
        target: TargetUpdate | None = None,
        **settings: Any,
    ) -> None:
        if settings.get("agent") is None:
            target = target or TargetUpdate(every=1, rate=0.01)
        super().__init__(encoder, target=target, **settings)
        self.bounds = RewardBounds.of(c, self.gamma)
        self.c = c
        self.clip_targets = clip_targets
        self.fixed_expert_target = fixed_expert_target
        self.absorbing_states = absorbing_states

    @property
    def needs(self) -> frozenset[str]:
        """Demonstrations and its own experience."""
        return frozenset({"expert", "policy"})

    @property
    def q_bound(self) -> float:
        """1 / (c (1 - gamma))."""
        return self.bounds.q

    def objective(self, batch: Batch) -> Objective:
        """The loss of ``losses.ls_iq``."""
        bellman = self.agent.bellman(self.parts_of(batch))

        def of_terms(expert: Any, policy: Any) -> tuple[Tensor, dict[str, Tensor]]:
            return ls_iq_loss(
                expert,
                policy,
                self.c,
                self.gamma,
                self.clip_targets,
                self.fixed_expert_target,
                self.absorbing_states,
            )

        loss, terms = bellman.objective(of_terms)

        beyond = self.bounds.q
        return Objective(
            loss, terms, lambda: self.diagnose(bellman) | {"clipped_targets": bellman.share_beyond(beyond)}
        )
