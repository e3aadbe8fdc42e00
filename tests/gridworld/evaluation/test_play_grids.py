import pytest
import torch
from gymnasium.spaces import Discrete
from jaxtyping import Int
from small_runs import Always
from torch import Tensor

from iqlightning.evaluation.choice import action_probabilities, draw_actions
from iqlightning.evaluation.reference_policies import RandomPolicy
from iqlightning.gridworld.config import LEVELS, GridWorldConfig
from iqlightning.gridworld.evaluation.expert_policy import ShortestPathPolicy
from iqlightning.gridworld.evaluation.play import evaluate_gridworld, play_grids
from iqlightning.gridworld.evaluation.results import GridWorldResults
from iqlightning.gridworld.game.layouts import Layouts
from iqlightning.gridworld.game.observation import parse
from iqlightning.keyed import Stream, uniform
from iqlightning.losses.values import SoftValue

UP, RIGHT, DOWN, LEFT = range(4)
CONFIG = GridWorldConfig(height=6, width=7, num_walls=6)


class Table:
    """Q-values that depend on the player's cell only."""

    def __init__(self, q: Tensor, temperature: float = 1.0) -> None:
        self.q = q
        self.value = SoftValue(temperature)

    def q_values(self, observations: Tensor) -> Tensor:
        return self.q[parse(observations)[1]]

    def act(self, observations: Tensor, *, sample: bool = False) -> Int[Tensor, " batch"]:
        return self.q_values(observations).argmax(-1)


def _equal(one: GridWorldResults, other: GridWorldResults) -> bool:
    names = ("episodes", "success", "moves", "shortest", "manhattan", "returns")
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in names)


def _corridor() -> Layouts:
    """Three grids of two rows and four columns: the goal ahead, behind a wall, behind the start."""
    walls = torch.zeros(3, 2, 4, dtype=torch.bool)
    walls[1, 0, 2] = True
    return Layouts(walls, torch.tensor([0, 0, 2]), torch.tensor([3, 3, 0]))


def test_a_policy_that_walks_right_is_judged_as_worked_out_by_hand() -> None:
    policy = Always(RIGHT)
    results = play_grids(policy, _corridor(), 8, record_paths=True)
    assert results.success.tolist() == [True, False, False]
    assert results.moves.tolist() == [3, 8, 8]
    assert results.shortest.tolist() == [3, 5, 2]
    assert results.manhattan.tolist() == [3, 3, 2]
    assert results.returns.tolist() == [8.0, -8.0, -8.0]
    assert results.paths is not None
    assert results.paths[:, :4].tolist() == [[0, 1, 2, 3], [0, 1, 1, -1], [2, 3, 3, -1]]
    # grids 1 and 2 left the batch when they bumped and so returned to the cell they came from
    assert policy.asked == [3, 3, 1]


def test_reaching_the_goal_with_the_last_move_counts() -> None:
    layouts = _corridor().select(slice(0, 1))
    assert play_grids(Always(RIGHT), layouts, 3).success.tolist() == [True]
    late = play_grids(Always(RIGHT), layouts, 2)
    assert late.success.tolist() == [False]
    assert late.moves.tolist() == [2]


def test_loop_detection_changes_no_figure() -> None:
    generator = torch.Generator().manual_seed(0)
    policy = Table(torch.rand(CONFIG.num_cells, 4, generator=generator))
    detected = evaluate_gridworld(policy, CONFIG, 200, 0)
    policy.stochastic = True  # type: ignore[attr-defined]
    policy.probabilities = lambda observations: torch.eye(4)[policy.act(observations)]  # type: ignore[attr-defined]
    played_out = evaluate_gridworld(policy, CONFIG, 200, 0)
    assert 0 < detected.success.sum() < 200
    assert _equal(detected, played_out)


@pytest.mark.parametrize("level", LEVELS)
def test_the_expert_is_perfect_on_every_level(level: str) -> None:
    config = GridWorldConfig(level, 9, 8, num_walls=14)
    greedy = evaluate_gridworld(ShortestPathPolicy(), config, 300, 0)
    sampled = evaluate_gridworld(ShortestPathPolicy(), config, 300, 0, sample=True)
    for results in (greedy, sampled):
        assert results.success.all()
        assert torch.equal(results.moves, results.shortest)
        assert results.metrics()["spl"] == 1.0
    assert torch.equal(greedy.layouts.walls, sampled.layouts.walls)


def test_the_expert_plays_grids_of_any_size_one_after_the_other() -> None:
    policy = ShortestPathPolicy()
    for height in (5, 9, 5):
        config = GridWorldConfig(height=height, width=6)
        assert evaluate_gridworld(policy, config, 120, height, batch_size=50).success.all()


@pytest.mark.parametrize("sample", [False, True])
def test_results_do_not_depend_on_batch_size_or_ranks(sample: bool) -> None:
    policy = Table(torch.rand(CONFIG.num_cells, 4, generator=torch.Generator().manual_seed(1)))
    whole = evaluate_gridworld(policy, CONFIG, 101, 3, sample=sample)
    chunks = evaluate_gridworld(policy, CONFIG, 101, 3, sample=sample, batch_size=17)
    assert _equal(whole, chunks)
    shares = [evaluate_gridworld(policy, CONFIG, 101, 3, sample=sample, rank=rank, world_size=3) for rank in range(3)]
    assert [len(share.success) for share in shares] == [34, 34, 33]
    for rank, share in enumerate(shares):
        assert torch.equal(share.episodes, whole.episodes[rank::3])
        assert torch.equal(share.moves, whole.moves[rank::3])


def test_more_ranks_than_episodes_leave_some_with_nothing() -> None:
    share = evaluate_gridworld(Always(UP), CONFIG, 1, 0, rank=1, world_size=2)
    assert len(share.success) == 0


def test_equal_seeds_give_equal_grids_and_splits_differ() -> None:
    grids = {split: evaluate_gridworld(Always(UP), CONFIG, 50, 0, split=split).layouts for split in ("train", "test")}
    again = evaluate_gridworld(Always(LEFT), CONFIG, 50, 0, split="test").layouts
    assert torch.equal(grids["test"].walls, again.walls)
    assert not torch.equal(grids["test"].walls, grids["train"].walls)


def test_drawn_actions_follow_the_softmax_of_q() -> None:
    q = torch.tensor([0.0, 1.0, 2.0, -1.0])
    observations = torch.zeros(1, 3, 2, 2)
    expected = torch.softmax(q.double() / 0.5, -1)
    for own, given in ((0.5, None), (1.0, 0.5)):
        probabilities = action_probabilities(Table(q.repeat(4, 1), own), observations, given)
        assert probabilities is not None
        torch.testing.assert_close(probabilities[0], expected)
    drawn = draw_actions(expected.expand(20000, 4), uniform(Stream.SAMPLE, torch.arange(20000)))
    frequencies = torch.bincount(drawn, minlength=4).double() / 20000
    torch.testing.assert_close(frequencies, expected, atol=0.01, rtol=0)


def test_a_number_just_below_one_still_gives_an_action() -> None:
    probabilities = torch.tensor([[0.3, 0.7, 0.0]])
    assert draw_actions(probabilities, torch.tensor([1 - 2.0**-53], dtype=torch.float64)).item() in (0, 1)


def test_the_random_policy_is_drawn_from_even_when_played_greedily() -> None:
    policy = RandomPolicy(Discrete(4))
    greedy = evaluate_gridworld(policy, CONFIG, 300, 0)
    assert 0.1 < greedy.metrics()["success_rate"] < 0.9
    assert _equal(greedy, evaluate_gridworld(policy, CONFIG, 300, 0, sample=True))
    actions = policy.act(torch.zeros(4000, 3, 2, 2))
    assert (torch.bincount(actions, minlength=4) > 850).all()
    assert not torch.equal(actions, policy.act(torch.zeros(4000, 3, 2, 2)))


def test_progress_counts_every_episode_once() -> None:
    finished: list[int] = []
    evaluate_gridworld(RandomPolicy(Discrete(4)), CONFIG, 100, 0, batch_size=30, progress=finished.append)
    assert sum(finished) == 100
