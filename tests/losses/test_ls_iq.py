import pytest
import torch

from iqlightning.errors import UserError
from iqlightning.losses.divergences import Chi2Mixture
from iqlightning.losses.iq import BellmanTerms, ExpertAndPolicyStates, iq_loss
from iqlightning.losses.ls_iq import RewardBounds, ls_iq_loss


def terms(seed: int, size: int = 32) -> BellmanTerms:
    generator = torch.Generator().manual_seed(seed)
    q_a, v, next_v = torch.randn(3, size, generator=generator, dtype=torch.float64).unbind(0)
    return BellmanTerms(q_a, v, next_v, torch.rand(size, generator=generator) < 0.3)


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


def test_a_fixed_expert_target_pulls_to_the_largest_return_and_bootstraps_nothing():
    expert, policy = terms(0), terms(1)
    _, scalars = ls_iq_loss(expert, policy, 0.5, 0.9, fixed_expert_target=True)
    assert scalars["expert_term"].item() == pytest.approx(-(expert.q_a - 20).square().mean().item())


def test_without_its_treatments_it_is_iq_learn_with_chi2_on_the_mixture():
    expert, policy = terms(0), terms(1)
    ours, _ = ls_iq_loss(expert, policy, 0.5, 0.9, clip_targets=False, absorbing_states=False)
    theirs, _ = iq_loss(expert, policy, None, Chi2Mixture(alpha=0.5), ExpertAndPolicyStates(), 0.9)
    assert ours.item() == pytest.approx(theirs.item())
    ours, _ = ls_iq_loss(expert, policy, 0.5, 0.9, clip_targets=False, absorbing_states=True)
    theirs, _ = iq_loss(expert, policy, None, Chi2Mixture(alpha=0.5), ExpertAndPolicyStates(), 0.9, True)
    assert ours.item() == pytest.approx(theirs.item())
