"""SQIL: soft Q-learning with reward 1 on demonstrations and 0 elsewhere (Reddy et al. 2020, arXiv 1905.11108)."""

from collections.abc import Callable

from torch import Tensor, nn

from iqlightning.algorithms.expert_and_policy import bellman_terms, draw_actions, expert_and_policy
from iqlightning.algorithms.learner import Learner, Objective, OptimizerFactory
from iqlightning.algorithms.schedules import Schedule
from iqlightning.errors import UserError
from iqlightning.losses.sqil import sqil_loss
from iqlightning.losses.values import SoftValue, ValueFunction
from iqlightning.nets.encoders.encoder import Encoder
from iqlightning.nets.heads import Head, PlainHead
from iqlightning.nets.target import TargetUpdate
from iqlightning.types import Batch, EnvConfig

__all__ = ["SQIL"]


class SQIL(Learner):
    """min_Q delta^2(D_E, 1) + policy_weight * delta^2(D_pi, 0), delta^2 the squared soft Bellman error; online.

    Args:
        encoder: see ``Learner``.
        head: see ``Learner``.
        policy_weight: of the error on its own experience.
        absorbing_states: demonstrations that end go on being rewarded, see ``losses.sqil.sqil_loss``; the paper has no
            such thing, and its policy avoids a goal that ends the episode (on a 4x4 grid it never got there).
        expert_reward: reward of demonstrations instead of 1, so that Q has the scale networks begin at.
        value: V from Q; by default soft at temperature 0.1.
        gamma: see ``Learner``.
        target: how the target network follows.
        copies: see ``IQLearn``.
        optimizer: see ``Learner``.
        schedule: see ``Learner``.
        max_grad_norm: see ``Learner``.
        log_every: see ``Learner``.
        seed: see ``Learner``.
        compile: see ``Learner``.
    """

    def __init__(
        self,
        encoder: Callable[[tuple[int, ...]], Encoder],
        head: Callable[[tuple[int, ...], int], Head] = PlainHead,
        policy_weight: float = 1.0,
        absorbing_states: bool = True,
        expert_reward: float = 0.1,
        value: ValueFunction | None = None,
        gamma: float = 0.99,
        target: TargetUpdate | None = None,
        copies: int = 1,
        optimizer: OptimizerFactory | None = None,
        schedule: Schedule | None = None,
        max_grad_norm: float | None = None,
        log_every: int | None = None,
        seed: int = 0,
        compile: bool = False,
    ) -> None:
        super().__init__(
            encoder, head, value or SoftValue(0.1), gamma, optimizer, schedule, max_grad_norm, log_every, seed, compile
        )
        if not policy_weight > 0:
            raise UserError(f"policy_weight of SQIL must be positive, not {policy_weight}")
        self.policy_weight = policy_weight
        self.absorbing_states = absorbing_states
        self.expert_reward = expert_reward
        self.copies = copies
        self.target = target or TargetUpdate(every=1, rate=0.01)

    @property
    def needs(self) -> frozenset[str]:
        """Demonstrations and its own experience."""
        return frozenset({"expert", "policy"})

    def build(self, env: EnvConfig) -> None:
        """The network and its target."""
        super().build(env)
        self.target_network: nn.Module = self.target.copy(self.network)

    def objective(self, batch: Batch) -> Objective:
        """The loss of ``losses.sqil``."""
        expert, policy = expert_and_policy(batch, "SQIL")
        (of_expert, of_policy), q = bellman_terms(self.network, self.target_network, self.value, [expert, policy])
        loss, scalars = sqil_loss(
            of_expert, of_policy, self.gamma, self.policy_weight, self.absorbing_states, self.expert_reward
        )

        def diagnostics() -> dict[str, Tensor]:
            found = self.diagnose(q[0], expert.actions, of_expert.rewards(self.gamma))
            return found | {"policy_reward": of_policy.rewards(self.gamma).mean()}

        return Objective(loss, scalars, diagnostics)

    def after_update(self, update: int) -> None:
        """Moves the target network."""
        self.target(self.target_network, self.network, update)

    def explore(self, observations: Tensor, env_steps: int, envs: Tensor) -> Tensor:
        """Actions drawn from softmax(Q / temperature) for N environments, (N, *shape)."""
        return draw_actions(self.network, observations, self.value.temperature, self.seed, env_steps, envs)
