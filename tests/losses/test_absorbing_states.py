import pytest
import torch

from iqlightning.losses.divergences import Chi2, Chi2Mixture
from iqlightning.losses.iq import BellmanTerms, ExpertStates, absorbed, iq_loss

TERMS = BellmanTerms(
    q_a=torch.tensor([1.0, 4.0]),
    v=torch.tensor([1.0, 4.0]),
    next_v=torch.tensor([2.0, 9.0]),
    terminated=torch.tensor([False, True]),
)


def test_a_terminal_reward_is_spread_over_the_steps_that_follow():
    rewards, weights = absorbed(torch.tensor([3.0, 4.0]), torch.tensor([False, True]), 0.75)
    assert rewards.tolist() == [3.0, 1.0]
    assert weights.tolist() == [1.0, 4.0]


def test_chi2_penalises_a_terminal_reward_one_minus_gamma_times_as_much():
    # r = 0 and 4: without, 4 - 16 / 2; with absorbing states r_A = 2, twice: 2 (2 - 4 / 2) = 0
    plain, scalars = iq_loss(TERMS, None, None, Chi2(0.5), ExpertStates(), 0.5)
    assert scalars["expert_term"].item() == pytest.approx((4 - 8) / 2)
    absorbing, scalars = iq_loss(TERMS, None, None, Chi2(0.5), ExpertStates(), 0.5, absorbing_states=True)
    assert scalars["expert_term"].item() == pytest.approx((4 - 0.5 * 8) / 2)
    assert absorbing < plain


def test_the_policys_terminal_rewards_are_spread_too():
    _, scalars = iq_loss(TERMS, TERMS, None, Chi2Mixture(0.5), ExpertStates(), 0.5, absorbing_states=True)
    # mean r = 2; squares 0 and 2 * 2^2 = 8 in both halves, mean 4, over 4 alpha = 2
    assert scalars["expert_term"].item() == pytest.approx(2 - 2)
