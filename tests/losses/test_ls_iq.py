import pytest
import torch

from iqlightning.errors import UserError
from iqlightning.losses.iq import BellmanTerms
from iqlightning.losses.ls_iq import RewardBounds, ls_iq_loss


def one(q_a: float, v: float, next_v: float, terminated: bool) -> BellmanTerms:
    return BellmanTerms(torch.tensor([q_a]), torch.tensor([v]), torch.tensor([next_v]), torch.tensor([terminated]))


def test_the_bounds_by_hand():
    assert RewardBounds.of(0.5, 0.9) == pytest.approx((2.0, 20.0))
    with pytest.raises(UserError, match="weight c"):
        RewardBounds.of(0.0, 0.9)


def test_the_loss_by_hand():
    expert, policy = one(3.0, 4.0, 2.0, False), one(1.0, 2.0, 9.0, True)
    # gamma 0.5, c 1: Q within 2; r = 3 - 0.5 * 2 = 2 and 1; drops 4 - 1 = 3 and 2
    loss, scalars = ls_iq_loss(expert, policy, 1.0, 0.5)
    assert scalars["expert_term"].item() == 2.0
    assert scalars["value_term"].item() == 2.5
    assert scalars["reward_penalty"].item() == pytest.approx((4 + 0.5 * 1) / 2)
    assert loss.item() == pytest.approx(2.5 - 2 + 2.25)
    _, plain = ls_iq_loss(expert, policy, 1.0, 0.5, absorbing_states=False)
    assert plain["reward_penalty"].item() == pytest.approx((4 + 1) / 2)


def test_targets_are_clipped_to_what_returns_can_be():
    far = one(0.0, 0.0, 50.0, False)
    _, clipped = ls_iq_loss(far, far, 1.0, 0.5)
    _, free = ls_iq_loss(far, far, 1.0, 0.5, clip_targets=False)
    assert clipped["expert_term"].item() == -1.0
    assert free["expert_term"].item() == -25.0
