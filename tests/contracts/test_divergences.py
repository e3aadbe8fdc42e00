"""What every divergence promises, run on every one found in the package."""

import math

import pytest
import torch
from families import members

from iqlightning.losses import divergences
from iqlightning.losses.divergences import Chi2, Divergence, Penalized
from iqlightning.losses.iq import BellmanTerms, ExpertStates, iq_loss
from iqlightning.losses.values import SoftValue
from iqlightning.types import Transition

FOUND = [each(Chi2()) if each is Penalized else each() for each in members(Divergence, divergences)]


def name(divergence: Divergence) -> str:
    return type(divergence).__name__


def rewards(count: int = 200, low: float = -1.5, high: float = 2.5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return low + (high - low) * torch.rand(count, generator=generator, dtype=torch.float64)


def policy_rewards(divergence: Divergence, count: int = 7) -> torch.Tensor | None:
    return torch.linspace(-1, 1, count, dtype=torch.float64) if divergence.needs_policy_data else None


def test_the_search_finds_the_family():
    names = {name(d) for d in FOUND}
    assert {"Chi2", "Chi2Mixture", "TotalVariation", "Hellinger", "JensenShannon", "ForwardKL", "ReverseKL"} <= names
    assert {"ReverseKLFixed", "ReverseKLDual", "Wasserstein1", "Identity"} <= names
    assert set(divergences.__all__) >= names


@pytest.mark.parametrize("divergence", FOUND, ids=name)
def test_is_a_scalar_whose_gradient_checks(divergence: Divergence):
    points = rewards(9).requires_grad_()
    others = policy_rewards(divergence)
    assert divergence(points, others).shape == ()
    assert torch.autograd.gradcheck(lambda r: divergence(r, others), points)


@pytest.mark.parametrize("divergence", FOUND, ids=name)
def test_is_concave(divergence: Divergence):
    a, b = rewards(50), rewards(100)[50:]
    others = policy_rewards(divergence)
    for share in (0.1, 0.5, 0.9):
        chord = share * divergence(a, others) + (1 - share) * divergence(b, others)
        assert divergence(share * a + (1 - share) * b, others) >= chord - 1e-12


@pytest.mark.parametrize("divergence", FOUND, ids=name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_stays_finite_and_differentiable_up_to_ten_thousand(divergence: Divergence, dtype: torch.dtype):
    points = torch.tensor([-1e4, -100.0, -1.0, -math.log(2), 0.0, 1.0, 100.0, 1e4], dtype=dtype, requires_grad=True)
    others = policy_rewards(divergence)
    value = divergence(points, None if others is None else others.to(dtype))
    value.backward()
    assert value.isfinite()
    assert points.grad is not None
    assert points.grad.isfinite().all()


@pytest.mark.parametrize("divergence", FOUND, ids=name)
@pytest.mark.parametrize("absorbing", [False, True])
@pytest.mark.parametrize("temperature", [0.01, 1.0])
def test_the_whole_objective_stays_finite_for_logits_up_to_ten_thousand(
    divergence: Divergence, absorbing: bool, temperature: float
):
    generator = torch.Generator().manual_seed(2)
    value, terms, leaves = SoftValue(temperature), [], []
    for _ in range(2):
        q = (1e4 * (2 * torch.rand(16, 4, generator=generator) - 1)).requires_grad_()
        next_q = (1e4 * (2 * torch.rand(16, 4, generator=generator) - 1)).requires_grad_()
        leaves += [q, next_q]
        terms.append(BellmanTerms(q[:, 0], value(q), value(next_q), torch.arange(16) % 4 == 0))
    expert, policy = terms
    loss, scalars = iq_loss(expert, policy, None, divergence, ExpertStates(), 0.99, absorbing)
    assert loss.isfinite()
    assert all(scalar.isfinite() for scalar in scalars.values())
    for gradient in torch.autograd.grad(loss, leaves, allow_unused=True):
        assert gradient is None or gradient.isfinite().all()


@pytest.mark.parametrize("divergence", FOUND, ids=name)
def test_weights_of_one_change_nothing_and_a_weight_of_two_counts_twice(divergence: Divergence):
    points, others = rewards(6), policy_rewards(divergence, 6)
    plain = divergence(points, others)
    ones = torch.ones_like(points)
    weighted = divergence(
        points, others, expert_weights=ones, policy_weights=None if others is None else torch.ones_like(others)
    )
    torch.testing.assert_close(weighted, plain)
    if others is None:
        half_zero = torch.cat([points[:3], points[:3]])
        weights = torch.cat([2 * ones[:3], 1e-30 * ones[:3]])
        torch.testing.assert_close(divergence(half_zero, expert_weights=weights), divergence(points[:3]))


@pytest.mark.parametrize("divergence", FOUND, ids=name)
def test_reports_the_share_at_its_guard(divergence: Divergence):
    far = torch.tensor([-1e4, 1e3, 1e3, 1e3])
    low, high = divergence.domain
    expected = (0.0 if math.isinf(low) else 0.25) + (0.0 if math.isinf(high) else 0.75)
    assert divergence.guarded(far).item() == expected
    assert divergence.guarded(torch.full((3,), 0.4)).item() == 0.0


@pytest.mark.parametrize("divergence", FOUND, ids=name)
def test_a_penalty_is_nothing_or_a_scalar_that_reaches_the_weights(divergence: Divergence):
    network = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    flags = torch.zeros(6, dtype=torch.bool)
    batch = Transition(torch.randn(6, 3), torch.zeros(6, dtype=torch.int64), torch.randn(6, 3), flags, flags)
    for policy in (None, batch._replace(obs=torch.randn(4, 3))):
        penalty = divergence.penalty(lambda obs, _: network(obs), batch, policy)
        if penalty is not None:
            network.zero_grad()
            penalty.backward()
            assert penalty.shape == ()
            assert penalty >= 0
            assert all(p.grad is not None and p.grad.any() for p in list(network.parameters())[:3])
