import math

import pytest
import torch

from iqlightning.evaluation.recorded_rewards import recorded_reward_metrics
from iqlightning.types import Trajectories


class Shaped:
    """Recovers what a table says of the state that is left."""

    def __init__(self, *rewards: float) -> None:
        self.table = torch.tensor(rewards)

    def rewards(self, obs, actions, next_obs, terminated):
        return self.table[obs[:, 0].long()]


def episodes(*rewards: float) -> Trajectories:
    """States 0, 1, 2 | 0, 1: the second episode repeats a transition of the first."""
    return Trajectories(
        observations=torch.tensor([0.0, 1.0, 2.0, 3.0, 0.0, 1.0, 3.0])[:, None],
        actions=torch.zeros(5, dtype=torch.int64),
        rewards=torch.tensor(rewards),
        starts=torch.tensor([0, 3, 5]),
        terminated=torch.tensor([True, True]),
        truncated=torch.tensor([False, False]),
    )


def test_correlations_by_hand():
    found = recorded_reward_metrics(Shaped(1.0, 2.0, 3.0), episodes(2.0, 1.0, 4.0, 2.0, 3.0))
    # distinct: 0 -> 1, 1 -> 2, 2 -> 3, 1 -> 3 with rewards 2, 1, 4, 3 and recovered 1, 2, 3, 2
    assert found["transitions"] == 4
    x, y = torch.tensor([1.0, 2.0, 3.0, 2.0]), torch.tensor([2.0, 1.0, 4.0, 3.0])
    assert found["transition_pearson"] == pytest.approx(float(torch.corrcoef(torch.stack([x, y]))[0, 1]), abs=1e-6)
    # ranks 1, 2.5, 4, 2.5 and 2, 1, 4, 3: products 3, squares 4.5 and 5
    assert found["transition_spearman"] == pytest.approx(3.0 / math.sqrt(4.5 * 5))
    # returns 6 and 3, recorded 7 and 5: two points lie on a line
    assert found["return_pearson"] == pytest.approx(1.0)
    assert found["episodes"] == 2


def test_a_constant_reward_has_no_correlation():
    found = recorded_reward_metrics(Shaped(1.0, 2.0, 3.0), episodes(1.0, 1.0, 1.0, 1.0, 1.0))
    assert math.isnan(found["transition_pearson"])
    assert found["return_pearson"] == pytest.approx(1.0)
