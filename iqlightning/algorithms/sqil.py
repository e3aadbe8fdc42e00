"""SQIL: soft Q-learning with reward 1 on demonstrations and 0 elsewhere (Reddy et al. 2020, arXiv 1905.11108)."""

from typing import Any

from torch import Tensor

from iqlightning.agents.agent import Objective
from iqlightning.algorithms.learner import EncoderFactory, Learner
from iqlightning.errors import UserError
from iqlightning.losses.sqil import sqil_loss
from iqlightning.losses.values import SoftValue, ValueFunction
from iqlightning.nets.target import TargetUpdate
from iqlightning.types import Batch

__all__ = ["SQIL"]


class SQIL(Learner):
    """min_Q delta^2(D_E, 1) + policy_weight * delta^2(D_pi, 0), delta^2 the squared soft Bellman error; online.

    Algorithm 1 and equation 3 of Reddy, Dragan and Levine, "SQIL: Imitation Learning via Reinforcement Learning with
    Sparse Rewards", ICLR 2020, arXiv 1905.11108.

    Args:
        encoder: builds the agent's encoder from an observation's shape.
        policy_weight: of the error on its own experience.
        absorbing_states: a demonstration that ends goes on being rewarded for ever, with 1 / (1 - gamma) times
            ``expert_reward``; the paper has no such thing, and its policy avoids a goal that ends the episode (on a 4x4
            grid it never got there).
        expert_reward: reward of demonstrations instead of 1, so that Q has the scale networks begin at.
        value: V from Q; by default soft at temperature 0.1.
        target: how the target network follows; by default by a hundredth at every update.
        settings: those of Learner.
    """

    def __init__(
        self,
        encoder: EncoderFactory | None = None,
        policy_weight: float = 1.0,
        absorbing_states: bool = True,
        expert_reward: float = 0.1,
        value: ValueFunction | None = None,
        target: TargetUpdate | None = None,
        **settings: Any,
    ) -> None:
        if settings.get("agent") is None:
            value, target = value or SoftValue(0.1), target or TargetUpdate(every=1, rate=0.01)
        super().__init__(encoder, value=value, target=target, **settings)
        if not policy_weight > 0:
            raise UserError(f"policy_weight of SQIL must be positive, not {policy_weight}")
        self.policy_weight = policy_weight
        self.absorbing_states = absorbing_states
        self.expert_reward = expert_reward

    @property
    def needs(self) -> frozenset[str]:
        """Demonstrations and its own experience."""
        return frozenset({"expert", "policy"})

    def objective(self, batch: Batch) -> Objective:
        """The loss of ``losses.sqil``."""
        bellman = self.agent.bellman(self.parts_of(batch))

        def of_terms(expert: Any, policy: Any) -> tuple[Tensor, dict[str, Tensor]]:
            return sqil_loss(expert, policy, self.gamma, self.policy_weight, self.absorbing_states, self.expert_reward)

        return Objective(*bellman.objective(of_terms), lambda: self.diagnose(bellman))
