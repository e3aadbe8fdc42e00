"""How well a policy does in an environment of which nothing but its rewards is known."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor

from iqlightning.evaluation.choice import choose_actions
from iqlightning.rollout import rollout
from iqlightning.types import EnvConfig, Policy

__all__ = ["EnvironmentResults", "evaluate_environment"]


@dataclass(frozen=True)
class EnvironmentResults:
    """What became of E episodes.

    Attributes:
        returns: (E,) float64, undiscounted.
        lengths: (E,) int64, moves.
    """

    returns: Float[Tensor, " episodes"]
    lengths: Int[Tensor, " episodes"]

    def metrics(self) -> dict[str, float]:
        """Mean and standard deviation (n - 1) of the return, mean length, and the number of episodes."""
        several = len(self.returns) > 1
        return {
            "mean_return": self.returns.mean().item(),
            "std_return": self.returns.std().item() if several else 0.0,
            "mean_length": self.lengths.double().mean().item(),
            "episodes": len(self.returns),
        }


def evaluate_environment(
    policy: Policy,
    config: EnvConfig,
    episodes: int,
    seed: int,
    *,
    split: str = "test",
    sample: bool = False,
    temperature: float | None = None,
    num_envs: int = 16,
    device: str | torch.device = "cpu",
    rank: int = 0,
    world_size: int = 1,
    progress: Callable[[int], None] | None = None,
) -> EnvironmentResults:
    """Plays this rank's share of the episodes and keeps only their returns and lengths.

    Args:
        policy: acts on (B, *shape) observations.
        config: the environment.
        episodes: of all ranks together.
        seed: of the environments and of drawn actions.
        split: handed to ``config.make_batch``.
        sample: draw from the policy instead of acting greedily.
        temperature: of softmax(Q / temperature); None means the policy's own.
        num_envs: environments stepped together on each rank.
        device: where the environments are.
        rank: of this process.
        world_size: number of processes.
        progress: called with the number of episodes that have been finished since the last call.
    """
    share = len(range(rank, episodes, world_size))
    returns, lengths = [torch.zeros(0, dtype=torch.float64)], [torch.zeros(0, dtype=torch.int64)]
    if share:
        count, first = min(num_envs, share), rank * num_envs
        env = config.make_batch(count, seed=seed + first, split=split, device=device)
        drawing = _Keyed(policy, torch.arange(first, first + count, device=env.device), seed, temperature)
        # a few episodes at a time, since a rollout holds on to all observations
        for done in range(0, share, count):
            played = rollout(drawing, env, min(count, share - done), sample=sample, progress=progress)
            returns.append(played.returns.double().cpu())
            lengths.append(played.lengths.cpu())
    return EnvironmentResults(torch.cat(returns), torch.cat(lengths))


class _Keyed:
    """A policy whose drawn actions are a function of (seed, environment, move): an evaluation repeats itself."""

    def __init__(self, policy: Policy, envs: Int[Tensor, " envs"], seed: int, temperature: float | None) -> None:
        self.policy = policy
        self.envs = envs
        self.seed = seed
        self.temperature = temperature
        self._move = 0

    def act(self, observations: Real[Tensor, "batch ..."], *, sample: bool = False) -> Int[Tensor, " batch"]:
        """Greedy or drawn actions of the policy."""
        self._move += 1
        return choose_actions(
            self.policy,
            observations,
            self.envs,
            self._move,
            seed=self.seed,
            sample=sample,
            temperature=self.temperature,
        )
