import pytest
import torch

from iqlightning import GridWorldConfig, UserError
from iqlightning.gridworld.config import LEVELS
from iqlightning.gridworld.game.layouts import SPLITS, Layouts, draw_layouts, splits_are_disjoint, static_walls
from iqlightning.gridworld.game.planning import UNREACHABLE, shortest_moves

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def draw(config: GridWorldConfig, count: int, seed: int = 0, **options) -> Layouts:
    return draw_layouts(config, torch.full((count,), seed), torch.arange(count), **options)


def keys(layouts: Layouts, *, with_start: bool) -> set[bytes]:
    columns = [layouts.walls.flatten(1).to(torch.int64), layouts.goal.unsqueeze(1)]
    columns += [layouts.start.unsqueeze(1)] if with_start else []
    return {row.numpy().tobytes() for row in torch.cat(columns, 1)}


def check(config: GridWorldConfig, layouts: Layouts) -> None:
    """Everything that the rules promise of a grid before the first move."""
    flat = layouts.walls.flatten(1)
    assert (flat.sum(1) == config.wall_count).all()
    assert (layouts.start != layouts.goal).all()
    assert not flat.gather(1, layouts.start.unsqueeze(1)).any()
    assert not flat.gather(1, layouts.goal.unsqueeze(1)).any()
    assert (shortest_moves(*layouts) != UNREACHABLE).all()
    if not config.random_start:
        assert (layouts.start == 0).all()
    if not config.random_goal:
        assert (layouts.goal == config.num_cells - 1).all()
    if not config.random_walls:
        assert (layouts.walls == static_walls(config)).all()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("random_start", [True, False])
@pytest.mark.parametrize(("height", "width"), [(2, 2), (10, 10), (3, 17), (33, 5), (64, 64)])
def test_every_level_and_size_is_solvable(level, random_start, height, width):
    config = GridWorldConfig(level, height, width, random_start=random_start)
    check(config, draw(config, 200))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("random_start", [True, False])
@pytest.mark.parametrize(("height", "width"), [(2, 2), (6, 6), (2, 9), (16, 16)])
def test_as_many_walls_as_can_be_are_solvable_too(level, random_start, height, width):
    roomy = GridWorldConfig(level, height, width, num_walls=0, random_start=random_start)
    for walls in (roomy.max_walls, roomy.max_walls // 2):
        config = GridWorldConfig(level, height, width, num_walls=walls, random_start=random_start)
        check(config, draw(config, 100))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("wall_density", [0.05, 0.4])
def test_a_grid_is_the_same_alone_and_in_any_batch(level, split, wall_density):
    config = GridWorldConfig(level, 8, 9, wall_density=wall_density)
    seeds, episodes = torch.arange(40) % 7, torch.arange(40) // 7
    together = draw_layouts(config, seeds, episodes, split)
    backwards = draw_layouts(config, seeds.flip(0), episodes.flip(0), split)
    for i in range(40):
        alone = draw_layouts(config, seeds[i : i + 1], episodes[i : i + 1], split)
        assert all(torch.equal(x[i], y[0]) for x, y in zip(together, alone, strict=True))
        assert all(torch.equal(x[i], y[39 - i]) for x, y in zip(together, backwards, strict=True))


@CUDA
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("wall_density", [0.05, 0.4])
def test_a_grid_is_the_same_on_every_device(level, split, wall_density):
    config = GridWorldConfig(level, 9, 20, wall_density=wall_density)
    here, there = draw(config, 500, split=split), draw(config, 500, split=split, device="cuda")
    assert all(torch.equal(x, y.cpu()) for x, y in zip(here, there, strict=True))


def test_seeds_and_episodes_give_different_grids():
    config = GridWorldConfig()
    assert len(keys(draw(config, 500, 0), with_start=True)) == 500
    assert not keys(draw(config, 500, 0), with_start=True) & keys(draw(config, 500, 1), with_start=True)


@pytest.mark.parametrize("level", LEVELS)
def test_splits_share_no_grid(level):
    config = GridWorldConfig(level)
    assert splits_are_disjoint(config)
    with_start = level == "static"  # there only the start differs
    seen = [keys(draw(config, 3000, split=split), with_start=with_start) for split in ("train", "validation", "test")]
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]


@pytest.mark.parametrize("level", ["random_walls", "random_everything"])
def test_splits_without_walls_are_kept_apart_by_what_is_left(level):
    config = GridWorldConfig(level, num_walls=0)
    assert splits_are_disjoint(config)
    seen = [keys(draw(config, 1000, split=split), with_start=level == "random_walls") for split in ("train", "test")]
    assert not seen[0] & seen[1]


def test_grids_too_few_to_split_are_shared():
    for config in (GridWorldConfig("static", random_start=False), GridWorldConfig("random_walls", 2, 2, num_walls=1)):
        assert not splits_are_disjoint(config)
        assert len(keys(draw(config, 100, split="test"), with_start=True)) <= 6
        assert keys(draw(config, 100, split="test"), with_start=True) == keys(draw(config, 100), with_start=True)


def test_an_unknown_split_is_refused():
    with pytest.raises(UserError, match=r"no split 'tests'; did you mean 'test'\?"):
        draw(GridWorldConfig(), 1, split="tests")


def test_static_walls_do_not_depend_on_the_seed():
    config = GridWorldConfig("static")
    assert torch.equal(draw(config, 1, 0).walls, draw(config, 1, 123).walls)
    assert torch.equal(static_walls(config), static_walls(GridWorldConfig("random_goal", random_start=False)))


def test_walls_goal_and_start_are_uniform():
    """Frequencies of 20,000 grids within five standard deviations, on a grid small enough to see a bias."""
    count, config = 20_000, GridWorldConfig(height=4, width=4, num_walls=1)
    layouts = draw(config, count)
    for cells in (layouts.goal, layouts.start, layouts.walls.flatten(1).to(torch.int64).argmax(1)):
        share = torch.bincount(cells, minlength=16) / count
        assert ((share - 1 / 16).abs() < 5 * (1 / 16 * 15 / 16 / count) ** 0.5).all()


def test_few_and_many_walls_are_uniform_sets():
    for walls in (3, 17):
        layouts = draw(GridWorldConfig(height=10, width=10, num_walls=walls), 10_000)
        share = layouts.walls.float().mean(0)
        assert ((share - walls / 100).abs() < 5 * (walls / 100 / 10_000) ** 0.5).all()


def test_layouts_select_and_concatenate():
    layouts = draw(GridWorldConfig(), 6)
    parts = [layouts.select(torch.tensor([0, 1])), layouts.select(slice(2, 6))]
    assert all(torch.equal(x, y) for x, y in zip(Layouts.concatenate(parts), layouts, strict=True))
