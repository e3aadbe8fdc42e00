import pytest
import torch

from iqlightning.losses.divergences import Chi2, TotalVariation
from iqlightning.losses.iq import (
    BellmanTerms,
    ExpertStates,
    ExpertStatesAsInitial,
    InitialStates,
    inverse_reward,
    iq_loss,
)

EXPERT = BellmanTerms(
    torch.tensor([1.0, 3.0]), torch.tensor([2.0, 4.0]), torch.tensor([2.0, 9.0]), torch.tensor([False, True])
)


def test_reward_bootstraps_everywhere_but_at_terminal_states():
    reward = inverse_reward(torch.tensor([3.0, 3.0]), torch.tensor([2.0, 2.0]), torch.tensor([False, True]), 0.5)
    assert reward.tolist() == [2.0, 3.0]


def test_chi2_objective_by_hand():
    # r = 1 - 0.5 * 2 = 0 and 3; phi(r) = r - r^2 / 2 gives 0 and -1.5; drop of v: 2 - 1 = 1 and 4
    loss, scalars = iq_loss(EXPERT, None, None, Chi2(alpha=0.5), ExpertStates(), gamma=0.5)
    assert scalars["expert_term"].item() == pytest.approx(-0.75)
    assert scalars["value_term"].item() == pytest.approx(2.5)
    assert loss.item() == pytest.approx(3.25)


def test_initial_states_term_by_hand():
    term = InitialStates()(EXPERT, None, torch.tensor([2.0, 4.0]), gamma=0.9)
    assert term.item() == pytest.approx(0.3)


def test_expert_states_as_initial_average_v_over_the_expert():
    term = ExpertStatesAsInitial()(EXPERT, None, None, gamma=0.9)
    assert term.item() == pytest.approx(0.3)  # 0.1 x 3


def test_total_variation_is_the_identity_within_its_bound_and_falls_outside():
    divergence = TotalVariation(bound=0.5, penalty=5.0)
    assert divergence(torch.tensor([0.25, -0.5])).item() == pytest.approx(-0.125)
    assert divergence(torch.tensor([1.5])).item() == pytest.approx(1.5 - 5.0)
