r"""Does a run diverge? What can be said without the true reward, from a few numbers taken at every validation.

An inverse soft-Q objective is meant to keep the recovered reward r = Q(s, a) - gamma V(s') bounded, and with it
|V| <= max |r| / (1 - gamma) on the way. A run goes wrong in a few typical manners, and each leaves its mark on held-out
demonstrations; the thresholds below are rules of thumb on changes over several validations, not tests of a hypothesis.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

from iqlightning.agents.agent import Agent
from iqlightning.types import Transition

__all__ = ["Reading", "read", "warnings_in_training", "warnings_of"]

# share of an actor's numbers within a hundredth of a bound, above which its gradient is all but gone
_SATURATED = 0.9


class Reading(NamedTuple):
    """One validation's numbers, over held-out expert transitions.

    Attributes:
        residual: root mean square of r = Q(s, a) - gamma (1 - terminated) V(s'), the residual of a Bellman equation
        without reward. v: mean V(s). gap: mean V(s) - Q(s, a) at the expert's action. reward_min: smallest r.
        reward_max: largest r. entropy: mean entropy of the policy, in nats. log_likelihood: mean log pi
        of the expert's action.
    """

    residual: float
    v: float
    gap: float
    reward_min: float
    reward_max: float
    entropy: float
    log_likelihood: float

    @property
    def not_finite(self) -> list[str]:
        """Names of the numbers that are NaN or infinite."""
        return [name for name, value in self._asdict().items() if not math.isfinite(value)]


def read(agent: Agent, expert: Transition, gamma: float) -> Reading:
    """Takes the numbers from held-out transitions."""
    q_a = agent.q(expert.obs, expert.actions).amin(0)
    v = agent.v(expert.obs)
    rewards = q_a - gamma * agent.value_after(expert.next_obs, expert.terminated)
    numbers = torch.stack(
        [
            rewards.square().mean().sqrt(),
            v.mean(),
            (v - q_a).mean(),
            rewards.min(),
            rewards.max(),
            agent.entropy(expert.obs).mean(),
            agent.log_prob(expert.obs, expert.actions).mean(),
        ]
    )
    return Reading(*numbers.tolist())


def warnings_of(
    history: Sequence[Reading], patience: int = 3, factor: float = 3.0, num_actions: int | None = None
) -> dict[str, str]:
    """What is wrong, if anything: a name and a sentence with an advice for each.

    Args:
        history: readings so far, oldest first.
        patience: validations over which a trend must hold; nothing is said before there are one more.
        factor: growth over them that counts as divergence.
        num_actions: how many actions there are; with it, held-out likelihoods are compared with those of random moves.
    """
    if len(history) <= patience:
        return {}
    recent = history[-patience - 1 :]
    first, last = recent[0], recent[-1]
    warnings: dict[str, str] = {}

    def grows(values: list[float], floor: float) -> bool:
        """Ever larger, by ``factor`` in all; below ``floor`` growth is nothing to speak of."""
        rising = all(b > a for a, b in itertools.pairwise(values))
        return rising and values[-1] > factor * max(values[0], floor)

    early = history[min(patience, len(history) - 1 - patience)]
    # every phi here is made for rewards of order 1; growth up to there is learning
    scale = max(abs(early.reward_min), abs(early.reward_max), 1.0)
    if grows([r.residual for r in recent], scale):
        warnings["residual"] = (
            f"the Bellman residual on held-out demonstrations has grown from {first.residual:.3g} to "
            f"{last.residual:.3g} over {patience} validations: rewards are not held back; take Chi2 with a smaller "
            "alpha, or TotalVariation"
        )
    if grows([abs(r.v) for r in recent], 10 * scale):
        warnings["v"] = (
            f"the mean value V has drifted from {first.v:.3g} to {last.v:.3g} over {patience} validations; "
            "take a target network (--model.target), a lower learning rate, or Chi2Mixture if the run is online"
        )
    if grows([r.gap for r in recent], scale):
        warnings["gap"] = (
            f"V - Q at the expert's action has grown from {first.gap:.3g} to {last.gap:.3g} over {patience} "
            "validations: other actions overtake the expert's; take a lower learning rate or more demonstrations"
        )
    if grows([r.reward_max - r.reward_min for r in recent], 2 * scale):
        warnings["reward_range"] = (
            f"recovered rewards now span [{last.reward_min:.3g}, {last.reward_max:.3g}], "
            f"{patience} validations ago [{first.reward_min:.3g}, {first.reward_max:.3g}]: they should be bounded; "
            "take a stronger divergence (a smaller alpha, TotalVariation) or a smaller --model.max_grad_norm"
        )
    best = max(r.log_likelihood for r in history)
    chance = -math.inf if num_actions is None else -math.log(num_actions)
    if all(r.log_likelihood < chance - 0.7 for r in recent):
        warnings["likelihood"] = (
            f"the held-out log-likelihood of the expert's action is {last.log_likelihood:.3g} nats and has been below "
            f"{chance:.3g}, that of random moves, for {patience} validations: the run learns something else than the "
            "demonstrations; take a lower learning rate"
        )
    elif last.log_likelihood < best - 0.7 and all(r.log_likelihood < best - 0.35 for r in recent):
        warnings["likelihood"] = (
            f"the held-out log-likelihood of the expert's action has fallen from {best:.3g} to "
            f"{last.log_likelihood:.3g} nats: the run overfits or diverges; stop earlier, raise the temperature, "
            "or take more demonstrations"
        )
    if "likelihood" in warnings and last.entropy < 0.05:
        warnings["entropy"] = (
            f"the policy's entropy is {last.entropy:.3g} nats while it disagrees with held-out demonstrations: "
            "it is sure of the wrong actions; raise the temperature"
        )
    return warnings


def warnings_in_training(
    history: Sequence[Mapping[str, float]], q_bound: float | None = None, patience: int = 3
) -> dict[str, str]:
    """What figures of training batches say, which there are without held-out demonstrations as well.

    Q beyond what the penalty allows is the earliest sign of divergence: returns may still rise for a while.

    Args:
        history: ``q_share``, mean |Q| against its bound, and ``actor_saturation``, the share of an actor's numbers that
            sit at a bound, as of each validation, oldest first; either may be missing.
        q_bound: the largest |Q| that the penalty allows.
        patience: validations over which an actor must have been saturated.
    """
    warnings: dict[str, str] = {}
    share = history[-1].get("q_share", 0.0) if history else 0.0
    if q_bound is not None and share > 1:
        warnings["q_bound"] = (
            f"the mean |Q| is {share * q_bound:.3g}, {share:.3g} times the {q_bound:.3g} that the penalty allows: the "
            "critic diverges, even if returns still rise; clip its targets (model.clip_targets), let the target "
            "network follow more slowly, or take a lower learning rate"
        )
    saturations = [figures.get("actor_saturation", 0.0) for figures in history[-patience:]]
    if len(saturations) == patience and min(saturations) > _SATURATED:
        warnings["saturation"] = (
            f"{saturations[-1]:.0%} of the actor's numbers sit at a bound of the actions and have for {patience} "
            "validations: it hardly learns any more; raise the temperature, lower the actor's learning rate, or "
            "standardise observations"
        )
    return warnings
