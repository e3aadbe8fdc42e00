import math
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.evaluation.reward_correlation import (
    PartlyRandom,
    RewardPairs,
    reward_correlations,
    reward_pairs,
)
from iqlightning.keyed import Stream


class Upright:
    """Pushes with all it has, and recovers the true reward of the pendulum, in other units."""

    def act(self, observations, *, sample=False):
        return torch.full((len(observations), 1), 2.0)

    def rewards(self, obs, actions, next_obs, terminated, *, keys=None):
        angle = torch.atan2(obs[:, 1], obs[:, 0])
        cost = angle.square() + 0.1 * obs[:, 2].square() + 0.001 * actions[:, 0].square()
        return 3.0 - 0.5 * cost


@pytest.mark.parametrize("space", [spaces.Discrete(5), spaces.Box(-1.0, 1.0, (2,))])
def test_a_share_of_the_moves_is_random_and_keyed(space):
    class Still:
        def act(self, observations: Any, *, sample: bool = False) -> torch.Tensor:
            discrete = isinstance(space, spaces.Discrete)
            return torch.full((1000,), 9) if discrete else torch.full((1000, 2), 9.0)

    obs, keys = torch.zeros(1000, 3), (Stream.SAMPLE, 0, torch.arange(1000), 1)

    def own(share: float) -> float:
        drawn = PartlyRandom(Still(), space, share).draw(obs, keys)
        return float((drawn == 9).float().mean())

    assert [own(0.0), own(1.0)] == [1.0, 0.0]
    assert own(0.25) == pytest.approx(0.75, abs=0.05)
    twice = [PartlyRandom(Still(), space, 0.5).draw(obs, keys) for _ in range(2)]
    assert torch.equal(*twice)


def test_a_reward_that_is_the_true_one_in_other_units_correlates_perfectly():
    env: Any = GymnasiumConfig("Pendulum-v1")
    pairs = reward_pairs(Upright(), env, 2, seed=3, shares=(0.0, 1.0))
    assert pairs.shares.tolist() == [0.0, 0.0, 1.0, 1.0]
    assert pairs.moments[:, 0].tolist() == [200.0] * 4
    # episodes of one length: returns are related as rewards are
    assert pairs.recovered == pytest.approx(3.0 * 200 + 0.5 * pairs.returns, rel=1e-3)
    figures = reward_correlations(pairs)
    assert figures["reward_correlation_episodes"] == pytest.approx(1.0, abs=1e-4)
    assert figures["reward_correlation_transitions"] == pytest.approx(1.0, abs=1e-4)
    shares = figures["reward_correlation_shares"]
    assert [row["share"] for row in shares] == [0.0, 1.0]
    assert shares[0]["mean_return"] == pytest.approx(pairs.returns[:2].mean())
    again = reward_pairs(Upright(), env, 2, seed=3, shares=(0.0, 1.0))
    assert np.array_equal(again.moments, pairs.moments)


def pairs_of(x: list[list[float]], y: list[list[float]]) -> RewardPairs:
    """Episodes of given true and recovered rewards, half of them of each share."""
    moments = np.array(
        [
            [len(a), sum(a), sum(b), *(np.dot(p, q) for p, q in ((a, a), (b, b), (a, b)))]
            for a, b in zip(x, y, strict=True)
        ]
    )
    shares = np.repeat([0.0, 1.0], len(x) // 2)
    return RewardPairs(shares, moments[:, 1], moments[:, 2], moments)


def test_correlations_are_those_of_all_transitions_and_of_returns():
    generator = np.random.default_rng(0)
    x = [generator.normal(size=generator.integers(3, 9)).tolist() for _ in range(40)]
    y = [(0.5 * np.array(each) + generator.normal(size=len(each))).tolist() for each in x]
    figures = reward_correlations(pairs_of(x, y))
    expected = {
        "transitions": np.corrcoef(np.concatenate(x), np.concatenate(y))[0, 1],
        "episodes": np.corrcoef([sum(each) for each in x], [sum(each) for each in y])[0, 1],
    }
    for name, value in expected.items():
        assert figures[f"reward_correlation_{name}"] == pytest.approx(value)
        low, high = figures[f"reward_correlation_{name}_ci95"]
        assert -1 <= low < value < high <= 1
    # episodes are what is drawn: 40 of them say less than hundreds of transitions
    low, high = figures["reward_correlation_transitions_ci95"]
    assert high - low < np.diff(figures["reward_correlation_episodes_ci95"])


def test_a_reward_that_never_varies_has_no_correlation():
    figures = reward_correlations(pairs_of([[0.1] * 5] * 4, [[1.0, 2.0, 3.0, 4.0, 5.0]] * 4))
    assert math.isnan(figures["reward_correlation_transitions"])
    assert all(math.isnan(end) for end in figures["reward_correlation_episodes_ci95"])
