import time

import numpy as np
import pytest
import torch

from iqlightning.analysis.speed import whole_runs
from iqlightning.analysis.speed.breakdown import Parts
from iqlightning.analysis.speed.measure import Result, Timing, ratios, take_turns
from iqlightning.analysis.speed.plain_game import PlainGame, plain_dqn
from iqlightning.analysis.speed.plain_learning import PlainData, eager_loop, perceptron
from iqlightning.analysis.speed.setups import large_demonstrations
from iqlightning.analysis.speed.table import as_table
from iqlightning.data.demonstrations import load_demonstrations
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.game.layouts import Layouts
from iqlightning.gridworld.game.observation import parse
from iqlightning.gridworld.game.planning import shortest_moves
from iqlightning.gridworld.game.state import GridWorldBatch


def test_contenders_take_turns_after_a_warm_up():
    order = []

    def contender(name):
        def run():
            order.append(name)
            return Timing(10, 1.0, 2.0)

        return run

    found = take_turns({"a": contender("a"), "b": contender("b")}, 2, lambda count: None)
    assert order == ["a", "b", "a", "b", "b", "a"]
    assert {name: len(timings) for name, timings in found.items()} == {"a": 2, "b": 2}


def test_ratios_are_of_rates_repeat_by_repeat():
    found = {
        "a": [Timing(10, 1.0, 2.0), Timing(10, 2.0, 2.0)],
        "b": [Timing(10, 2.0, 2.0), Timing(10, 2.0, 4.0)],
    }
    assert ratios(found, "a", "b", "cpu")[0] == (2.0, 1.0)
    assert ratios(found, "a", "b", "wall") == ((1.0, 2.0), {"a": 5.0, "b": 3.75})


def test_a_result_knows_whether_it_holds():
    assert Result("r", "w", "x", (0.8, 1.0, 0.95), must=0.9).holds is True
    assert Result("r", "w", "s", (40.0,), must=30.0, more_is_better=False).holds is False
    assert Result("r", "w", "us/update", (40.0,)).holds is None
    assert as_table([Result("r", "w", "x", (0.8, 1.0, 0.95), 0.9, 0.98)]).row_count == 1


def test_the_plain_game_is_the_same_game():
    config = GridWorldConfig(height=5, width=6, num_walls=7, max_moves=12)
    plain = PlainGame(config, 64, 50)
    walls, start, goal = parse(torch.from_numpy(plain.planes.reshape(64, 3, 5, 6).copy()))
    assert (shortest_moves(walls, start, goal) > 0).all()
    assert (walls.flatten(1).sum(1) == 7).all()
    ours = GridWorldBatch.from_layouts(config, Layouts(walls, start, goal))
    rng = np.random.default_rng(0)
    playing = np.ones(64, dtype=bool)  # after its first episode a grid goes on with another one
    for _ in range(12):
        actions = rng.integers(4, size=64)
        result = ours.step(torch.from_numpy(actions))
        planes, successors, rewards, terminated, truncated = plain.step(actions)
        assert (rewards == result.rewards.numpy())[playing].all()
        assert (terminated == result.terminated.numpy())[playing].all()
        assert (truncated == result.truncated.numpy())[playing].all()
        assert (successors == result.next_obs.flatten(2).numpy())[playing].all()
        playing &= ~(terminated | truncated)
        assert (planes == result.obs.flatten(2).numpy())[playing].all()
    assert not playing.any()
    walls, start, goal = parse(torch.from_numpy(plain.planes.reshape(64, 3, 5, 6)))
    assert (shortest_moves(walls, start, goal) > 0).all()


def test_plain_loops_count_their_work():
    starts = torch.arange(0, 101, 10)
    data = PlainData(
        torch.randn(100, 4),
        torch.randint(2, (100,)),
        torch.randn(100, 4),
        torch.zeros(100, dtype=torch.bool),
        starts,
        together=4,
    )
    assert ((data.draw(32) // 10).view(8, 4).diff(dim=1) == 0).all()
    assert eager_loop(lambda: perceptron(4, 2, (8,)), data, 16, 3).units == 3
    assert plain_dqn(GridWorldConfig(height=4, width=4, num_walls=2), (8, 8), 16, 2, 3).units == 6


@pytest.mark.parametrize("rate", [0.0, 1e-12])
def test_nothing_is_divided_by_zero(rate):
    assert Timing(1, rate, rate).rate("cpu") > 0


def test_large_demonstrations_are_whole_episodes(tmp_path):
    made = large_demonstrations(tmp_path, 150_000)
    found, _ = load_demonstrations(made.path)
    assert found.num_transitions == 2 * made.trajectories.num_transitions
    assert abs(found.num_transitions - 150_000) < made.trajectories.num_transitions


def test_parts_within_parts_are_counted_once_and_the_rest_is_lightnings():
    class Owner:
        def outer(self):
            busy()
            self.inner()

        def inner(self):
            busy()

    def busy():
        end = time.process_time() + 0.02
        while time.process_time() < end:
            pass

    parts, owner = Parts(), Owner()
    parts.wrap(owner, "inner")
    parts.wrap(owner, "outer", "around")
    owner.outer()
    shares = parts.shares(0.06, 2)
    assert set(shares) == {"inner", "around", "Lightning's loop"}
    for value in shares.values():
        assert value == pytest.approx(1e4, rel=0.2)


def test_a_process_that_fails_tells_what_it_said(tmp_path):
    ended = whole_runs._process(["-c", "print('x' * 10)"], tmp_path)
    assert ended["megabytes"] > 1
    with pytest.raises(RuntimeError, match=r"ended with 3: (.|\n)*something is wrong"):
        whole_runs._process(["-c", "import sys; print('something is wrong'); sys.exit(3)"], tmp_path)
