"""The compiled game against the tensors': the same numbers, bit for bit."""

import warnings

import gymnasium
import pytest
import torch

from iqlightning import GridWorldConfig
from iqlightning.gridworld.game import bitboards, compiled
from iqlightning.gridworld.game.layouts import draw_layouts
from iqlightning.gridworld.game.state import GridWorldBatch

COUNT = 120

CONFIGS = [
    GridWorldConfig(),
    GridWorldConfig("random_walls", 4, 6, num_walls=5, random_start=False, max_moves=9),
    GridWorldConfig(height=16, width=16, num_walls=14, max_moves=30),
    GridWorldConfig(height=3, width=40, num_walls=16, max_moves=30),
    GridWorldConfig(height=4, width=64, num_walls=1, max_moves=12),
    GridWorldConfig(height=2, width=2, num_walls=2, max_moves=3),  # often unsolvable, some left to the tensors
    GridWorldConfig(wall_density=0.3, max_moves=20),  # these are drawn by the tensors, and played here
    GridWorldConfig("static", max_moves=20),
    GridWorldConfig("random_goal", 5, 3, num_walls=2, max_moves=7),
]


@pytest.fixture(autouse=True)
def _needs_a_compiler():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if compiled.load_library() is None:
            pytest.skip("needs a C compiler")


@pytest.mark.parametrize("split", ["any", "train", "test"])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_every_number_is_that_of_the_tensors(config, split):
    eager = GridWorldBatch(config, COUNT, seed=3, split=split)
    batches = [
        GridWorldBatch(config, COUNT, seed=3, split=split, compile=True, copy_observations=copied)
        for copied in (True, False)
    ]
    first = eager.reset()
    for batch in batches:
        assert torch.equal(batch.reset(), first)
    generator = torch.Generator().manual_seed(1)
    for _ in range(60):
        actions = torch.randint(4, (COUNT,), generator=generator)
        expected = eager.step(actions)
        for batch in batches:
            for ours, theirs in zip(batch.step(actions), expected, strict=True):
                assert ours.dtype == theirs.dtype
                assert torch.equal(ours, theirs)
    for batch in batches:
        assert torch.equal(batch.shortest, eager.shortest)
        assert torch.equal(batch.moves, eager.moves)


def test_moves_and_restarts_can_be_mixed_with_steps():
    config = GridWorldConfig(height=5, width=5, max_moves=6)
    batches = [GridWorldBatch(config, 30, compile=each, copy_observations=False) for each in (False, True)]
    generator = torch.Generator().manual_seed(2)
    for batch in batches:
        batch.reset()
    for step in range(40):
        actions, some = torch.randint(4, (30,), generator=generator), torch.randperm(30, generator=generator)[:3]
        results = []
        for batch in batches:
            results.append(batch.move(actions) if step % 3 == 0 else batch.step(actions))
            if step % 5 == 0:
                batch.restart(some)
        for ours, theirs in zip(*results, strict=True):
            assert torch.equal(ours, theirs)
        assert torch.equal(batches[0].observations, batches[1].observations)


@pytest.mark.parametrize("order", [(False, True), (True, False)])
def test_a_saved_state_goes_on_either_way(order):
    config = GridWorldConfig(height=4, width=5, max_moves=8)
    before, after = (GridWorldBatch(config, 20, seed=1, split="train", compile=each) for each in order)
    actions = torch.randint(4, (60, 20), generator=torch.Generator().manual_seed(3))
    before.reset()
    for row in actions[:30]:
        before.step(row)
    after.load_state_dict(before.state_dict())
    for row in actions[30:]:
        for ours, theirs in zip(before.step(row), after.step(row), strict=True):
            assert torch.equal(ours, theirs)


def test_given_grids_are_played_again():
    config = GridWorldConfig(height=4, width=4, max_moves=3)
    layouts = draw_layouts(config, torch.arange(8), torch.arange(8))
    batches = [GridWorldBatch.from_layouts(config, layouts, compile=each) for each in (False, True)]
    for action in (0, 1, 2, 3, 1, 2):
        results = [batch.step(torch.full((8,), action)) for batch in batches]
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(*results, strict=True))
    assert torch.equal(batches[1].layouts.walls, layouts.walls)


def test_misuse_is_refused_and_changes_nothing():
    batch = GridWorldBatch(GridWorldConfig(), 2, compile=True)
    with pytest.raises(RuntimeError, match="reset"):
        batch.step(torch.tensor([0, 0]))
    before = batch.reset()
    for actions in ([0, -1], [4, 0]):
        with pytest.raises(ValueError, match="actions must be"):
            batch.step(torch.tensor(actions))
    with pytest.raises(ValueError, match="do not fit"):
        batch.step(torch.tensor([0]))
    assert torch.equal(batch.observations, before)
    assert batch.moves.tolist() == [0, 0]


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_the_vector_environment_compiles(mode):
    environments = [
        gymnasium.make_vec(
            "iqlightning/GridWorld-v0",
            num_envs=6,
            vectorization_mode="vector_entry_point",
            compile=each,
            autoreset_mode=mode,
            height=4,
            width=4,
            max_moves=5,
        )
        for each in (False, True)
    ]
    starts = [environment.reset(seed=4)[0] for environment in environments]
    assert (starts[0] == starts[1]).all()
    for step in range(20):
        results = [environment.step(torch.full((6,), step % 4).numpy()) for environment in environments]
        for ours, theirs in zip(results[0][:4], results[1][:4], strict=True):
            assert (ours == theirs).all()


def test_without_a_compiler_the_tensors_play_and_say_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiled.load_library.cache_clear()
    try:
        with pytest.warns(UserWarning, match="there is no C compiler") as said:
            batch = GridWorldBatch(GridWorldConfig(), 3, compile=True)
    finally:
        compiled.load_library.cache_clear()
    assert len(said) == 1
    plain = GridWorldBatch(GridWorldConfig(), 3)
    assert torch.equal(batch.reset(), plain.reset())
    assert torch.equal(batch.step(torch.tensor([0, 1, 2])).obs, plain.step(torch.tensor([0, 1, 2])).obs)


def test_a_compiler_that_fails_is_said_in_a_sentence(monkeypatch, tmp_path):
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiled.load_library.cache_clear()
    try:
        with pytest.warns(UserWarning, match="compiling the game failed"):
            assert compiled.load_library() is None
    finally:
        compiled.load_library.cache_clear()


def test_the_program_is_kept_and_used_again(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiled.load_library.cache_clear()
    try:
        assert compiled.load_library() is not None
        (made,) = (tmp_path / "iqlightning").iterdir()
        time = made.stat().st_mtime_ns
        compiled.load_library.cache_clear()
        assert compiled.load_library() is not None
        assert made.stat().st_mtime_ns == time
    finally:
        compiled.load_library.cache_clear()


@pytest.mark.parametrize("width", [1, 8, 10, 16, 20, 32, 33, 64])
def test_cells_of_a_row_are_counted(width):
    cells = torch.rand((50, 7, width), generator=torch.Generator().manual_seed(width)) < 0.5
    assert torch.equal(bitboards.count(bitboards.pack(cells)).to(torch.int64), cells.sum(2))
