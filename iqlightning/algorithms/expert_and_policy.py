"""What the algorithms that learn from demonstrations and their own experience share: reading the batch, exploring."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from iqlightning import keyed
from iqlightning.errors import UserError
from iqlightning.keyed import Stream
from iqlightning.losses.iq import BellmanTerms
from iqlightning.losses.values import ValueFunction
from iqlightning.nets.q_network import QNetwork
from iqlightning.types import Batch, Transition

__all__ = ["bellman_terms", "copies_of", "draw_actions", "expert_and_policy"]


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

    Of several copies (twin Q) the smallest Q is returned and V is that of the smallest, but each copy's Q(s, a) has a
    row of its own in the terms, one copy after the other: a mean over rows is the mean of the copies' losses.

    Args:
        network: Q(s, .); a :class:`~iqlightning.nets.q_network.QNetwork` may have copies.
        target: gives Q(s', .) without gradients; None takes the network itself.
        value: V from Q.
        parts: transitions.
    """
    sizes = [len(part.obs) for part in parts]
    states, successors = torch.cat([part.obs for part in parts]), torch.cat([part.next_obs for part in parts])
    if target is None:
        copies, next_copies = copies_of(network, torch.cat([states, successors])).chunk(2, dim=1)
        next_q = next_copies.amin(0)
    else:
        copies = copies_of(network, states)
        with torch.no_grad():
            next_q = target(successors)
    smallest = list(copies.amin(0).split(sizes))
    terms = []
    for own, q, next_part, part in zip(copies.split(sizes, 1), smallest, next_q.split(sizes), parts, strict=True):
        repeats = len(own)
        chosen = own.gather(2, part.actions.expand(repeats, -1).unsqueeze(2)).flatten()
        rows = (value(q), value(next_part), part.terminated)
        terms.append(BellmanTerms(chosen, *(row.repeat(repeats) for row in rows)))
    return terms, smallest


def copies_of(network: nn.Module, observations: Tensor) -> Float[Tensor, "copies batch actions"]:
    """Q of every copy; of any other module its own, as the only copy."""
    return network.each(observations) if isinstance(network, QNetwork) else network(observations)[None]


@torch.no_grad()
def draw_actions(
    network: nn.Module,
    observations: Tensor,
    temperature: float,
    seed: int,
    env_steps: int,
    envs: Int[Tensor, " num_envs"],
) -> Int[Tensor, " num_envs"]:
    """Actions drawn from softmax(Q / temperature), keyed by seed, transitions so far and environment.

    Args:
        network: Q(s, .).
        observations: (N, *shape) of this process's environments.
        temperature: of the softmax.
        seed: of the run.
        env_steps: transitions collected so far, by all processes.
        envs: numbers of these environments among those of all processes.
    """
    q = network(observations).double()
    action = torch.arange(q.shape[1], device=q.device)
    noise = keyed.uniform(Stream.SAMPLE, seed, env_steps, envs[:, None], action).clamp_min(1e-300)
    # Gumbel's trick: the largest of logits and standard Gumbel noise is a draw from the softmax
    return (q / temperature - torch.log(-torch.log(noise))).argmax(1)
