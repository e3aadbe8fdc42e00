from typing import Any

import numpy as np
import torch

from iqlightning import GymnasiumConfig
from iqlightning.envs.table_expert import solved
from iqlightning.evaluation.environment import evaluate_environment

LAKE = GymnasiumConfig("FrozenLake-v1", {"is_slippery": False})


def test_a_table_of_two_states_is_solved_exactly():
    # 0 stays for 1 or ends for 5; 1 goes to 0 or, with half a chance, stays
    table = {
        0: {0: [(1.0, 0, 1.0, False)], 1: [(1.0, 1, 5.0, True)]},
        1: {0: [(1.0, 0, 0.0, False)], 1: [(0.5, 1, 2.0, False), (0.5, 0, 0.0, False)]},
    }
    q = solved(table, gamma=0.5)
    v0 = 5.0
    v1 = (0.5 * 2 + 0.25 * v0) / (1 - 0.25)
    assert np.allclose(q, [[1 + 0.5 * v0, 5.0], [0.5 * v0, 1 + 0.25 * v1 + 0.25 * v0]], atol=1e-8)


def test_the_expert_walks_the_shortest_way_and_its_episodes_repeat():
    assert LAKE.expert is not None
    played = next(LAKE.expert.parts(3, 0))
    assert played.lengths.tolist() == [6, 6, 6]
    assert played.returns.tolist() == [1, 1, 1]
    assert torch.equal(played.observations, next(LAKE.expert.parts(3, 0)).observations)


def test_the_expert_reads_numbers_that_were_taken_apart_and_masks():
    apart: Any = {"class_path": "Unravel", "init_args": {"sizes": [5, 5, 5, 4]}}
    configs = [
        GymnasiumConfig("Taxi-v4", wrappers=wrappers) for wrappers in ([], [apart], [apart, "ActionMaskFromInfo"])
    ]
    returns = [
        evaluate_environment(config.references()["expert"], config, 4, 0).metrics()["mean_return"] for config in configs
    ]
    assert returns[0] == returns[1] == returns[2] > 0


def test_what_has_no_table_has_no_expert():
    assert GymnasiumConfig("CartPole-v1").expert is None
    assert GymnasiumConfig("Blackjack-v1").expert is None
    assert GymnasiumConfig("CartPole-v1").references() == {}
