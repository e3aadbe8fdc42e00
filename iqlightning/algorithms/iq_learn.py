"""IQ-Learn: inverse soft-Q learning (Garg et al. 2021, arXiv 2106.12142)."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from iqlightning.algorithms.expert_and_policy import draw_actions
from iqlightning.algorithms.learner import Learner, Objective, OptimizerFactory
from iqlightning.algorithms.schedules import Schedule
from iqlightning.errors import UserError
from iqlightning.losses.divergences import Chi2, Divergence
from iqlightning.losses.iq import BellmanTerms, ExpertStates, ValueTerm, absorbed, iq_loss
from iqlightning.losses.values import AnnealedSoftValue, SoftValue, ValueFunction
from iqlightning.nets.encoders.encoder import Encoder
from iqlightning.nets.heads import Head, PlainHead
from iqlightning.nets.target import TargetUpdate
from iqlightning.types import Batch, EnvConfig, Transition

__all__ = ["IQLearn"]

_REMEDIES = {
    "expert": "take ImitationData as the data",
    "initial": "take demonstrations of whole episodes, or ExpertStates as the value term",
    "policy": "an online run does (--data.online), and Chi2 with ExpertStates needs none",
}


class IQLearn(Learner):
    r"""max_Q E_expert[phi(Q(s, a) - gamma V(s'))] - value term, offline or online.

    Args:
        encoder: see ``Learner``.
        head: see ``Learner``.
        divergence: phi; by default Chi2 with alpha 0.5.
        value_term: InitialStates (``v0``), ExpertStates (the default) or ExpertAndPolicyStates.
        value: SoftValue, AnnealedSoftValue for a scheduled temperature, or MaxValue for a policy without entropy; by
            default soft at temperature 0.01.
        gamma: see ``Learner``.
        target: V(s') from a target network that follows so; None takes it from the network itself.
        copies: Q-networks of their own weights, of which the smallest Q is the policy's and V's; 2 for twin Q.
        absorbing_states: ended episodes go on in their last state for ever, see ``losses.iq.absorbed``.
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
        divergence: Divergence | None = None,
        value_term: ValueTerm | None = None,
        value: ValueFunction | None = None,
        gamma: float = 0.99,
        target: TargetUpdate | None = None,
        copies: int = 1,
        absorbing_states: bool = False,
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
        self.divergence = divergence or Chi2()
        self.value_term = value_term or ExpertStates()
        self.target = target
        self.copies = copies
        self.absorbing_states = absorbing_states

    @property
    def needs(self) -> frozenset[str]:
        """The parts of a batch that divergence and value term read."""
        policy = self.divergence.needs_policy_data or self.value_term.needs_policy_data
        parts = {"expert": True, "policy": policy, "initial": self.value_term.needs_initial_states}
        return frozenset(name for name, needed in parts.items() if needed)

    def build(self, env: EnvConfig) -> None:
        """The network, and its target where there is one."""
        super().build(env)
        self.target_network: nn.Module | None = self.target.copy(self.network) if self.target else None

    def objective(self, batch: Batch) -> Objective:
        """One forward pass over all states of the batch, then the loss of ``losses.iq``."""
        expert, policy, initial = batch.get("expert"), batch.get("policy"), batch.get("initial")
        missing = [name for name in sorted(self.needs) if name not in batch]
        if expert is None or missing:
            raise UserError(
                f"{type(self.value_term).__name__} with {type(self.divergence).__name__} needs {' and '.join(missing)} "
                f"data, which this run does not have; {_REMEDIES[missing[0]]}"
            )
        if not self.value_term.needs_initial_states:
            initial = None
        parts: list[Transition] = [expert] if policy is None else [expert, policy]

        states = [part.obs for part in parts] + ([] if initial is None else [initial])
        successors = [part.next_obs for part in parts]
        sizes = [len(observations) for observations in states + successors]
        if self.target_network is None:
            # (copies, N, A); V is that of the smallest Q, and each copy's Q(s, a) gets a loss of its own
            each, smallest = self._copies(torch.cat(states + successors))
            v = self.value(smallest).split(sizes)
            next_v = v[len(states) :]
        else:
            sizes = sizes[: len(states)]
            each, smallest = self._copies(torch.cat(states))
            v = self.value(smallest).split(sizes)
            with torch.no_grad():
                lengths = [len(observations) for observations in successors]
                next_v = self.value(self.target_network(torch.cat(successors))).split(lengths)
        q = smallest.split(sizes)

        initial_v = None if initial is None else v[len(parts)]
        shared = [(v[i], next_v[i], part.terminated) for i, part in enumerate(parts)]
        losses, found = [], []
        for copy in each:
            chosen = copy.split(sizes) if len(each) > 1 else q
            terms = [
                BellmanTerms(chosen[i].gather(1, part.actions[:, None]).squeeze(1), *shared[i])
                for i, part in enumerate(parts)
            ]
            loss, scalars = iq_loss(
                terms[0],
                terms[1] if len(terms) > 1 else None,
                initial_v,
                self.divergence,
                self.value_term,
                self.gamma,
                self.absorbing_states,
            )
            losses.append(loss)
            found.append(scalars)
        loss, scalars = losses[0], found[0]
        if len(losses) > 1:
            loss = torch.stack(losses).mean()
            scalars = {name: torch.stack([one[name] for one in found]).mean() for name in found[0]}
        penalty = self.divergence.penalty(self.network, expert, policy, self.network.observation_high)
        if penalty is not None:
            loss = loss + penalty
            scalars["penalty"] = penalty

        def diagnostics() -> dict[str, Tensor]:
            rewards = BellmanTerms(q[0].gather(1, expert.actions[:, None])[:, 0], *shared[0]).rewards(self.gamma)
            found = self.diagnose(q[0], expert.actions, rewards)
            if any(math.isfinite(end) for end in self.divergence.domain):
                seen = absorbed(rewards, expert.terminated, self.gamma)[0] if self.absorbing_states else rewards
                found["guarded"] = self.divergence.guarded(seen)
            if isinstance(self.value, AnnealedSoftValue):
                found["temperature"] = rewards.new_tensor(self.value.temperature)
            if policy is not None:
                q_a = q[1].gather(1, policy.actions[:, None])[:, 0]
                policy_rewards = BellmanTerms(q_a, *shared[1]).rewards(self.gamma)
                found |= {"policy_reward": policy_rewards.mean(), "policy_v": shared[1][0].mean()}
            return found

        return Objective(loss, scalars, diagnostics)

    def after_update(self, update: int) -> None:
        """Moves the target network."""
        if self.target is not None and self.target_network is not None:
            self.target(self.target_network, self.network, update)

    def explore(self, observations: Tensor, env_steps: int, envs: Tensor) -> Tensor:
        """Actions drawn from softmax(Q / temperature), for an online run.

        Args:
            observations: (N, *shape) of this process's environments.
            env_steps: transitions collected so far, by all processes.
            envs: (N,) numbers of these environments among those of all processes.
        """
        return draw_actions(self.network, observations, self.value.temperature, self.seed, env_steps, envs)

    def _copies(self, observations: Tensor) -> tuple[Sequence[Tensor], Tensor]:
        """Q of every copy, each (N, A), and their smallest."""
        if self.copies == 1:
            q = self.network(observations)
            return [q], q
        each = self.network.each(observations)
        return each.unbind(0), each.amin(0)
