"""What the algorithms that learn from demonstrations and their own experience share: reading the batch, exploring."""

import torch
from jaxtyping import Int
from torch import Tensor, nn

from iqlightning import keyed
from iqlightning.errors import UserError
from iqlightning.keyed import Stream
from iqlightning.losses.iq import BellmanTerms
from iqlightning.losses.values import ValueFunction
from iqlightning.types import Batch, Transition

__all__ = ["bellman_terms", "draw_actions", "expert_and_policy"]


def expert_and_policy(batch: Batch, algorithm: str) -> tuple[Transition, Transition]:
    """Both halves of an online batch.

    Raises:
        UserError: if one is missing.
    """
    expert, policy = batch.get("expert"), batch.get("policy")
    if expert is None or policy is None:
        raise UserError(
            f"{algorithm} learns from demonstrations and from its own experience: take ImitationData with --data.online"
        )
    return expert, policy


def bellman_terms(
    network: nn.Module, target: nn.Module | None, value: ValueFunction, parts: list[Transition]
) -> tuple[list[BellmanTerms], list[Tensor]]:
    """Bellman terms and Q(s, .) of each part, all states in one forward pass.

    Args:
        network: Q(s, .).
        target: gives Q(s', .) without gradients; None takes the network itself.
        value: V from Q.
        parts: transitions.
    """
    sizes = [len(part.obs) for part in parts]
    states, successors = torch.cat([part.obs for part in parts]), torch.cat([part.next_obs for part in parts])
    if target is None:
        q, next_q = network(torch.cat([states, successors])).chunk(2)
    else:
        q = network(states)
        with torch.no_grad():
            next_q = target(successors)
    each = list(q.split(sizes))
    terms = [
        BellmanTerms(q_one.gather(1, part.actions[:, None])[:, 0], value(q_one), value(next_one), part.terminated)
        for q_one, next_one, part in zip(each, next_q.split(sizes), parts, strict=True)
    ]
    return terms, each


@torch.no_grad()
def draw_actions(
    network: nn.Module, observations: Tensor, temperature: float, seed: int, env_steps: int
) -> Int[Tensor, " batch"]:
    """Actions drawn from softmax(Q / temperature), keyed by seed, step and environment.

    Args:
        network: Q(s, .).
        observations: (N, *shape); every process plays all environments, so that runs do not depend on their number.
        temperature: of the softmax.
        seed: of the run.
        env_steps: transitions collected so far.
    """
    q = network(observations).double()
    count, actions = q.shape
    env = torch.arange(count, device=q.device)[:, None]
    action = torch.arange(actions, device=q.device)
    noise = keyed.uniform(Stream.SAMPLE, seed, env_steps // count, env, action).clamp_min(1e-300)
    # Gumbel's trick: the largest of logits and standard Gumbel noise is a draw from the softmax
    return (q / temperature - torch.log(-torch.log(noise))).argmax(1)
