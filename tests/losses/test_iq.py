import pytest
import torch

from iqlightning.losses.divergences import Chi2, Identity, TotalVariation
from iqlightning.losses.iq import (
    BellmanTerms,
    ExpertAndPolicyStates,
    ExpertStates,
    ExpertStatesAsInitial,
    InitialStates,
    inverse_reward,
    iq_loss,
)
from iqlightning.losses.values import MaxValue, SoftValue


def terms(seed: int, size: int = 64, temperature: float = 0.3) -> tuple[BellmanTerms, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    q = torch.randn(size, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    next_q = torch.randn(size, 4, generator=generator, dtype=torch.float64)
    actions = torch.randint(4, (size,), generator=generator)
    terminated = torch.rand(size, generator=generator) < 0.3
    value = SoftValue(temperature)
    return BellmanTerms(q.gather(1, actions[:, None])[:, 0], value(q), value(next_q), terminated), q, actions


def test_reward_bootstraps_everywhere_but_at_terminal_states():
    reward = inverse_reward(torch.tensor([3.0, 3.0]), torch.tensor([2.0, 2.0]), torch.tensor([False, True]), 0.5)
    assert reward.tolist() == [2.0, 3.0]


def test_chi2_objective_by_hand():
    # r = 1 - 0.5 * 2 = 0 and 3; phi(r) = r - r^2 / 2 gives 0 and -1.5; drop of v: 2 - 1 = 1 and 4
    expert = BellmanTerms(
        torch.tensor([1.0, 3.0]), torch.tensor([2.0, 4.0]), torch.tensor([2.0, 9.0]), torch.tensor([False, True])
    )
    loss, scalars = iq_loss(expert, None, None, Chi2(alpha=0.5), ExpertStates(), gamma=0.5)
    assert scalars["expert_term"].item() == pytest.approx(-0.75)
    assert scalars["value_term"].item() == pytest.approx(2.5)
    assert loss.item() == pytest.approx(3.25)


def test_initial_states_term_by_hand():
    expert, _, _ = terms(0)
    term = InitialStates()(expert, None, torch.tensor([2.0, 4.0]), gamma=0.9)
    assert term.item() == pytest.approx(0.3)


def test_expert_states_as_initial_average_v_over_the_expert():
    expert = BellmanTerms(*(torch.tensor([1.0, 2.0]) for _ in range(3)), terminated=torch.tensor([False, True]))
    term = ExpertStatesAsInitial()(expert._replace(v=torch.tensor([3.0, 5.0])), None, None, gamma=0.9)
    assert term.item() == pytest.approx(0.4)  # 0.1 x 4


def test_expert_and_policy_states_are_averaged_together():
    expert, _, _ = terms(0, size=10)
    policy, _, _ = terms(1, size=30)
    together = ExpertAndPolicyStates()(expert, policy, None, 0.9)
    by_hand = (10 * expert.value_drop(0.9).mean() + 30 * policy.value_drop(0.9).mean()) / 40
    assert together.item() == pytest.approx(by_hand.item())


@pytest.mark.parametrize("gamma", [0.0, 0.9, 0.99])
def test_identity_phi_with_the_expert_value_term_is_cloning_at_the_temperature(gamma: float):
    expert, q, actions = terms(2, temperature=0.3)
    loss, _ = iq_loss(expert, None, None, Identity(), ExpertStates(), gamma)
    cloning = 0.3 * torch.nn.functional.cross_entropy(q / 0.3, actions)
    assert loss.item() == pytest.approx(cloning.item(), abs=1e-12)


def test_study_loss_with_hard_maximum_is_a_perceptron_loss_that_a_constant_q_minimises():
    q = torch.full((8, 4), 7.0)
    actions = torch.arange(8) % 4
    value = MaxValue()
    expert = BellmanTerms(q.gather(1, actions[:, None])[:, 0], value(q), value(q), torch.zeros(8, dtype=torch.bool))
    loss, _ = iq_loss(expert, None, None, Identity(), ExpertStates(), 0.9)
    assert loss.item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("divergence", [Identity(), Chi2(0.5), TotalVariation()])
def test_expert_term_is_concave_and_its_gradient_checks(divergence: torch.nn.Module):
    rewards = torch.linspace(-3, 3, 10_001, dtype=torch.float64)
    phi = torch.stack([divergence(r[None]) for r in rewards[::100]])
    assert (phi[2:] - 2 * phi[1:-1] + phi[:-2] <= 1e-9).all()
    points = torch.tensor([-1.3, -0.2, 0.1, 0.9], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(divergence, points)


def test_total_variation_is_the_identity_within_its_bound_and_falls_outside():
    divergence = TotalVariation(bound=0.5, penalty=5.0)
    assert divergence(torch.tensor([0.25, -0.5])).item() == pytest.approx(-0.125)
    assert divergence(torch.tensor([1.5])).item() == pytest.approx(1.5 - 5.0)


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_soft_value_lies_between_maximum_and_maximum_plus_entropy_for_large_logits(scale: float):
    q = torch.randn(100, 4) * scale
    gap = SoftValue(0.5)(q) - MaxValue()(q)
    assert (gap >= -1e-2).all()
    assert (gap <= 0.5 * torch.log(torch.tensor(4.0)) + 1e-2).all()
