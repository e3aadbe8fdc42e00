import pytest
import torch

from iqlightning.losses.iq import BellmanTerms
from iqlightning.losses.sqil import sqil_loss

EXPERT = BellmanTerms(torch.tensor([3.0, 3.0]), torch.zeros(2), torch.tensor([2.0, 9.0]), torch.tensor([False, True]))
POLICY = BellmanTerms(torch.tensor([1.0]), torch.zeros(1), torch.tensor([4.0]), torch.tensor([False]))


def test_the_loss_by_hand():
    # expert: 3 - (1 + 0.5 * 2) = 1 and 3 - 1 = 2; policy: 1 - 0.5 * 4 = -1
    loss, scalars = sqil_loss(EXPERT, POLICY, 0.5, policy_weight=3.0)
    assert scalars["expert_error"].item() == pytest.approx(2.5)
    assert scalars["policy_error"].item() == pytest.approx(1.0)
    assert loss.item() == pytest.approx(5.5)


def test_an_absorbing_state_goes_on_paying():
    # the last step is worth 1 / (1 - 0.5) = 2: errors 1 and 1
    _, scalars = sqil_loss(EXPERT, POLICY, 0.5, absorbing_states=True)
    assert scalars["expert_error"].item() == pytest.approx(1.0)
    # in units of 3: 3 - (3 + 1) = -1 and 3 - 6 = -3
    _, scalars = sqil_loss(EXPERT, POLICY, 0.5, absorbing_states=True, expert_reward=3.0)
    assert scalars["expert_error"].item() == pytest.approx(5.0)


def test_no_gradient_flows_through_the_target():
    q_a, next_v = torch.tensor([1.0], requires_grad=True), torch.tensor([1.0], requires_grad=True)
    terms = BellmanTerms(q_a, torch.zeros(1), next_v, torch.tensor([False]))
    loss, _ = sqil_loss(terms, terms, 0.5)
    loss.backward()
    assert q_a.grad is not None
    assert next_v.grad is None
