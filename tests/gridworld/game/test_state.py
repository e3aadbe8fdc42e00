import pytest
import torch

from iqlightning import GridWorldConfig, UserError
from iqlightning.gridworld.config import LEVELS
from iqlightning.gridworld.game.layouts import Layouts, draw_layouts
from iqlightning.gridworld.game.observation import observe, parse
from iqlightning.gridworld.game.planning import optimal_actions, shortest_paths
from iqlightning.gridworld.game.rules import next_cells
from iqlightning.gridworld.game.state import GridWorldBatch


def test_what_is_left_behind_and_what_begins():
    """By hand: a 2x2 grid of one move."""
    walls = torch.zeros((1, 2, 2), dtype=torch.bool)
    batch = GridWorldBatch.from_layouts(
        GridWorldConfig(height=2, width=2), Layouts(walls, torch.tensor([0]), torch.tensor([1]))
    )
    result = batch.step(torch.tensor([1]))
    assert (float(result.rewards), bool(result.terminated), bool(result.truncated)) == (10.0, True, False)
    assert result.next_obs[0, 1:].tolist() == [[[0, 1], [0, 0]], [[0, 1], [0, 0]]]
    assert result.obs[0, 1:].tolist() == [[[1, 0], [0, 0]], [[0, 1], [0, 0]]]


def test_the_last_move_may_reach_the_goal_or_run_out():
    walls = torch.zeros((2, 2, 2), dtype=torch.bool)
    config = GridWorldConfig(height=2, width=2, max_moves=1)
    batch = GridWorldBatch.from_layouts(config, Layouts(walls, torch.tensor([0, 0]), torch.tensor([1, 1])))
    result = batch.step(torch.tensor([1, 0]))
    assert result.terminated.tolist() == [True, False]
    assert result.truncated.tolist() == [False, True]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("split", ["any", "test"])
def test_an_environment_is_the_same_in_a_batch_of_any_size(level, split):
    config = GridWorldConfig(level, 4, 4, num_walls=2, max_moves=12)
    actions = torch.randint(0, 4, (150, 9), generator=torch.Generator().manual_seed(1))
    large = GridWorldBatch(config, 9, seed=3, split=split)
    small = [GridWorldBatch(config, 1, seed=3 + i, split=split) for i in range(9)]
    assert torch.equal(large.reset(), torch.cat([batch.reset() for batch in small]))
    for row in actions:
        together = large.step(row)
        alone = [batch.step(action.unsqueeze(0)) for batch, action in zip(small, row, strict=True)]
        for field, values in zip(together, zip(*alone, strict=True), strict=True):
            assert torch.equal(field, torch.cat(values))
    assert torch.equal(large.shortest, torch.cat([batch.shortest for batch in small]))


def test_a_pool_serves_many_episodes_in_order():
    config = GridWorldConfig(height=2, width=2, max_moves=1)
    batch = GridWorldBatch(config, 3, seed=11)
    batch.reset()
    for episode in range(200):
        layouts = draw_layouts(config, torch.arange(11, 14), torch.full((3,), episode))
        assert all(torch.equal(x, y) for x, y in zip(batch.layouts, layouts, strict=True))
        batch.step(torch.zeros(3, dtype=torch.int64))


@pytest.mark.parametrize("given", [False, True])
def test_a_saved_state_continues_exactly(given):
    config = GridWorldConfig(height=5, width=4, max_moves=11)
    layouts = draw_layouts(config, torch.arange(6), torch.zeros(6, dtype=torch.int64))

    def make():
        return (
            GridWorldBatch.from_layouts(config, layouts) if given else GridWorldBatch(config, 6, seed=2, split="train")
        )

    actions = torch.randint(0, 4, (90, 6), generator=torch.Generator().manual_seed(2))
    batch = make()
    batch.reset()
    for row in actions[:37]:
        batch.step(row)
    state = batch.state_dict()
    assert_plain(state)
    resumed = make()
    resumed.load_state_dict(state)
    assert torch.equal(resumed.observations, batch.observations)
    for row in actions[37:]:
        before, after = batch.step(row), resumed.step(row)
        assert all(torch.equal(x, y) for x, y in zip(before, after, strict=True))
        assert torch.equal(batch.shortest, resumed.shortest)


def assert_plain(value):
    """Only what torch.load(weights_only=True) accepts."""
    if isinstance(value, dict):
        assert all(isinstance(key, str) for key in value)
        for part in value.values():
            assert_plain(part)
    else:
        assert value is None or type(value) in (int, float, str, bool) or isinstance(value, torch.Tensor), type(value)


def test_a_state_of_another_game_is_refused():
    state = GridWorldBatch(GridWorldConfig(), 2).state_dict()
    with pytest.raises(UserError, match="another GridWorld"):
        GridWorldBatch(GridWorldConfig(height=4), 2).load_state_dict(state)
    with pytest.raises(UserError, match="2 environments, not of 3"):
        GridWorldBatch(GridWorldConfig(), 3).load_state_dict(state)


def test_misuse_is_refused():
    batch = GridWorldBatch(GridWorldConfig(), 2)
    with pytest.raises(RuntimeError, match="reset"):
        batch.step(torch.tensor([0, 0]))
    before = batch.reset()
    for action in (-1, 4):
        with pytest.raises(ValueError, match="actions must be 0"):
            batch.step(torch.tensor([0, action]))
    with pytest.raises(ValueError, match="do not fit"):
        batch.step(torch.tensor([0]))
    assert torch.equal(batch.observations, before)
    assert batch.moves.tolist() == [0, 0]
    with pytest.raises(UserError, match="no split"):
        GridWorldBatch(GridWorldConfig(), 2, split="dev")
    with pytest.raises(UserError, match="num_envs"):
        GridWorldBatch(GridWorldConfig(), 0)


def test_returned_observations_do_not_change_later():
    batch = GridWorldBatch(GridWorldConfig(max_moves=3), 50)
    first = batch.reset()
    kept = first.clone()
    results = [batch.step(torch.full((50,), step % 4)) for step in range(5)]
    copies = [(result.obs.clone(), result.next_obs.clone()) for result in results]
    batch.step(torch.full((50,), 2))
    assert torch.equal(first, kept)
    for result, (obs, next_obs) in zip(results, copies, strict=True):
        assert torch.equal(result.obs, obs)
        assert torch.equal(result.next_obs, next_obs)


def test_an_expert_needs_the_shortest_number_of_moves():
    config = GridWorldConfig(wall_density=0.3)
    batch = config.make_batch(100, seed=0)
    batch.reset()
    layouts, shortest = batch.layouts, batch.shortest
    optimal = optimal_actions(shortest_paths(layouts.walls, layouts.goal), layouts.walls).to(torch.int64).argmax(2)
    waiting, moves = torch.ones(100, dtype=torch.bool), torch.zeros(100, dtype=torch.int64)
    assert (batch.manhattan <= shortest).all()
    while waiting.any():
        moves += waiting
        waiting &= ~batch.step(optimal.gather(1, batch.player.unsqueeze(1)).squeeze(1)).terminated
    assert torch.equal(moves, shortest)


def test_given_grids_are_played():
    config = GridWorldConfig(height=3, width=4)
    layouts = draw_layouts(config, torch.arange(5), torch.arange(5))
    batch = GridWorldBatch.from_layouts(config, layouts)
    assert torch.equal(batch.observations, observe(*layouts))
    target = next_cells(layouts.walls)[torch.arange(5), layouts.start, 1]
    batch.move(torch.full((5,), 1))
    assert torch.equal(batch.player, target)


def test_observations_can_be_read_back_through_noise():
    layouts = draw_layouts(GridWorldConfig(height=6, width=9), torch.arange(20), torch.arange(20))
    planes = observe(*layouts)
    assert planes.dtype == torch.uint8
    noisy = planes.float() + 0.01 * torch.randn(planes.shape, generator=torch.Generator().manual_seed(0))
    for observations in (planes, noisy):
        assert all(torch.equal(x, y) for x, y in zip(parse(observations), layouts, strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_game_is_the_same_on_a_gpu():
    config = GridWorldConfig(max_moves=20)
    here, there = config.make_batch(300, seed=5), config.make_batch(300, seed=5, device="cuda")
    assert torch.equal(here.reset(), there.reset().cpu())
    for actions in torch.randint(0, 4, (100, 300), generator=torch.Generator().manual_seed(3)):
        for x, y in zip(here.step(actions), there.step(actions.cuda()), strict=True):
            assert torch.equal(x, y.cpu())
