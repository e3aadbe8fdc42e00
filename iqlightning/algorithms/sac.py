"""SAC: soft actor-critic from rewards (Haarnoja et al. 2018, arXiv 1801.01290 and 1812.05905)."""

from typing import Any

from torch import Tensor

from iqlightning.agents.agent import Agent, AgentFactory, Objective
from iqlightning.agents.soft_actor_critic import SoftActorCritic
from iqlightning.algorithms.learner import Learner
from iqlightning.errors import UserError
from iqlightning.losses.iq import BellmanTerms
from iqlightning.losses.td import td_target
from iqlightning.types import Batch

__all__ = ["SAC"]


class SAC(Learner):
    r"""min_Q E[(Q(s, a) - (reward_scale r + gamma (1 - terminated) V'(s')))^2], V' of the target critics.

    Equation 5 of Haarnoja et al., "Soft Actor-Critic Algorithms and Applications", 2018, arXiv 1812.05905, but for its
    factor 1/2, after "Soft Actor-Critic: Off-Policy Maximum Entropy Deep Reinforcement Learning with a Stochastic
    Actor", ICML 2018, arXiv 1801.01290. The way to an expert where there is none. V' (equation 3), actor (7) and
    temperature (18) are the agent's.

    Args:
        agent: builds the agent; by default SoftActorCritic with a learnt temperature.
        reward_scale: rewards are multiplied by it in the target.
        settings: those of Learner.
    """

    fixed = ("encoder", "head", "value", "target", "copies")

    def __init__(self, agent: AgentFactory | None = None, reward_scale: float = 1.0, **settings: Any) -> None:
        super().__init__(encoder=None, agent=agent or _default_agent, **settings)
        if not reward_scale > 0:
            raise UserError(f"reward_scale must be positive, not {reward_scale}")
        self.reward_scale = reward_scale

    def after_build(self, agent: Agent) -> None:
        """Episodes end with their rewards."""
        if getattr(agent, "absorbing_state", False):
            raise UserError(
                "absorbing_state is for rewards that are recovered; SAC's end with the episode: leave it out"
            )

    @property
    def needs(self) -> frozenset[str]:
        """Its own experience."""
        return frozenset({"policy"})

    def objective(self, batch: Batch) -> Objective:
        """The squared soft Bellman error, a mean over critics; ``td_error`` is the mean absolute error."""
        (data,) = parts = self.parts_of(batch)
        if data.rewards is None:
            raise UserError("SAC needs rewards; demonstrations are served without them")
        rewards = data.rewards * self.reward_scale
        bellman = self.agent.bellman(parts)

        def of_terms(policy: BellmanTerms) -> tuple[Tensor, dict[str, Tensor]]:
            target = td_target(rewards, policy.next_v.detach(), policy.terminated, self.gamma, data.steps)
            error = policy.q_a - target
            return error.square().mean(), {"td_error": error.detach().abs().mean()}

        return Objective(*bellman.objective(of_terms), lambda: self.agent.diagnose(bellman))


def _default_agent(spaces: Any) -> SoftActorCritic:
    return SoftActorCritic(spaces, temperature=1.0, learn_temperature=True, scale="none")
