"""A plain training loop to compare with: what one would write by hand for one network, one loss and one optimizer."""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from iqlightning.analysis.speed.measure import Timing, timed
from iqlightning.trajectories import Trajectories

__all__ = ["PlainData", "perceptron", "plain_loop"]

_GAMMA, _TEMPERATURE, _ALPHA, _RATE = 0.99, 0.01, 0.5, 1e-3


class PlainData(NamedTuple):
    """Transitions in memory; ``episodes`` are the offsets of those from which ``together`` at a time are drawn."""

    obs: Tensor
    actions: Tensor
    next_obs: Tensor
    terminated: Tensor
    starts: Tensor
    together: int = 1

    @staticmethod
    def of(trajectories: Trajectories, together: int = 1) -> "PlainData":
        """All transitions, observations as the network reads them."""
        all_of_them = trajectories.transitions()
        return PlainData(
            all_of_them.obs.float(),
            all_of_them.actions,
            all_of_them.next_obs.float(),
            all_of_them.terminated,
            trajectories.starts,
            together,
        )

    def draw(self, batch_size: int) -> Tensor:
        """Indices of a batch."""
        if self.together == 1:
            return torch.randint(len(self.actions), (batch_size,))
        groups = torch.randint(len(self.starts) - 1, (batch_size // self.together,)).repeat_interleave(self.together)
        first, last = self.starts[groups], self.starts[groups + 1]
        return first + (torch.rand(batch_size) * (last - first)).long()


def perceptron(inputs: int, actions: int, hidden: Sequence[int]) -> nn.Module:
    """Linear layers with ReLU between them."""
    widths = [inputs, *hidden]
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], actions))


def _loss(q_all: Tensor, actions: Tensor, terminated: Tensor) -> Tensor:
    """IQ-Learn with chi2 and the value term on expert states, on Q of states and successors."""
    q, next_q = q_all.chunk(2)
    q_a = q.gather(1, actions[:, None])[:, 0]
    v = _TEMPERATURE * torch.logsumexp(q / _TEMPERATURE, 1)
    y = (_GAMMA * _TEMPERATURE * torch.logsumexp(next_q / _TEMPERATURE, 1)).masked_fill(terminated, 0.0)
    reward = q_a - y
    return (v - y).mean() - (reward - reward.square() / (4 * _ALPHA)).mean()


def plain_loop(network: Callable[[], nn.Module], data: PlainData, batch_size: int, updates: int) -> Timing:
    """Index sampling, one forward pass over [s; s'], fused Adam; nothing is logged."""
    net = network()
    optimizer = torch.optim.Adam(net.parameters(), lr=_RATE, fused=True)

    def run() -> None:
        for _ in range(updates):
            index = data.draw(batch_size)
            states = torch.cat([data.obs[index], data.next_obs[index]])
            loss = _loss(net(states), data.actions[index], data.terminated[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return timed(updates, run)
