"""How evaluation chooses actions: greedily, or drawn with numbers that shards and batches do not change.

A policy may know the probabilities of numbered actions (``probabilities`` or ``q_values``), or draw from given keys
itself (``draw``); where it can do neither, drawn actions are those of its ``act``.
"""

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor

from iqlightning.agents.soft_q import SoftQ
from iqlightning.keyed import Stream, uniform
from iqlightning.policies import AgentPolicy
from iqlightning.types import Policy

__all__ = ["action_probabilities", "choose_actions", "draw_actions", "is_random"]


def is_random(policy: Policy, sample: bool) -> bool:
    """Whether two visits to one state may end in different actions: a policy says so by ``stochastic = True``."""
    return sample or bool(getattr(policy, "stochastic", False))


def action_probabilities(
    policy: Policy, observations: Real[Tensor, "batch ..."], temperature: float | None = None
) -> Float[Tensor, "batch actions"] | None:
    """pi(a | s): the policy's own ``probabilities`` or softmax(Q / temperature); None where neither can be known.

    Args:
        policy: has ``probabilities(observations)``, or ``q_values(observations)``, or only ``act``.
        observations: (B, *shape).
        temperature: None means the one that the policy was trained with, that of ``policy.value``.
    """
    if hasattr(policy, "probabilities"):
        return policy.probabilities(observations)  # type: ignore[attr-defined]
    if temperature is None:
        temperature = getattr(getattr(policy, "value", policy), "temperature", None)
    if temperature is None or not hasattr(policy, "q_values"):
        return None
    return torch.softmax(policy.q_values(observations).double() / temperature, dim=-1)  # type: ignore[attr-defined]


def draw_actions(
    probabilities: Float[Tensor, "batch actions"], numbers: Float[Tensor, " batch"]
) -> Int[Tensor, " batch"]:
    """The action whose slice of the cumulative distribution holds the uniform number given for that row."""
    cumulative = probabilities.double().cumsum(-1)
    below = numbers[:, None] * cumulative[:, -1:] >= cumulative
    return below.sum(-1).clamp(max=probabilities.shape[-1] - 1)


def choose_actions(
    policy: Policy,
    observations: Real[Tensor, "batch ..."],
    episodes: Int[Tensor, " batch"],
    move: int,
    *,
    seed: int,
    sample: bool,
    temperature: float | None,
) -> Tensor:
    """One action for each row; drawn actions are a function of (seed, episode, move) and the policy alone."""
    if not is_random(policy, sample):
        return policy.act(observations)
    keys = (Stream.SAMPLE, seed, episodes, move)
    if hasattr(policy, "draw"):
        return policy.draw(observations, keys)  # type: ignore[attr-defined]
    if isinstance(policy, AgentPolicy) and not isinstance(policy.agent, SoftQ):
        keys = (Stream.SAMPLE, seed, move, episodes)
        return policy.act(observations, sample=True, temperature=temperature, keys=keys)
    probabilities = action_probabilities(policy, observations, temperature)
    if probabilities is None:
        return policy.act(observations, sample=True)
    return draw_actions(probabilities, uniform(*keys))
