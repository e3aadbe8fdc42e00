"""How well a policy does in an environment: in the environment's own way, else by returns and lengths of episodes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor

from iqlightning.evaluation.choice import choose_actions
from iqlightning.rollout import closing, rollout
from iqlightning.types import EnvConfig, EpisodeResults, Policy, Trajectories

__all__ = ["Returns", "evaluate_environment", "play_episodes", "played_in_parts"]


@dataclass(frozen=True)
class Returns(EpisodeResults):
    """What became of E episodes of which nothing but rewards is known.

    Attributes:
        returns: (E,) float64, undiscounted.
        lengths: (E,) int64, moves.
    """

    returns: Float[Tensor, " episodes"]
    lengths: Int[Tensor, " episodes"]

    SUMS: ClassVar = ("returns", "squares", "lengths", "episodes")

    def metrics(self) -> dict[str, float]:
        """Mean and standard deviation (n - 1) of the return, mean length, and the number of episodes."""
        several = len(self.returns) > 1
        return {
            "mean_return": self.returns.mean().item(),
            "std_return": self.returns.std().item() if several else 0.0,
            "mean_length": self.lengths.double().mean().item(),
            "episodes": len(self.returns),
        }

    def intervals(self) -> dict[str, tuple[float, float]]:
        """Of the mean return: the normal approximation over episodes."""
        figures = self.metrics()
        mean, half = figures["mean_return"], 1.96 * figures["std_return"] / max(1, len(self.returns)) ** 0.5
        return {"mean_return": (mean - half, mean + half)}

    def summed(self) -> dict[str, Tensor]:
        """Of returns, their squares, lengths and episodes."""
        return {
            "returns": self.returns.sum(),
            "squares": (self.returns * self.returns).sum(),
            "lengths": self.lengths.double().sum(),
            "episodes": self.returns.new_tensor(len(self.returns)),
        }

    @staticmethod
    def of_sums(sums: dict[str, Tensor]) -> dict[str, Tensor]:
        """As :meth:`metrics`; the deviation comes from the sum of squares, exact enough in float64."""
        episodes = sums["episodes"]
        mean = sums["returns"] / episodes
        variance = (sums["squares"] - sums["returns"] * mean) / (episodes - 1).clamp(min=1.0)
        return {
            "mean_return": mean,
            "std_return": variance.clamp(min=0.0).sqrt(),
            "mean_length": sums["lengths"] / episodes,
            "episodes": episodes,
        }


def evaluate_environment(policy: Policy, env: EnvConfig, episodes: int, seed: int, **options: Any) -> EpisodeResults:
    """Plays this rank's share of the episodes: by ``env.play`` where it can, else by :func:`play_episodes`."""
    results = env.play(policy, episodes, seed, **options)
    return play_episodes(policy, env, episodes, seed, **options) if results is None else results


def play_episodes(policy: Policy, env: EnvConfig, episodes: int, seed: int, **options: Any) -> Returns:
    """Plays through ``env.make_batch`` and keeps only returns and lengths; arguments of :func:`played_in_parts`."""
    returns, lengths = [torch.zeros(0, dtype=torch.float64)], [torch.zeros(0, dtype=torch.int64)]
    for played in played_in_parts(policy, env, episodes, seed, **options):
        returns.append(played.returns.double().cpu())
        lengths.append(played.lengths.cpu())
    return Returns(torch.cat(returns), torch.cat(lengths))


def played_in_parts(
    policy: Policy,
    env: EnvConfig,
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
) -> Iterator[Trajectories]:
    """Plays through ``env.make_batch``, as many episodes at a time as there are environments on each rank.

    Arguments are those of :meth:`iqlightning.types.EnvConfig.play`.
    """
    share = len(range(rank, episodes, world_size))
    if share:
        count, first = min(num_envs, share), rank * num_envs
        with closing(env.make_batch(count, seed=seed + first, split=split, device=device)) as batch:
            drawing = _Keyed(policy, torch.arange(first, first + count, device=batch.device), seed, temperature)
            # a few episodes at a time, since a rollout holds on to all observations
            for done in range(0, share, count):
                yield rollout(drawing, batch, min(count, share - done), sample=sample, progress=progress)


class _Keyed:
    """A policy whose drawn actions are a function of (seed, environment, move): an evaluation repeats itself."""

    def __init__(self, policy: Policy, envs: Int[Tensor, " envs"], seed: int, temperature: float | None) -> None:
        self.policy = policy
        self.envs = envs
        self.seed = seed
        self.temperature = temperature
        self._move = 0
        if hasattr(policy, "begin"):  # what it does when episodes begin
            self.begin = policy.begin  # type: ignore[attr-defined]

    def act(self, observations: Real[Tensor, "batch ..."], *, sample: bool = False) -> Tensor:
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
