"""An absorbing state of its own: what an ended episode leads to, and how much it counts."""

import gymnasium
import numpy as np
import pytest
import torch

from iqlightning.agents.soft_actor_critic import SoftActorCritic
from iqlightning.errors import UserError
from iqlightning.losses.divergences import Chi2
from iqlightning.losses.iq import ExpertStates, iq_loss
from iqlightning.policies import AgentPolicy
from iqlightning.spaces import Spaces
from iqlightning.types import Transition

GAMMA = 0.9


@pytest.fixture
def agent() -> SoftActorCritic:
    spaces = Spaces(gymnasium.spaces.Box(-np.inf, np.inf, (3,)), gymnasium.spaces.Box(-1, 1, (2,)))
    torch.manual_seed(0)
    return SoftActorCritic(spaces, hidden=(8,), copies=2, absorbing_state=True, scale="none")


def transitions(terminated: list[bool]) -> Transition:
    rows = len(terminated)
    generator = torch.Generator().manual_seed(1)
    return Transition(
        torch.randn(rows, 3, generator=generator),
        torch.rand(rows, 2, generator=generator) * 2 - 1,
        torch.randn(rows, 3, generator=generator),
        torch.tensor(terminated),
        torch.zeros(rows, dtype=torch.bool),
    )


@torch.no_grad()
def absorbed_q(agent: SoftActorCritic, critics: torch.nn.Module) -> torch.Tensor:
    """By hand: no observation, no action, and the flag."""
    return critics(torch.tensor([[0.0, 0.0, 0.0, 0.0, 0.0, 1.0]]))[:, 0, 0]


def test_an_end_leads_to_the_absorbing_state_whose_own_step_counts_once_for_each_end(agent: SoftActorCritic) -> None:
    part = transitions([True, False, True, False])
    with torch.no_grad():
        agent.target_critics["critics"].biases[-1].add_(1.0)  # the target is another network
    with torch.no_grad():
        (terms,), (other,) = agent.bellman([part]).copies
    here, later = absorbed_q(agent, agent.critics), absorbed_q(agent, agent.target_critics["critics"]).min()
    assert terms.next_v[[0, 2]].tolist() == pytest.approx([later.item()] * 2)
    assert terms.next_v[1] != pytest.approx(later.item())
    assert not terms.terminated.any()
    assert [terms.q_a[4].item(), other.q_a[4].item()] == pytest.approx(here.tolist())
    assert terms.v[4] == pytest.approx(here.min().item())
    assert terms.next_v[4] == pytest.approx(later.item())
    assert terms.weights is not None
    assert terms.weights.tolist() == pytest.approx([1.25, 1.25, 1.25, 1.25, 2.5])


def test_the_loss_is_a_mean_over_the_batch_and_its_steps_of_the_absorbing_state(agent: SoftActorCritic) -> None:
    (terms,) = agent.bellman([transitions([True, False, False, False])]).copies[0]
    loss, _ = iq_loss(terms, None, None, Chi2(0.5), ExpertStates(), GAMMA)
    r = terms.q_a - GAMMA * terms.next_v
    by_hand = ((terms.v - GAMMA * terms.next_v) - (r - r.square() / 2)).sum() / 4  # five rows, one end
    assert loss.item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_without_an_end_the_absorbing_state_counts_nothing(agent: SoftActorCritic) -> None:
    (terms,) = agent.bellman([transitions([False] * 4)]).copies[0]
    loss, _ = iq_loss(terms, None, None, Chi2(0.5), ExpertStates(), GAMMA)
    plain = type(terms)(*(each[:4] for each in terms[:4]))
    assert loss.item() == pytest.approx(iq_loss(plain, None, None, Chi2(0.5), ExpertStates(), GAMMA)[0].item())


def test_recovered_rewards_and_a_rebuilt_agent_know_it(agent: SoftActorCritic) -> None:
    part = transitions([True, False])
    again = SoftActorCritic.from_recipe(agent.recipe)
    again.load_weights(agent.state_dict())
    rewards = AgentPolicy(again, GAMMA, None).rewards(part.obs, part.actions, part.next_obs, part.terminated)
    with torch.no_grad():
        q = agent.q(part.obs, part.actions).amin(0)
        assert rewards[0] == pytest.approx((q[0] - GAMMA * absorbed_q(agent, agent.critics).min()).item(), abs=1e-6)
        assert rewards[1] == pytest.approx((q[1] - GAMMA * agent.v(part.next_obs)[1]).item(), abs=1e-6)


def test_a_reward_of_the_environment_ends_with_the_episode(tmp_path) -> None:
    from iqlightning.algorithms.sac import SAC
    from iqlightning.envs.gymnasium import GymnasiumConfig

    module = SAC(agent=lambda spaces: SoftActorCritic(spaces, hidden=(8,), absorbing_state=True))
    with pytest.raises(UserError, match="absorbing_state is for rewards that are recovered"):
        module.build(GymnasiumConfig("Pendulum-v1"))
