"""The divergences against their definitions: conjugates, known divergences, the reference's weights."""

import math

import pytest
import torch

from iqlightning.errors import UserError
from iqlightning.losses.divergences import (
    Chi2,
    Chi2Mixture,
    Divergence,
    ForwardKL,
    Hellinger,
    Identity,
    JensenShannon,
    Penalized,
    PointwiseDivergence,
    ReverseKL,
    ReverseKLDual,
    ReverseKLFixed,
    TotalVariation,
    Wasserstein1,
)
from iqlightning.losses.divergences.gradient_penalty import GradientPenalty, interpolate
from iqlightning.losses.iq import BellmanTerms, ExpertStates, iq_loss
from iqlightning.losses.values import SoftValue
from iqlightning.types import Transition

CAPPED = [Hellinger(), JensenShannon(), ForwardKL(), ReverseKL(), ReverseKLFixed()]
CONJUGATES = [*CAPPED, Chi2(0.5), Chi2(1.0), TotalVariation(), TotalVariation(2.0, 0.3), Hellinger(100.0)]
POINTS = 10_000


def slope(divergence: PointwiseDivergence, rewards: torch.Tensor) -> torch.Tensor:
    rewards = rewards.detach().requires_grad_()
    return torch.autograd.grad(divergence.phi(rewards).sum(), rewards)[0]


def name(divergence: Divergence) -> str:
    return type(divergence).__name__


def distributions() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    expert, policy = torch.rand(2, POINTS, generator=generator, dtype=torch.float64).unbind(0)
    return expert / expert.sum(), (policy + 0.05) / (policy + 0.05).sum()


@pytest.mark.parametrize("divergence", CONJUGATES, ids=name)
def test_phi_is_the_negated_conjugate_of_its_generator(divergence: PointwiseDivergence):
    """Fenchel: phi(x) = f(t) + t x at t = phi'(x), and no t in [0, max_weight] gives less."""
    top = 2 * divergence.alpha if isinstance(divergence, Chi2) else 4.0
    rewards = torch.linspace(-5.0, top, POINTS, dtype=torch.float64)
    phi, t = divergence.phi(rewards), slope(divergence, rewards)
    inside = t >= 0  # beyond the barrier of total variation the slope is negative
    assert ((divergence.generator(t) + t * rewards - phi).abs()[inside] < 1e-9).all()
    assert (t <= divergence.max_weight * (1 + 1e-12)).all()
    for other in (0.01, 0.5, 1.0, 1.7, 9.9):
        ratio = torch.full_like(rewards, other)
        assert (divergence.generator(ratio) + ratio * rewards >= phi - 1e-9).all()


@pytest.mark.parametrize("divergence", [*CAPPED, Chi2(), TotalVariation()], ids=name)
def test_the_slope_at_the_guard_is_the_cap_and_phi_meets_its_tangent_smoothly(divergence: PointwiseDivergence):
    at = torch.tensor([divergence.where_slope_is(7.0)], dtype=torch.float64)
    capped = type(divergence)()
    capped.max_weight, capped.guard = 7.0, float(at)
    assert slope(capped, at).item() == pytest.approx(7.0)
    below, above = capped.phi(at - 1e-7), capped.phi(at + 1e-7)
    assert (above - below).item() / 2e-7 == pytest.approx(7.0, rel=1e-4)
    assert slope(capped, at - 5).item() == pytest.approx(7.0)


def test_the_divergences_are_the_ones_they_are_named_after():
    p, q = torch.tensor([0.2, 0.8], dtype=torch.float64), torch.tensor([0.5, 0.5], dtype=torch.float64)
    t = p / q

    def divergence(kind: PointwiseDivergence) -> float:
        return float((q * kind.generator(t)).sum())

    assert divergence(ForwardKL()) == pytest.approx(float((q * (q / p).log()).sum()))
    assert divergence(ReverseKL()) == pytest.approx(float((p * (p / q).log()).sum()))
    assert divergence(ReverseKLFixed()) == pytest.approx(divergence(ReverseKL()))
    assert divergence(Chi2(1.0)) == pytest.approx(0.36)  # 2 * 0.3^2 / 0.5
    assert divergence(Hellinger()) == pytest.approx(float((p.sqrt() - q.sqrt()).square().sum()))
    m = (p + q) / 2
    twice_js = float((p * (p / m).log() + q * (q / m).log()).sum())
    assert divergence(JensenShannon()) == pytest.approx(twice_js)
    assert divergence(TotalVariation(0.5, 1e9)) == pytest.approx(0.3)


def test_donsker_varadhan_reaches_the_divergence_at_the_log_ratio_and_nowhere_more():
    expert, policy = distributions()
    best = -(policy / expert).log()

    def objective(rewards: torch.Tensor) -> torch.Tensor:
        return ReverseKLDual()(rewards, expert_weights=expert * POINTS) - (policy * rewards).sum()

    divergence = (policy * (policy / expert).log()).sum()
    assert abs(objective(best) - divergence) < 1e-9
    assert abs(objective(best + 3.0) - divergence) < 1e-9
    assert objective(best + 0.1 * torch.randn(POINTS, dtype=torch.float64)) < divergence


def test_a_constant_counts_with_the_mass_of_the_weights_in_the_dual_form():
    rewards, weights = torch.tensor([0.3, -1.0, 2.0]), torch.tensor([1.0, 10.0, 1.0])
    dual = ReverseKLDual()
    moved = dual(rewards + 5.0, expert_weights=weights) - dual(rewards, expert_weights=weights)
    assert moved.item() == pytest.approx(5.0 * 4.0, rel=1e-5)
    # a transition that stands for two is the transition twice, with half as many in the mean
    twice = dual(torch.tensor([0.3, 2.0, 2.0]))
    assert dual(torch.tensor([0.3, 2.0]), expert_weights=torch.tensor([1.0, 2.0])).item() / 1.5 == pytest.approx(
        twice.item()
    )


def test_chi2_on_the_mixture_is_the_bounded_divergence_to_the_mixture():
    expert, policy = distributions()
    alpha = 0.5
    best = 4 * alpha * (expert - policy) / (expert + policy)

    def objective(rewards: torch.Tensor) -> torch.Tensor:
        weights = {"expert_weights": expert * POINTS, "policy_weights": policy * POINTS}
        return Chi2Mixture(alpha)(rewards, rewards, **weights) - (policy * rewards).sum()

    mixture = (expert + policy) / 2
    divergence = 4 * alpha * ((expert - mixture).square() / mixture).sum()
    assert abs(objective(best) - divergence) < 1e-9
    assert best.abs().max() <= 4 * alpha
    assert objective(best + 0.1 * torch.randn(POINTS, dtype=torch.float64)) < divergence


REFERENCE_WEIGHTS = {
    "Hellinger": lambda r: 1 / (1 + r) ** 2,
    "ReverseKL": lambda r: torch.exp(-r - 1),
    "ReverseKLFixed": lambda r: torch.exp(-r),
    "ReverseKLDual": lambda r: torch.softmax(-r, 0) * len(r),
    "JensenShannon": lambda r: torch.exp(-r) / (2 - torch.exp(-r)),
    "Identity": torch.ones_like,
}


@pytest.mark.parametrize(
    "divergence", [Hellinger(), ReverseKL(), ReverseKLFixed(), ReverseKLDual(), JensenShannon(), Identity()], ids=name
)
def test_gradients_equal_the_references_detached_weights(divergence: Divergence):
    rewards = torch.linspace(-0.5, 4, 1000, dtype=torch.float64, requires_grad=True)
    (ours,) = torch.autograd.grad(divergence(rewards), rewards)
    weights = REFERENCE_WEIGHTS[name(divergence)](rewards).detach()
    (theirs,) = torch.autograd.grad((weights * rewards).mean(), rewards)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)


@pytest.mark.parametrize("scale", [1.0, 1e4])
@pytest.mark.parametrize("divergence", [Identity(), Wasserstein1()], ids=name)
def test_a_linear_phi_with_the_expert_value_term_is_cloning(divergence: Divergence, scale: float):
    generator = torch.Generator().manual_seed(1)
    q = (scale * torch.randn(64, 4, generator=generator, dtype=torch.float64)).requires_grad_()
    next_v = scale * torch.randn(64, generator=generator, dtype=torch.float64)
    actions = torch.randint(4, (64,), generator=generator)
    value = SoftValue(0.5)
    terms = BellmanTerms(q.gather(1, actions[:, None])[:, 0], value(q), next_v, torch.rand(64) < 0.2)
    loss, _ = iq_loss(terms, None, None, divergence, ExpertStates(), 0.9)
    cloning = 0.5 * torch.nn.functional.cross_entropy(q / 0.5, actions)
    assert loss.item() == pytest.approx(cloning.item(), rel=1e-9)
    torch.testing.assert_close(torch.autograd.grad(loss, q)[0], torch.autograd.grad(cloning, q)[0])


def batch(obs: torch.Tensor) -> Transition:
    flags = torch.zeros(len(obs), dtype=torch.bool)
    return Transition(obs, torch.zeros(len(obs), dtype=torch.int64), obs, flags, flags)


def test_the_gradient_penalty_of_a_linear_q_by_hand():
    # Q = (3x + 4y, 0): gradient norms 5 and 0, so ((5 - 1)^2 + (0 - 1)^2) / 2 = 8.5, wherever the points are
    weights = torch.tensor([[3.0, 0.0], [4.0, 0.0]])
    penalty = GradientPenalty(weight=2.0)(lambda x, _: x @ weights, batch(torch.randn(8, 2)), None)
    assert penalty.item() == pytest.approx(17.0, rel=1e-4)
    # pixels up to 10 that the network divides by 10: the same function of what the network sees
    scaled = GradientPenalty(weight=2.0)(lambda x, _: x / 10 @ weights, batch(10 * torch.randn(8, 2)), None, scale=10.0)
    assert scaled.item() == pytest.approx(17.0, rel=1e-4)


def test_interpolated_points_lie_between_their_two_ends():
    points = interpolate(torch.zeros(4, 1), torch.full((6, 1), 8.0))
    assert points[:, 0].tolist() == [7.0, 5.0, 3.0, 1.0]


def test_images_of_bytes_are_interpolated_as_numbers():
    pictures = torch.randint(256, (4, 3, 2, 2), dtype=torch.uint8)
    penalty = GradientPenalty()(lambda x, _: x.flatten(1)[:, :2] / 255, batch(pictures), batch(pictures.flip(0)), 255.0)
    assert penalty.item() == pytest.approx(0.0, abs=1e-6)


def test_a_penalty_can_go_with_any_divergence():
    both = Penalized(Hellinger(5.0), weight=1.0)
    rewards = torch.linspace(-2, 2, 9)
    assert both(rewards) == Hellinger(5.0)(rewards)
    assert both.domain == Hellinger(5.0).domain
    nested = Penalized(Wasserstein1(weight=1.0), weight=2.0)
    weights = torch.tensor([[3.0], [4.0]])
    penalty = nested.penalty(lambda x, _: x @ weights, batch(torch.randn(4, 2)), None)
    assert penalty is not None
    assert penalty.item() == pytest.approx(48.0, rel=1e-4)


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: Chi2(0.0), "alpha of Chi2"),
        (lambda: Chi2Mixture(-1.0), "alpha of Chi2Mixture"),
        (lambda: Hellinger(1.0), "max_weight of Hellinger"),
        (lambda: TotalVariation(bound=0.0), "TotalVariation"),
        (lambda: Wasserstein1(-1.0), "gradient penalty"),
        (lambda: Chi2Mixture()(torch.zeros(2)), "Chi2Mixture reads rewards of the policy"),
    ],
)
def test_mistakes_are_named(build, named: str):
    with pytest.raises(UserError, match=named):
        build()


def test_no_cap_is_the_plain_function():
    rewards = torch.tensor([-0.9, 0.0, 1.0])
    assert Hellinger(math.inf).phi(rewards).tolist() == pytest.approx([-9.0, 0.0, 0.5], rel=1e-5)
