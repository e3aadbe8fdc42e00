"""IQ-Learn from observations only: what the expert saw is known, what it did is not."""

from typing import Any

import torch

from iqlightning.agents.agent import Agent, Objective, Step
from iqlightning.algorithms.inverse_soft_q import InverseSoftQ
from iqlightning.algorithms.learner import EncoderFactory, Learner
from iqlightning.errors import UserError
from iqlightning.losses.divergences import Chi2Mixture, Divergence
from iqlightning.losses.iq import ExpertAndPolicyStates, ValueTerm
from iqlightning.nets.encoders.encoder import Encoder
from iqlightning.nets.encoders.local_cnn import LocalCNN
from iqlightning.nets.encoders.mlp import MLP
from iqlightning.nets.inverse_dynamics import InverseDynamics
from iqlightning.recorded import Recorded
from iqlightning.types import Batch

__all__ = ["IQFromObservations"]


class IQFromObservations(Learner):
    r"""max_Q E_E[phi(sum_a p(a | s, s') Q(s, a) - gamma V(s'))] - value term, p learnt from the policy's own moves.

    The inverse dynamics p(a | s, s') depends on the environment alone, so the policy's experience, whose actions are
    known, teaches it: Torabi, Warnell and Stone, "Behavioral Cloning from Observation", IJCAI 2018, arXiv 1805.01954;
    with IQ-Learn in section 4 of Al-Hafez et al., "LS-IQ: Implicit Reward Regularization for Inverse Reinforcement
    Learning", ICLR 2023, arXiv 2303.00599. ``max_grad_norm`` is that of all gradients, those of the inverse dynamics
    among them. Where p is sure the objective is IQ-Learn's; where several actions lead to the same s', it takes their
    mean Q (of continuous actions, Q of their mean). The expert's recorded actions, if there are any, never reach the
    loss; only held-out figures use them.

    Args:
        encoder: builds the agent's encoder from an observation's shape.
        inverse_encoder: builds the encoder of p(a | s, s') from a shape with twice the channels; by default LocalCNN
            for images and grids, an MLP of two layers of 128 for vectors.
        divergence: phi; by default Chi2Mixture with alpha 0.5.
        value_term: by default ExpertAndPolicyStates.
        absorbing_states: an ended episode goes on in its last state for ever: what it ends with counts as a reward of
            1 - gamma times its size, 1 / (1 - gamma) times over.
        value_weight: factor of the value term. With a target network no gradient flows through V(s') of the rewards,
            so that more than 1 may be needed to hold V down at the expert's states.
        clip_targets: keep V(s') within what the penalty allows, +- max reward / (1 - gamma): 4 alpha / (1 - gamma) for
            Chi2Mixture, 200 at alpha 0.5 and gamma 0.99.
        unsure: Q waits as long as the entropy of p over the expert's moves is above this share of log A; what it would
            learn from guesses takes longer to forget than p takes to learn. 1 waits for nothing.
        settings: those of Learner.
    """

    def __init__(
        self,
        encoder: EncoderFactory | None = None,
        inverse_encoder: EncoderFactory | None = None,
        divergence: Divergence | None = None,
        value_term: ValueTerm | None = None,
        absorbing_states: bool = False,
        value_weight: float = 1.0,
        clip_targets: bool = False,
        unsure: float = 0.5,
        **settings: Any,
    ) -> None:
        super().__init__(encoder, **settings)
        if not 0 < unsure <= 1:
            raise UserError(f"unsure is a share of the largest entropy, in (0, 1], not {unsure}")
        self.unsure = unsure
        self.inverse_encoder = inverse_encoder or _default_inverse_encoder
        self.inverse_soft_q = InverseSoftQ(
            divergence or Chi2Mixture(),
            value_term or ExpertAndPolicyStates(),
            self.gamma,
            absorbing_states,
            value_weight,
            clip_targets,
        )

    @property
    def needs(self) -> frozenset[str]:
        """Demonstrations and its own experience."""
        return self.inverse_soft_q.needs | {"policy"}

    @property
    def q_bound(self) -> float | None:
        """That of the divergence, where it bounds rewards on all data."""
        return self.inverse_soft_q.max_value

    def after_build(self, agent: Agent) -> None:
        """Makes the inverse dynamics."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.inverse = InverseDynamics(agent.spaces, self.inverse_encoder, agent.sees)

    def factories_made(self) -> dict[str, Recorded]:
        """That of the inverse dynamics' encoder as well."""
        return super().factories_made() | {"inverse_encoder": self.inverse.encoder}

    def steps(self) -> list[Step]:
        """Those of the agent; the inverse dynamics is trained along."""
        return self.agent.steps(self.objective, self.inverse)

    def objective(self, batch: Batch) -> Objective:
        """The loss of ``losses.iq`` with expected Q(s, a), and the negative log-likelihood of the policy's actions."""
        expert, policy = self.parts_of(batch)
        outputs = self.inverse(torch.cat([expert.obs, policy.obs]), torch.cat([expert.next_obs, policy.next_obs]))
        of_expert, of_policy = outputs.split([len(expert.obs), len(policy.obs)])
        inverse_loss = -self.inverse.log_prob(of_policy, policy.actions).mean()
        # Q learns from what the inverse dynamics says, and must not bend it to its own liking
        guessed = expert._replace(actions=self.inverse.guess(of_expert.detach()))
        doubt = self.inverse.doubt(of_expert.detach())

        loss, terms, bellman, diagnostics = self.inverse_soft_q(self.agent, [guessed, policy], batch.get("initial"))
        terms["inverse_loss"] = inverse_loss
        # no gradient at all, not a small one, which Adam would scale up again
        loss = torch.where(doubt <= self.unsure, loss, torch.zeros_like(loss)) + inverse_loss

        return Objective(loss, terms, lambda: self.diagnose(bellman) | diagnostics() | {"inverse_doubt": doubt})


def _default_inverse_encoder(observation_shape: tuple[int, ...]) -> Encoder:
    if len(observation_shape) == 3:
        return LocalCNN(observation_shape)
    return MLP(observation_shape, hidden=(128, 128))
