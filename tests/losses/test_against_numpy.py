"""Every loss against the same equation written in NumPy, in double precision, on batches of any size and scale."""

import math
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from iqlightning.agents.soft_q import SoftQ
from iqlightning.losses.divergences import (
    Chi2,
    Chi2Mixture,
    Divergence,
    ForwardKL,
    Hellinger,
    Identity,
    JensenShannon,
    ReverseKL,
    ReverseKLDual,
    ReverseKLFixed,
    TotalVariation,
)
from iqlightning.losses.iq import (
    BellmanTerms,
    ExpertAndPolicyStates,
    ExpertStates,
    InitialStates,
    ValueTerm,
    absorbed,
    inverse_reward,
    iq_loss,
)
from iqlightning.losses.ls_iq import ls_iq_loss
from iqlightning.losses.sqil import sqil_loss
from iqlightning.losses.td import td_loss, td_target
from iqlightning.losses.values import MaxValue, SoftValue

CASES = settings(max_examples=100, deadline=None, derandomize=True)
MANY_CASES = settings(CASES, max_examples=500)
MAX_WEIGHT = 10.0

Array = np.ndarray


class Part(NamedTuple):
    """Transitions in NumPy."""

    q: Array
    next_q: Array
    actions: Array
    terminated: Array

    @property
    def q_a(self) -> Array:
        return self.q[np.arange(len(self.q)), self.actions]


class Case(NamedTuple):
    """All that any of the losses reads."""

    expert: Part
    policy: Part
    initial_q: Array
    gamma: float
    temperature: float


@st.composite
def cases(draw: Any) -> Case:
    """Numbers from one seed: what hypothesis shrinks are sizes, scales and constants."""
    numbers = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    actions, scale = draw(st.integers(1, 6)), draw(st.sampled_from([1e-3, 0.1, 1.0, 10.0, 1e3]))
    offset = draw(st.sampled_from([0.0, -3.0, 50.0])) * scale

    def part(size: int) -> Part:
        q, next_q = numbers.normal(offset, scale, (2, size, actions))
        ended = numbers.random(size) < draw(st.sampled_from([0.0, 0.2, 1.0]))
        return Part(q, next_q, numbers.integers(actions, size=size), ended)

    return Case(
        part(draw(st.integers(1, 40))),
        part(draw(st.integers(1, 40))),
        numbers.normal(offset, scale, (draw(st.integers(1, 9)), actions)),
        draw(st.sampled_from([0.0, 0.5, 0.9, 0.99, 0.999])),
        draw(st.sampled_from([1e-3, 0.01, 0.3, 1.0, 20.0])),
    )


def close(ours: torch.Tensor, theirs: Any) -> None:
    assert ours.dtype == torch.float64
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-9, atol=1e-9)


def tensor(array: Array) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


# ---- the equations in NumPy


def soft(q: Array, temperature: float) -> Array:
    """Temperature x log of the sum of exp(q / temperature), with the largest taken out."""
    top = q.max(1)
    return top + temperature * np.log(np.exp((q - top[:, None]) / temperature).sum(1))


def bellman(values: Array, next_v: Array, terminated: Array, gamma: float) -> Array:
    return np.array([v - (0.0 if ended else gamma * w) for v, w, ended in zip(values, next_v, terminated, strict=True)])


def capped(phi: Any, slope: float, guard: float) -> Any:
    """Phi from ``guard`` on, the tangent there below."""

    def function(rewards: Array) -> Array:
        inside = np.maximum(rewards, guard)
        return phi(inside) + np.where(rewards < guard, slope * (rewards - guard), 0.0)

    return function


W = MAX_WEIGHT
PHI: dict[str, tuple[Divergence, Any]] = {
    "Identity": (Identity(), lambda r: r),
    "Chi2": (Chi2(0.5), lambda r: r - r**2 / 2),
    "TotalVariation": (TotalVariation(0.5, 5.0), lambda r: r - 5 * np.maximum(np.abs(r) - 0.5, 0) ** 2),
    "Hellinger": (Hellinger(W), capped(lambda r: r / (1 + r), W, 1 / math.sqrt(W) - 1)),
    "JensenShannon": (
        JensenShannon(W),
        capped(lambda r: np.log(2 - np.exp(-r)), W, math.log((1 + 1 / W) / 2)),
    ),
    "ForwardKL": (ForwardKL(W), capped(lambda r: 1 + np.log(r), W, 1 / W)),
    "ReverseKL": (ReverseKL(W), capped(lambda r: -np.exp(-r - 1), W, -1 - math.log(W))),
    "ReverseKLFixed": (ReverseKLFixed(W), capped(lambda r: 1 - np.exp(-r), W, -math.log(W))),
}


def terms(part: Part, temperature: float) -> BellmanTerms:
    value = SoftValue(temperature)
    return BellmanTerms(tensor(part.q_a), value(tensor(part.q)), value(tensor(part.next_q)), tensor(part.terminated))


def rewards_of(part: Part, case: Case) -> Array:
    return bellman(part.q_a, soft(part.next_q, case.temperature), part.terminated, case.gamma)


def drops_of(part: Part, case: Case) -> Array:
    v, next_v = soft(part.q, case.temperature), soft(part.next_q, case.temperature)
    return bellman(v, next_v, part.terminated, case.gamma)


@CASES
@given(cases())
def test_values(case: Case):
    q = tensor(case.expert.q)
    close(SoftValue(case.temperature)(q), soft(case.expert.q, case.temperature))
    close(MaxValue()(q), case.expert.q.max(1))


@CASES
@given(cases())
def test_recovered_rewards_and_absorbing_states(case: Case):
    part = case.expert
    next_v = part.next_q.max(1)
    ours = inverse_reward(tensor(part.q_a), tensor(next_v), tensor(part.terminated), case.gamma)
    theirs = bellman(part.q_a, next_v, part.terminated, case.gamma)
    close(ours, theirs)
    each, weights = absorbed(ours, tensor(part.terminated), case.gamma)
    close(each, [r * (1 - case.gamma) if ended else r for r, ended in zip(theirs, part.terminated, strict=True)])
    close(weights, [1 / (1 - case.gamma) if ended else 1.0 for ended in part.terminated])


@MANY_CASES
@given(cases(), st.sampled_from(sorted(PHI)), st.sampled_from(["initial", "expert", "both"]), st.booleans())
def test_the_inverse_soft_q_objective(case: Case, name: str, term: str, absorbing: bool):
    divergence, phi = PHI[name]
    expert, policy = terms(case.expert, case.temperature), terms(case.policy, case.temperature)
    choices: dict[str, ValueTerm] = {
        "initial": InitialStates(),
        "expert": ExpertStates(),
        "both": ExpertAndPolicyStates(),
    }
    initial_v = SoftValue(case.temperature)(tensor(case.initial_q))
    loss, scalars = iq_loss(expert, policy, initial_v, divergence, choices[term], case.gamma, absorbing)
    rewards, weights = rewards_of(case.expert, case), np.ones(len(case.expert.q))
    if absorbing:
        rewards = np.where(case.expert.terminated, (1 - case.gamma) * rewards, rewards)
        weights = np.where(case.expert.terminated, 1 / (1 - case.gamma), weights)
    with np.errstate(all="ignore"):
        expert_term = (weights * phi(rewards)).mean()
    value_term = {
        "initial": (1 - case.gamma) * soft(case.initial_q, case.temperature).mean(),
        "expert": drops_of(case.expert, case).mean(),
        "both": np.concatenate([drops_of(case.expert, case), drops_of(case.policy, case)]).mean(),
    }[term]
    close(scalars["expert_term"], expert_term)
    close(scalars["value_term"], value_term)
    size = max(abs(value_term), abs(expert_term), 1.0)
    assert abs(loss.item() - (value_term - expert_term)) <= 1e-9 * size


@CASES
@given(cases())
def test_the_divergences_that_are_no_mean_over_points(case: Case):
    expert, policy = rewards_of(case.expert, case), rewards_of(case.policy, case)
    ours = Chi2Mixture(0.7)(tensor(expert), tensor(policy))
    close(ours, expert.mean() - ((expert**2).mean() + (policy**2).mean()) / 2 / (4 * 0.7))
    low = expert.min()
    close(ReverseKLDual()(tensor(expert)), low - np.log(np.exp(low - expert).mean()))


@CASES
@given(cases())
def test_cloning(case: Case):
    part = case.expert
    table: Any = SimpleNamespace(q_values=lambda obs: tensor(part.q), temperature=case.temperature)
    table.log_probs = partial(SoftQ.log_probs, table)
    ours = -SoftQ.log_prob(table, torch.zeros(len(part.q), 1), tensor(part.actions)).mean()
    close(ours, ((soft(part.q, case.temperature) - part.q_a) / case.temperature).mean())


@CASES
@given(cases(), st.integers(1, 4))
def test_temporal_differences(case: Case, longest: int):
    part = case.expert
    next_v = part.next_q.max(1)
    rewards, steps = part.q[:, 0], 1 + part.actions % longest
    ours = td_target(tensor(rewards), tensor(next_v), tensor(part.terminated), case.gamma, tensor(steps))
    theirs = rewards + np.where(part.terminated, 0.0, case.gamma ** steps.astype(float) * next_v)
    close(ours, theirs)
    error = np.abs(part.q_a - theirs)
    close(td_loss(tensor(part.q_a), ours), np.where(error < 1, error**2 / 2, error - 0.5).mean())
    single = td_target(tensor(rewards), tensor(next_v), tensor(part.terminated), case.gamma)
    close(single, rewards + np.where(part.terminated, 0.0, case.gamma * next_v))


@CASES
@given(cases(), st.booleans())
def test_soft_q_imitation(case: Case, absorbing: bool):
    loss, _ = sqil_loss(
        terms(case.expert, case.temperature), terms(case.policy, case.temperature), case.gamma, 0.3, absorbing
    )
    paid = np.where(case.expert.terminated & absorbing, 1 / (1 - case.gamma), 1.0)
    expert = ((rewards_of(case.expert, case) - paid) ** 2).mean()
    close(loss, expert + 0.3 * (rewards_of(case.policy, case) ** 2).mean())


@CASES
@given(cases(), st.booleans(), st.booleans(), st.booleans())
def test_least_squares(case: Case, clip: bool, fixed: bool, absorbing: bool):
    c = 0.4
    bound = 1 / (c * (1 - case.gamma))
    loss, _ = ls_iq_loss(
        terms(case.expert, case.temperature),
        terms(case.policy, case.temperature),
        c,
        case.gamma,
        clip_targets=clip,
        fixed_expert_target=fixed,
        absorbing_states=absorbing,
    )
    rewards, drops, ended = [], [], []
    for part in (case.expert, case.policy):
        next_v = soft(part.next_q, case.temperature)
        next_v = np.clip(next_v, -bound, bound) if clip else next_v
        rewards.append(bellman(part.q_a, next_v, part.terminated, case.gamma))
        drops.append(bellman(soft(part.q, case.temperature), next_v, part.terminated, case.gamma))
        ended.append(part.terminated)
    expert_term = -((case.expert.q_a - bound) ** 2).mean() if fixed else rewards[0].mean()
    squares = np.concatenate(rewards) ** 2
    if absorbing:
        squares = np.where(np.concatenate(ended), (1 - case.gamma) * squares, squares)
    theirs = np.concatenate(drops).mean() - expert_term + c * squares.mean()
    assert loss.item() == pytest.approx(theirs, rel=1e-9, abs=1e-9 * max(1.0, abs(expert_term)))


@CASES
@given(cases())
def test_a_gradient_is_the_difference_quotient(case: Case):
    """The whole IQ-Learn loss, chi2 with value term on expert states, along a random direction."""
    direction = np.random.default_rng(0).normal(size=case.expert.q.shape)
    scale = max(1e-3, np.abs(case.expert.q).max(), case.temperature)

    def loss_at(q: Array) -> float:
        moved = case._replace(expert=case.expert._replace(q=q))
        rewards = rewards_of(moved.expert, moved)
        return float(drops_of(moved.expert, moved).mean() - (rewards - rewards**2 / 2).mean())

    q = tensor(case.expert.q).requires_grad_()
    value, chosen = SoftValue(case.temperature), tensor(case.expert.actions)
    expert = BellmanTerms(
        q.gather(1, chosen[:, None])[:, 0], value(q), value(tensor(case.expert.next_q)), tensor(case.expert.terminated)
    )
    loss, _ = iq_loss(expert, None, None, Chi2(0.5), ExpertStates(), case.gamma)
    (gradient,) = torch.autograd.grad(loss, q)
    step = 1e-6 * min(case.temperature, 1.0)
    quotient = (loss_at(case.expert.q + step * direction) - loss_at(case.expert.q - step * direction)) / (2 * step)
    exact = float((gradient.numpy() * direction).sum())
    # rounding of a difference of numbers of the size of the loss, over the step
    rounding = 1e-15 * max(1.0, scale**2) / step
    assert exact == pytest.approx(quotient, rel=1e-4, abs=1e-4 + 20 * rounding)
