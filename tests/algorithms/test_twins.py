"""Twin Q of the online algorithms: each copy learns, the smallest counts."""

from typing import Any

import pytest
import torch

from iqlightning.algorithms import LSIQ, SQIL
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.nets.encoders import MLP
from iqlightning.types import Batch, Transition


def transitions(seed: int, size: int = 16) -> Transition:
    generator = torch.Generator().manual_seed(seed)
    obs, next_obs = torch.randint(2, (2, size, 3, 4, 4), generator=generator, dtype=torch.uint8).unbind(0)
    actions = torch.randint(4, (size,), generator=generator)
    return Transition(obs, actions, next_obs, torch.rand(size, generator=generator) < 0.2, torch.zeros(size).bool())


def built(kind: Any, **options: Any) -> Any:
    model = kind(lambda shape: MLP(shape, hidden=(16,)), seed=1, **options)
    model.build(GridWorldConfig(level="static", height=4, width=4, num_walls=2))
    return model


BATCH = Batch(expert=transitions(0), policy=transitions(1))


@pytest.mark.parametrize("kind", [LSIQ, SQIL])
def test_every_copy_gets_a_gradient(kind: Any):
    twins = built(kind, copies=2)
    twins.objective(BATCH).loss.backward()
    for parameters in (twins.agent.network.head.parameters(), twins.agent.network.others.parameters()):
        assert all(weights.grad is not None and weights.grad.any() for weights in parameters)


@pytest.mark.parametrize("kind", [LSIQ, SQIL])
def test_two_equal_copies_are_one_network(kind: Any):
    one, twins = built(kind), built(kind, copies=2)
    twins.agent.network.others[0].load_state_dict(one.agent.network.state_dict())
    twins.agent.target_network.load_state_dict(twins.agent.network.state_dict())
    assert twins.objective(BATCH).loss.item() == pytest.approx(one.objective(BATCH).loss.item(), rel=1e-6)
    ours, theirs = (model.objective(BATCH).diagnostics() for model in (one, twins))
    assert {name: value.item() for name, value in ours.items()} == pytest.approx(
        {name: value.item() for name, value in theirs.items()}, rel=1e-5
    )


def test_the_smaller_q_is_the_policys():
    twins = built(LSIQ, copies=2)
    observations = transitions(2).obs
    assert torch.equal(twins.agent.network(observations), twins.agent.network.each(observations).amin(0))
