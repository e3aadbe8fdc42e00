"""The plain loop of an actor-critic: IQ-Learn with continuous actions as one would write it by hand."""

import copy
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from iqlightning.analysis.speed.measure import Timing, timed

__all__ = ["plain_actor_critic"]

_GAMMA, _TEMPERATURE, _ALPHA, _RATE, _TAU = 0.99, 0.005, 0.05, 3e-4, 0.005


def _network(inputs: int, hidden: Sequence[int], outputs: int, layer_norm: bool = False) -> nn.Module:
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(inputs, width), *([nn.LayerNorm(width)] if layer_norm else []), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


def _draw(actor: nn.Module, obs: Tensor) -> tuple[Tensor, Tensor]:
    mean, log_std = actor(obs).chunk(2, 1)
    log_std = log_std.clamp(-5.0, 2.0)
    noise = torch.randn_like(mean)
    before = mean + log_std.exp() * noise
    log_pi = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
    log_pi = log_pi - 2 * (math.log(2) - before - F.softplus(-2 * before))
    return torch.tanh(before), log_pi.sum(1)


def plain_actor_critic(
    expert: Sequence[Tensor], policy: Sequence[Tensor], hidden: Sequence[int], batch_size: int, updates: int
) -> Timing:
    """Two critics, one pass over [s, a; s, a'; ...], an actor, averaged targets; fused Adam; nothing is logged.

    Args:
        expert: (N, D) observations, (N, K) actions and (N, D) successors to draw from; no episode ends.
        policy: the same of the policy.
        hidden: widths of critics and actor.
        batch_size: of each of the two.
        updates: to make.
    """
    size, actions = expert[0].shape[1], expert[1].shape[1]
    critics = nn.ModuleList([_network(size + actions, hidden, 1, True) for _ in range(2)])
    actor = _network(size, hidden, 2 * actions)
    targets, averaged = copy.deepcopy(critics), copy.deepcopy(actor)
    of_critics = torch.optim.Adam(critics.parameters(), lr=_RATE, fused=True)
    of_actor = torch.optim.Adam(actor.parameters(), lr=_RATE, fused=True)
    limit = 4 * _ALPHA / (1 - _GAMMA)

    def run() -> None:
        for _ in range(updates):
            drawn = [
                [each[index] for each in data]
                for data in (expert, policy)
                for index in [torch.randint(len(data[0]), (batch_size,))]
            ]
            obs, given, next_obs = (torch.cat(parts) for parts in zip(*drawn, strict=True))
            with torch.no_grad():
                both, log_pi = _draw(actor, torch.cat([obs, next_obs]))
                pairs = torch.cat([next_obs, both[len(obs) :]], 1)
                next_q = torch.minimum(*(target(pairs)[:, 0] for target in targets))
                next_v = (next_q - _TEMPERATURE * log_pi[len(obs) :]).clamp(-limit, limit)
            pairs = torch.cat([torch.cat([obs, given], 1), torch.cat([obs, both[: len(obs)]], 1)])
            each = [critic(pairs)[:, 0].chunk(2) for critic in critics]
            v = torch.minimum(*(q_drawn for _, q_drawn in each)) - _TEMPERATURE * log_pi[: len(obs)]
            loss = (1 - _GAMMA) * v[:batch_size].mean()
            for q_a, _ in each:
                reward = q_a - _GAMMA * next_v
                loss = loss - (reward[:batch_size].mean() - reward.square().mean() / (4 * _ALPHA)) / 2
            of_critics.zero_grad()
            loss.backward()
            of_critics.step()
            best, log_pi = _draw(actor, obs)
            q = torch.minimum(*(critic(torch.cat([obs, best], 1))[:, 0] for critic in critics))
            of_actor.zero_grad()
            (_TEMPERATURE * log_pi - q).mean().backward()
            of_actor.step()
            with torch.no_grad():
                for behind, ahead, rate in ((targets, critics, _TAU), (averaged, actor, 0.0005)):
                    for slow, weight in zip(behind.parameters(), ahead.parameters(), strict=True):
                        slow.lerp_(weight, rate)

    return timed(updates, run)
