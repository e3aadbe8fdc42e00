"""LS-IQ: least-squares inverse Q-learning (Al-Hafez et al. 2023, arXiv 2303.00599)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from iqlightning.algorithms.expert_and_policy import bellman_terms, draw_actions, expert_and_policy
from iqlightning.algorithms.learner import Learner, Objective, OptimizerFactory
from iqlightning.algorithms.schedules import Schedule
from iqlightning.losses.ls_iq import RewardBounds, ls_iq_loss
from iqlightning.losses.values import SoftValue, ValueFunction
from iqlightning.nets.encoders.encoder import Encoder
from iqlightning.nets.heads import Head, PlainHead
from iqlightning.nets.target import TargetUpdate
from iqlightning.types import Batch, EnvConfig

__all__ = ["LSIQ"]


class LSIQ(Learner):
    r"""max_Q E_E[r] - E_mix[V(s) - gamma V(s')] - c E_mix[r^2], r = Q(s, a) - gamma V(s'), online.

    Args:
        encoder: see ``Learner``.
        head: see ``Learner``.
        c: weight of the squared reward; rewards of the optimum lie in [-1 / c, 1 / c].
        clip_targets: keep V(s') within +-1 / (c (1 - gamma)).
        fixed_expert_target: see ``losses.ls_iq.ls_iq_loss``.
        absorbing_states: see ``losses.ls_iq.ls_iq_loss``.
        value: V from Q; by default soft at temperature 0.01.
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
        c: float = 0.5,
        clip_targets: bool = True,
        fixed_expert_target: bool = False,
        absorbing_states: bool = True,
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
            encoder, head, value or SoftValue(), gamma, optimizer, schedule, max_grad_norm, log_every, seed, compile
        )
        self.bounds = RewardBounds.of(c, gamma)
        self.c = c
        self.clip_targets = clip_targets
        self.fixed_expert_target = fixed_expert_target
        self.absorbing_states = absorbing_states
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
        """The loss of ``losses.ls_iq``."""
        expert, policy = expert_and_policy(batch, "LSIQ")
        (of_expert, of_policy), q = bellman_terms(self.network, self.target_network, self.value, [expert, policy])
        loss, scalars = ls_iq_loss(
            of_expert,
            of_policy,
            self.c,
            self.gamma,
            self.clip_targets,
            self.fixed_expert_target,
            self.absorbing_states,
        )

        def diagnostics() -> dict[str, Tensor]:
            next_v = torch.cat([of_expert.next_v, of_policy.next_v])
            return self.diagnose(q[0], expert.actions, of_expert.rewards(self.gamma)) | {
                "policy_reward": of_policy.rewards(self.gamma).mean(),
                "clipped_targets": (next_v.abs() > self.bounds.q).to(next_v.dtype).mean(),
            }

        return Objective(loss, scalars, diagnostics)

    def after_update(self, update: int) -> None:
        """Moves the target network."""
        self.target(self.target_network, self.network, update)

    def explore(self, observations: Tensor, env_steps: int, envs: Tensor) -> Tensor:
        """Actions drawn from softmax(Q / temperature) for N environments, (N, *shape)."""
        return draw_actions(self.network, observations, self.value.temperature, self.seed, env_steps, envs)
