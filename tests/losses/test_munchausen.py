"""The Munchausen target: by hand, its fixed point on a random Markov decision process, and what it refuses."""

import math

import pytest
import torch

from iqlightning.errors import UserError
from iqlightning.losses.munchausen import Munchausen


def test_the_reward_is_the_scaled_and_clipped_log_probability_of_the_action():
    term = Munchausen(weight=0.5, temperature=2.0, floor=-3.0)
    q = torch.tensor([[0.0, 2.0 * math.log(3.0)], [0.0, 100.0], [1.0, 1.0]], dtype=torch.float64)

    reward = term.reward(q, torch.tensor([0, 0, 1]))

    # pi = 1/4; a probability of almost zero, clipped; pi = 1/2
    assert reward.tolist() == pytest.approx([0.5 * 2 * math.log(0.25), 0.5 * -3.0, 0.5 * 2 * math.log(0.5)])


@pytest.mark.parametrize("weight", [0.0, 0.5, 0.9])
def test_iteration_ends_at_soft_optimal_values_of_a_lower_temperature_with_larger_gaps(weight: float):
    generator = torch.Generator().manual_seed(0)
    states, actions, gamma, temperature = 6, 3, 0.9, 0.2
    rewards = torch.rand(states, actions, generator=generator, dtype=torch.float64)
    moves = torch.rand(states, actions, states, generator=generator, dtype=torch.float64)
    moves /= moves.sum(-1, keepdim=True)
    term = Munchausen(weight, temperature, floor=-1e6)
    every_action = torch.arange(actions).repeat(states)

    q = torch.zeros(states, actions, dtype=torch.float64)
    for _ in range(2000):
        log_policy = term.reward(q.repeat_interleave(actions, 0), every_action).view(states, actions)
        q = rewards + log_policy + gamma * moves @ term.value(q)
    low = (1 - weight) * temperature
    soft = torch.zeros_like(q)
    for _ in range(2000):
        soft = rewards + gamma * moves @ (low * torch.logsumexp(soft / low, 1))
    value = low * torch.logsumexp(soft / low, 1, keepdim=True)

    torch.testing.assert_close(q, (soft - weight * value) / (1 - weight), rtol=0, atol=1e-9)
    gap, soft_gap = (table.max(1).values - table.min(1).values for table in (q, soft))
    torch.testing.assert_close(gap, soft_gap / (1 - weight), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"weight": 1.0}, "weight"),
        ({"weight": -0.1}, "weight"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"floor": 0.0}, "floor"),
    ],
)
def test_values_out_of_range_are_named(options: dict[str, float], word: str):
    with pytest.raises(UserError, match=f"the {word} of Munchausen"):
        Munchausen(**options)
