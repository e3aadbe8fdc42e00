"""The recovered reward beside the true one, on episodes of every quality between the policy's own and chance.

The policy is played as it is and with growing shares of random moves, so that returns differ; what it recovered is then
held against what the environment paid (Garg et al. 2021, arXiv 2106.12142, section 5.3, figure 5). Learning never sees
the true reward.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import Space
from jaxtyping import Float, Real
from torch import Tensor

from iqlightning.evaluation.choice import choose_actions
from iqlightning.evaluation.environment import played_in_parts
from iqlightning.evaluation.reference_policies import RandomPolicy
from iqlightning.evaluation.tables import interval_key
from iqlightning.keyed import Stream, uniform
from iqlightning.spaces import Spaces
from iqlightning.types import EnvConfig, Policy

__all__ = ["SHARES", "PartlyRandom", "RewardPairs", "reward_correlations", "reward_pairs"]

#: Shares of random moves.
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)

# transitions in one call of the network
_CHUNK = 4096

_RESAMPLES = 4000  # of the bootstrap


class PartlyRandom:
    """A policy that acts uniformly at random at a share of its moves; which ones, and how, is keyed.

    The others are the policy's own, greedy or (``sample``) drawn at ``temperature``.
    """

    stochastic = True

    def __init__(
        self,
        policy: Policy,
        actions: Space | Spaces,
        share: float,
        sample: bool = False,
        temperature: float | None = None,
    ) -> None:
        self.policy = policy
        self.random = RandomPolicy(actions)
        self.share = share
        self.sample = sample
        self.temperature = temperature
        self._calls = 0

    def draw(self, observations: Real[Tensor, "batch ..."], keys: tuple[Any, ...]) -> Tensor:
        """Actions from the keys of :func:`~iqlightning.evaluation.choice.choose_actions`."""
        _, seed, rows, move = keys
        how = {"seed": seed, "sample": self.sample, "temperature": self.temperature}
        own = choose_actions(self.policy, observations, rows, move, **how)
        drawn = self.random.draw(observations, (Stream.RANDOM_POLICY, seed, rows, move)).to(own.device)
        at_random = (uniform(Stream.EXPLORATION, seed, rows, move) < self.share).to(own.device)
        return torch.where(at_random.view(-1, *[1] * (own.ndim - 1)), drawn.to(own.dtype), own)

    def act(self, observations: Real[Tensor, "batch ..."], *, sample: bool = False) -> Tensor:
        """The same with keys of its own; ``sample`` makes no difference."""
        self._calls += 1
        rows = torch.arange(len(observations), device=observations.device)
        return self.draw(observations, (Stream.SAMPLE, 0, rows, self._calls))


class RewardPairs(NamedTuple):
    """True and recovered rewards of E episodes, float64.

    Attributes:
        shares: (E,) of random moves.
        returns: (E,) undiscounted sums of the environment's rewards.
        recovered: (E,) of the recovered ones.
        moments: (E, 6) sums over an episode's transitions of 1, x, y, x^2, y^2 and x y, x the true and y the recovered
            reward: all that a correlation over transitions needs.
    """

    shares: Float[np.ndarray, " episodes"]
    returns: Float[np.ndarray, " episodes"]
    recovered: Float[np.ndarray, " episodes"]
    moments: Float[np.ndarray, "episodes 6"]


@torch.no_grad()
def reward_pairs(
    policy: Any,
    env: EnvConfig,
    episodes: int,
    seed: int,
    *,
    shares: Sequence[float] = SHARES,
    sample: bool = False,
    temperature: float | None = None,
    device: str | torch.device = "cpu",
    progress: Callable[[int], None] | None = None,
) -> RewardPairs:
    """Plays the test split with each share of random moves and reads r = Q(s, a) - gamma (1 - terminated) V(s').

    The episodes are the same ones with each share. Arguments are those of :meth:`iqlightning.types.EnvConfig.play`;
    ``sample`` and ``temperature`` are of the other moves.
    """
    rows: list[tuple[float, float, float]] = []
    moments: list[np.ndarray] = []
    for place, share in enumerate(shares):
        acting = PartlyRandom(policy, env.spaces, share, sample, temperature)
        seen = 0
        for played in played_in_parts(acting, env, episodes, seed, device=device, progress=progress):
            recovered = []
            for numbers in torch.arange(played.num_transitions).split(_CHUNK):
                part = played.transitions(numbers.to(played.actions.device))
                arrays = (tensor.to(device) for tensor in (part.obs, part.actions, part.next_obs, part.terminated))
                keys = (Stream.PROBE, seed, place, numbers.to(device) + seen)
                recovered.append(policy.rewards(*arrays, keys=keys).double().cpu())
            seen += played.num_transitions
            x, y = played.rewards.double().cpu(), torch.cat(recovered)
            columns = torch.stack([torch.ones_like(x), x, y, x * x, y * y, x * y], dim=1)
            sums = torch.zeros((played.num_episodes, 6), dtype=torch.float64)
            sums.index_add_(0, played.episode_of.cpu(), columns)
            moments.append(sums.numpy())
            rows += [(share, *pair) for pair in sums[:, 1:3].tolist()]
    columns = np.asarray(rows).T
    return RewardPairs(columns[0], columns[1], columns[2], np.concatenate(moments))


def reward_correlations(pairs: RewardPairs) -> dict[str, Any]:
    """Pearson's correlations with 95% intervals, and what each share of random moves came to; primitives only.

    Transitions of one episode say much the same, so that both intervals come from drawing whole episodes with
    replacement, as many of each share as there are (percentile bootstrap). A reward that never varies has no
    correlation: nan.

    Returns:
        ``reward_correlation_episodes`` over undiscounted returns and ``reward_correlation_transitions``, each with
        ``..._ci95``; ``reward_correlation_shares``, for each share its ``episodes``, ``mean_return`` and
        ``mean_recovered_return``.
    """
    x, y = pairs.returns, pairs.recovered
    of_returns = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)
    groups = [pairs.shares == share for share in dict.fromkeys(pairs.shares.tolist())]
    figures: dict[str, Any] = {}
    for name, moments in (("episodes", of_returns), ("transitions", pairs.moments)):
        key = f"reward_correlation_{name}"
        figures[key] = float(_pearson(moments.sum(0)))
        figures[interval_key(key)] = _interval(moments, groups)
    figures["reward_correlation_shares"] = [
        {
            "share": float(pairs.shares[group][0]),
            "episodes": int(group.sum()),
            "mean_return": float(x[group].mean()),
            "mean_recovered_return": float(y[group].mean()),
        }
        for group in groups
    ]
    return figures


def _pearson(moments: Float[np.ndarray, "... 6"]) -> np.ndarray:
    """From sums of 1, x, y, x^2, y^2 and x y."""
    x, y, xx, yy, xy = np.moveaxis(moments[..., 1:] / moments[..., :1], -1, 0)
    spread = (xx - x * x).clip(0) * (yy - y * y).clip(0)
    # rounding leaves a little variance in a constant
    varies = (xx - x * x > 1e-12 * xx) & (yy - y * y > 1e-12 * yy)
    return np.where(varies, (xy - x * y) / np.sqrt(np.where(varies, spread, 1.0)), np.nan)


def _interval(moments: Float[np.ndarray, "episodes 6"], groups: Sequence[np.ndarray]) -> list[float]:
    generator = np.random.default_rng(0)
    totals = np.zeros((_RESAMPLES, 6))
    for group in groups:
        number = int(group.sum())
        # how often each episode is drawn
        totals += generator.multinomial(number, np.full(number, 1 / number), size=_RESAMPLES) @ moments[group]
    drawn = _pearson(totals)
    known = drawn[np.isfinite(drawn)]
    return [float(end) for end in np.quantile(known, (0.025, 0.975))] if len(known) else [float("nan")] * 2
