import math
from unittest.mock import create_autospec

import pytest
import torch

from iqlightning.agents.agent import Agent
from iqlightning.evaluation.stability import Reading, read, warnings_in_training, warnings_of
from iqlightning.types import Transition

CALM = Reading(residual=0.4, v=2.0, gap=0.1, reward_min=-0.5, reward_max=0.5, entropy=0.3, log_likelihood=-0.2)


def test_a_reading_by_hand():
    q = torch.tensor([[1.0, 1.0], [3.0, 3.0]])
    flags = torch.tensor([False, True])
    expert = Transition(torch.zeros(2, 1), torch.tensor([0, 1]), torch.zeros(2, 1), flags, flags)
    next_obs = torch.ones(2, 1)
    value, log_pi = {0.0: torch.tensor([1.0, 3.0]), 1.0: torch.tensor([2.0, 9.0])}, torch.full((2,), -math.log(2))
    agent = create_autospec(Agent, instance=True)
    agent.q.side_effect = lambda obs, actions: q.gather(1, actions[:, None]).T
    agent.v.side_effect = lambda obs: value[obs[0].item()]
    agent.value_after.side_effect = lambda obs, ended: value[obs[0].item()].masked_fill(ended, 0.0)
    agent.entropy.return_value, agent.log_prob.return_value = -log_pi, log_pi
    reading = read(agent, expert._replace(next_obs=next_obs), 0.5)
    # r = 1 - 0.5 * 2 = 0 and 3
    assert reading.residual == pytest.approx(math.sqrt(4.5), abs=1e-4)
    assert reading.v == pytest.approx(2.0, abs=1e-4)
    assert reading.gap == pytest.approx(0.0, abs=1e-4)
    assert (reading.reward_min, reading.reward_max) == pytest.approx((0.0, 3.0), abs=1e-4)
    assert reading.entropy == pytest.approx(math.log(2))
    assert reading.log_likelihood == pytest.approx(-math.log(2))


def test_a_calm_run_is_left_alone():
    assert warnings_of([CALM] * 20) == {}
    learning = [CALM._replace(v=1.0 + 0.5 * i, log_likelihood=-2 / (i + 1)) for i in range(20)]
    assert warnings_of(learning) == {}


def test_nothing_is_said_too_early():
    growing = [CALM._replace(v=10.0 ** (i + 1)) for i in range(3)]
    assert warnings_of(growing, patience=3) == {}


@pytest.mark.parametrize(
    ("name", "changes", "advice"),
    [
        ("v", lambda i: {"v": -5.0 * 4**i}, "target network"),
        ("residual", lambda i: {"residual": 0.4 * 3**i}, "alpha"),
        ("gap", lambda i: {"gap": 0.5 * 3**i}, "learning rate"),
        ("reward_range", lambda i: {"reward_min": -0.5 * 3**i}, "bounded"),
        ("likelihood", lambda i: {"log_likelihood": -0.2 - 0.6 * i}, "demonstrations"),
    ],
)
def test_each_manner_of_divergence_is_named_with_an_advice(name: str, changes, advice: str):
    history = [CALM] * 4 + [CALM._replace(**changes(i)) for i in range(6)]
    found = warnings_of(history)
    assert set(found) == {name}
    assert advice in found[name]


def test_worse_than_random_moves_from_the_first_is_named():
    history = [CALM._replace(log_likelihood=-500.0 + 100 * i, entropy=1.0) for i in range(4)]
    assert warnings_of(history) == {}  # it rises, and without the number of actions -100 might be good
    found = warnings_of(history, num_actions=4)
    assert set(found) == {"likelihood"}
    assert "-1.39" in found["likelihood"]
    assert "lower learning rate" in found["likelihood"]
    rising = [CALM._replace(log_likelihood=value) for value in (-500.0, -30.0, -3.0, -1.5)]
    assert warnings_of(rising, num_actions=4) == {}


def test_certainty_of_the_wrong_actions_is_named():
    history = [CALM] * 4 + [CALM._replace(log_likelihood=-3.0, entropy=0.01)] * 4
    assert set(warnings_of(history)) == {"likelihood", "entropy"}


def test_numbers_that_are_none_are_named():
    assert CALM._replace(v=math.nan, gap=math.inf).not_finite == ["v", "gap"]


def test_q_beyond_what_the_penalty_allows_is_named_at_once():
    assert warnings_in_training([]) == {}
    assert warnings_in_training([{"q_share": 0.99}], 200.0) == {}
    found = warnings_in_training([{"q_share": 0.5}, {"q_share": 1.25}], 200.0)
    assert set(found) == {"q_bound"}
    assert "the mean |Q| is 250, 1.25 times the 200" in found["q_bound"]
    assert "clip_targets" in found["q_bound"]


def test_an_actor_that_stays_at_its_bounds_is_named():
    saturated = {"actor_saturation": 0.95}
    assert warnings_in_training([saturated] * 2) == {}
    assert warnings_in_training([saturated, {"actor_saturation": 0.8}, saturated]) == {}
    found = warnings_in_training([{"actor_saturation": 0.1}, *[saturated] * 3])
    assert set(found) == {"saturation"}
    assert "95%" in found["saturation"]
    assert "temperature" in found["saturation"]
