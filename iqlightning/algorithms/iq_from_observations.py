"""IQ-Learn from observations only: what the expert saw is known, what it did is not."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from iqlightning.algorithms.expert_and_policy import bellman_terms, draw_actions, expert_and_policy
from iqlightning.algorithms.learner import Learner, Objective, OptimizerFactory
from iqlightning.algorithms.schedules import Schedule
from iqlightning.errors import UserError
from iqlightning.losses.cloning import cloning_loss
from iqlightning.losses.divergences import Chi2Mixture, Divergence
from iqlightning.losses.iq import ExpertAndPolicyStates, ValueTerm, absorbed, iq_loss
from iqlightning.losses.values import SoftValue, ValueFunction
from iqlightning.nets.encoders.encoder import Encoder
from iqlightning.nets.encoders.local_cnn import LocalCNN
from iqlightning.nets.encoders.mlp import MLP
from iqlightning.nets.heads import Head, PlainHead
from iqlightning.nets.inverse_dynamics import InverseDynamics
from iqlightning.nets.target import TargetUpdate
from iqlightning.spaces import num_actions, observation_high
from iqlightning.types import Batch, EnvConfig

__all__ = ["IQFromObservations"]


class IQFromObservations(Learner):
    r"""max_Q E_E[phi(sum_a p(a | s, s') Q(s, a) - gamma V(s'))] - value term, p learnt from the policy's own moves.

    The inverse dynamics p(a | s, s') depends on the environment alone, so the policy's experience, whose actions are
    known, teaches it (Torabi et al. 2018, arXiv 1805.01954; with IQ-Learn: Al-Hafez et al. 2023, arXiv 2303.00599,
    section 4). Where p is sure the objective is IQ-Learn's; where several actions lead to the same s', it takes their
    mean Q. The expert's recorded actions, if there are any, never reach the loss; only held-out figures use them.

    Args:
        encoder: see ``Learner``.
        head: see ``Learner``.
        inverse_encoder: builds the encoder of p(a | s, s') from a shape with twice the channels; by default LocalCNN
            for images and grids, an MLP of two layers of 128 for vectors.
        divergence: phi; by default Chi2Mixture with alpha 0.5.
        value_term: by default ExpertAndPolicyStates.
        value: V from Q; by default soft at temperature 0.01.
        gamma: see ``Learner``.
        target: V(s') from a target network that follows so; None takes it from the network itself.
        absorbing_states: see ``IQLearn``.
        unsure: Q waits as long as the entropy of p over the expert's moves is above this share of log A; what it would
            learn from guesses takes longer to forget than p takes to learn. 1 waits for nothing.
        optimizer: see ``Learner``.
        schedule: see ``Learner``.
        max_grad_norm: of all gradients, those of the inverse dynamics among them, see ``Learner``.
        log_every: see ``Learner``.
        seed: see ``Learner``.
        compile: see ``Learner``.
    """

    def __init__(
        self,
        encoder: Callable[[tuple[int, ...]], Encoder],
        head: Callable[[tuple[int, ...], int], Head] = PlainHead,
        inverse_encoder: Callable[[tuple[int, ...]], Encoder] | None = None,
        divergence: Divergence | None = None,
        value_term: ValueTerm | None = None,
        value: ValueFunction | None = None,
        gamma: float = 0.99,
        target: TargetUpdate | None = None,
        absorbing_states: bool = False,
        unsure: float = 0.5,
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
        if not 0 < unsure <= 1:
            raise UserError(f"unsure is a share of the largest entropy, in (0, 1], not {unsure}")
        self.unsure = unsure
        self.inverse_encoder = inverse_encoder or _default_inverse_encoder
        self.divergence = divergence or Chi2Mixture()
        self.value_term = value_term or ExpertAndPolicyStates()
        self.target = target
        self.absorbing_states = absorbing_states

    @property
    def needs(self) -> frozenset[str]:
        """Demonstrations and its own experience."""
        initial = {"initial"} if self.value_term.needs_initial_states else set()
        return frozenset({"expert", "policy"} | initial)

    def build(self, env: EnvConfig) -> None:
        """The network, its target where there is one, and the inverse dynamics."""
        super().build(env)
        self.target_network: nn.Module | None = self.target.copy(self.network) if self.target else None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.inverse = InverseDynamics(
                env.observation_shape,
                num_actions(env.spaces.action),
                observation_high(env.spaces.observation),
                self.inverse_encoder,
            )

    @property
    def trainable(self) -> nn.Module:
        """The Q-network and the inverse dynamics."""
        return nn.ModuleList([self.network, self.inverse])

    def objective(self, batch: Batch) -> Objective:
        """The loss of ``losses.iq`` with expected Q(s, a), and the negative log-likelihood of the policy's actions."""
        expert, policy = expert_and_policy(batch, "IQFromObservations")
        logits = self.inverse(torch.cat([expert.obs, policy.obs]), torch.cat([expert.next_obs, policy.next_obs]))
        of_expert, of_policy = logits.split([len(expert.obs), len(policy.obs)])
        inverse_loss = cloning_loss(of_policy, policy.actions, 1.0)
        # Q learns from what the inverse dynamics says, and must not bend it to its own liking
        guessed = torch.softmax(of_expert.detach(), dim=1)

        unknown = expert._replace(actions=torch.zeros_like(expert.actions))
        terms, q = bellman_terms(self.network, self.target_network, self.value, [unknown, policy])
        expert_terms = terms[0]._replace(q_a=(guessed * q[0]).sum(1))
        initial = batch.get("initial")
        if "initial" in self.needs and initial is None:
            raise UserError(
                f"{type(self.value_term).__name__} needs true initial states; take demonstrations of whole episodes or "
                "ExpertAndPolicyStates as the value term"
            )
        initial_v = self.value(self.network(initial)) if initial is not None and "initial" in self.needs else None
        loss, scalars = iq_loss(
            expert_terms, terms[1], initial_v, self.divergence, self.value_term, self.gamma, self.absorbing_states
        )
        scalars["inverse_loss"] = inverse_loss
        penalty = self.divergence.penalty(self.network, expert, policy, self.network.observation_high)
        if penalty is not None:
            loss = loss + penalty
            scalars["penalty"] = penalty
        entropy = -(guessed * torch.log_softmax(of_expert.detach(), dim=1)).sum(1).mean()
        # no gradient at all, not a small one, which Adam would scale up again
        loss = torch.where(entropy <= self.unsure * math.log(guessed.shape[1]), loss, torch.zeros_like(loss))
        loss = loss + inverse_loss

        def diagnostics() -> dict[str, Tensor]:
            rewards = expert_terms.rewards(self.gamma)
            seen = absorbed(rewards, expert.terminated, self.gamma)[0] if self.absorbing_states else rewards
            return self.diagnose(q[0], guessed.argmax(1), rewards) | {
                "guarded": self.divergence.guarded(seen),
                "policy_reward": terms[1].rewards(self.gamma).mean(),
                "inverse_entropy": entropy,
            }

        return Objective(loss, scalars, diagnostics)

    def after_update(self, update: int) -> None:
        """Moves the target network."""
        if self.target is not None and self.target_network is not None:
            self.target(self.target_network, self.network, update)

    def explore(self, observations: Tensor, env_steps: int, envs: Tensor) -> Tensor:
        """Actions drawn from softmax(Q / temperature) for N environments, (N, *shape)."""
        return draw_actions(self.network, observations, self.value.temperature, self.seed, env_steps, envs)


def _default_inverse_encoder(observation_shape: tuple[int, ...]) -> Encoder:
    if len(observation_shape) == 3:
        return LocalCNN(observation_shape)
    return MLP(observation_shape, hidden=(128, 128))
