"""Deep Q-learning (Mnih et al. 2015) and its usual options: double, dueling (a head), n-step (the data), Munchausen."""

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from iqlightning import keyed
from iqlightning.agents.agent import Objective
from iqlightning.agents.soft_q import SoftQ
from iqlightning.algorithms.learner import EncoderFactory, Learner
from iqlightning.errors import UserError
from iqlightning.keyed import Stream
from iqlightning.losses.munchausen import Munchausen
from iqlightning.losses.td import td_loss, td_target
from iqlightning.losses.values import MaxValue
from iqlightning.nets.target import TargetUpdate
from iqlightning.types import Batch

__all__ = ["DQN"]


class DQN(Learner):
    r"""min_Q E[huber(Q(s, a) - R_n - gamma^n (1 - terminated) Q'(s_n, a*))].

    The loss of Mnih et al., "Human-level control through deep reinforcement learning", Nature 518, 2015, doi
    10.1038/nature14236. a* maximises the target network Q' or, with ``double_q``, the online network: the Double DQN of
    van Hasselt, Guez and Silver, "Deep Reinforcement Learning with Double Q-learning", AAAI 2016, arXiv 1509.06461, its
    equation 4 with the target network for the second set of weights. It explores with probability epsilon, which falls
    linearly. With ``munchausen`` the target is that of
    :class:`~iqlightning.losses.munchausen.Munchausen`; it explores in the same way, and only the trained policy, where
    it is sampled, draws from softmax(Q / temperature) at that temperature. ``head: DuelingHead`` makes a dueling
    network.

    Args:
        encoder: builds the agent's encoder from an observation's shape.
        double_q: double Q-learning; None for it unless there is ``munchausen``, whose target has no maximum.
        target: how the target network follows; by default by a hundredth at every update.
        epsilon_start: exploration at the beginning.
        epsilon_end: exploration after ``epsilon_steps``.
        epsilon_steps: environment transitions over which it falls.
        reward_scale: rewards are multiplied by it in the target, so that Q has the scale networks begin at.
        munchausen: adds the policy's log-probability to the reward; None for plain DQN.
        max_grad_norm: gradients are scaled down to this Euclidean norm; None for no clipping.
        settings: those of Learner.
    """

    fixed = ("value", "copies", "agent")

    def __init__(
        self,
        encoder: EncoderFactory | None = None,
        double_q: bool | None = None,
        target: TargetUpdate | None = None,
        epsilon_start: float = 1.0,
        epsilon_end: float = 0.05,
        epsilon_steps: int = 10_000,
        reward_scale: float = 1.0,
        munchausen: Munchausen | None = None,
        max_grad_norm: float | None = 10.0,
        **settings: Any,
    ) -> None:
        value = MaxValue() if munchausen is None else munchausen.value
        target = target or TargetUpdate(every=1, rate=0.01)
        super().__init__(
            encoder, value=value, target=target, copies=1, agent=None, max_grad_norm=max_grad_norm, **settings
        )
        if not 0 <= epsilon_end <= epsilon_start <= 1:
            raise UserError(
                f"exploration needs 0 <= epsilon_end <= epsilon_start <= 1, not {epsilon_end} and {epsilon_start}"
            )
        if not reward_scale > 0:
            raise UserError(f"reward_scale must be positive, not {reward_scale}")
        if double_q and munchausen is not None:
            raise UserError("the target of Munchausen takes no maximum: set double_q to false, or munchausen to null")
        self.double_q = munchausen is None if double_q is None else double_q
        self.munchausen = munchausen
        self.epsilon_start = epsilon_start
        self.epsilon_end = epsilon_end
        self.epsilon_steps = epsilon_steps
        self.reward_scale = reward_scale
        self._env_steps = 0

    @property
    def needs(self) -> frozenset[str]:
        """Its own experience."""
        return frozenset({"policy"})

    def objective(self, batch: Batch) -> Objective:
        """The temporal-difference loss; ``td_error`` is the mean absolute error of Q(s, a)."""
        (data,) = self.parts_of(batch)
        if data.rewards is None:
            raise UserError("DQN needs rewards; demonstrations are served without them")
        agent = self.agent
        assert isinstance(agent, SoftQ)
        if self.double_q:
            q, next_q = agent.q_values_of_both(data.obs, data.next_obs)
        else:
            q, next_q = agent.q_values(data.obs), None
        with torch.no_grad():
            target_q = agent.q_values(data.next_obs, target=True)
            rewards = data.rewards.to(q.dtype) * self.reward_scale
            if self.munchausen is None:
                best = (target_q if next_q is None else next_q).argmax(1, keepdim=True)
                next_v = target_q.gather(1, best)[:, 0]
            else:
                rewards = rewards + self.munchausen.reward(agent.q_values(data.obs, target=True), data.actions)
                next_v = self.munchausen.value(target_q)
            target = td_target(rewards, next_v, data.terminated, self.gamma, data.steps)
        q_a = q.gather(1, data.actions[:, None])[:, 0]
        loss = td_loss(q_a, target)

        def diagnostics() -> dict[str, Tensor]:
            epsilon = torch.tensor(self.epsilon(self._env_steps), device=q.device)
            return agent.diagnose_q(q, data.actions) | {"epsilon": epsilon}

        return Objective(loss, {"td_error": (q_a - target).detach().abs().mean()}, diagnostics)

    def epsilon(self, env_steps: int) -> float:
        """Exploration probability after ``env_steps`` transitions."""
        share = min(1.0, env_steps / self.epsilon_steps) if self.epsilon_steps > 0 else 1.0
        return self.epsilon_start + share * (self.epsilon_end - self.epsilon_start)

    @torch.no_grad()
    def explore(self, observations: Tensor, env_steps: int, envs: Int[Tensor, " num_envs"]) -> Int[Tensor, " num_envs"]:
        """Epsilon-greedy actions, keyed by seed, transitions so far and environment.

        Args:
            observations: (N, *shape) of this process's environments.
            env_steps: transitions collected so far, by all processes.
            envs: numbers of these environments among those of all processes.
        """
        self._env_steps = env_steps
        greedy = self.agent.act(observations)
        keys = (Stream.EXPLORATION, self.seed, env_steps, envs)
        random = self.agent.spaces.random_actions(observations, *keys, 1)
        return torch.where(keyed.uniform(*keys, 0) < self.epsilon(env_steps), random, greedy)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds how much has been played, of which exploration is a function."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["env_steps"] = self._env_steps

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restores it; files of earlier versions do not have it, and it is known again when play goes on."""
        super().on_load_checkpoint(checkpoint)
        self._env_steps = int(checkpoint.get("env_steps", 0))
