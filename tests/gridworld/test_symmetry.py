"""Symmetries of the square: they commute with the game, and each sample's depends on its key alone."""

import pytest
import torch

from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.expert import shortest_path_demonstrations
from iqlightning.gridworld.game.layouts import Layouts, draw_layouts
from iqlightning.gridworld.game.observation import parse
from iqlightning.gridworld.game.planning import optimal_actions, shortest_paths
from iqlightning.gridworld.game.state import GridWorldBatch
from iqlightning.gridworld.symmetry import GridSymmetry
from iqlightning.keyed import hash_keys
from iqlightning.types import Augmentation, Transition

SHAPES = [(5, 5), (4, 7), (2, 2), (6, 3)]


def played(height: int, width: int, count: int = 200) -> tuple[GridWorldConfig, Transition]:
    """Random moves from random grids, blocked ones included."""
    env = GridWorldConfig(height=height, width=width, wall_density=0.2)
    seeds = torch.zeros(count, dtype=torch.int64)
    batch = GridWorldBatch.from_layouts(env, draw_layouts(env, seeds, torch.arange(count)))
    obs, actions = batch.observations, torch.arange(count) % 4
    step = batch.step(actions)
    return env, Transition(obs, actions, step.next_obs, step.terminated, step.truncated, step.rewards)


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_the_game_commutes_with_every_symmetry(height, width):
    env, transition = played(height, width)
    symmetry = GridSymmetry(*env.observation_shape)
    assert symmetry.count == (8 if height == width else 4)
    for g in range(symmetry.count):
        turned = symmetry(transition, torch.full_like(transition.actions, g))
        walls, player, goal = parse(turned.obs)
        batch = GridWorldBatch.from_layouts(env, Layouts(walls, player, goal))
        assert torch.equal(batch.observations, turned.obs)
        step = batch.step(turned.actions)
        assert torch.equal(step.next_obs, turned.next_obs)
        assert torch.equal(step.terminated, turned.terminated)
        assert torch.equal(symmetry.observations(transition.obs, torch.full_like(transition.actions, g)), turned.obs)


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_symmetries_are_all_different_and_the_first_changes_nothing(height, width):
    env, transition = played(height, width)
    symmetry = GridSymmetry(*env.observation_shape)
    images = [symmetry(transition, torch.full_like(transition.actions, g)) for g in range(symmetry.count)]
    assert torch.equal(images[0].obs, transition.obs)
    assert torch.equal(images[0].actions, transition.actions)
    assert len({bytes(image.obs.flatten().tolist()) for image in images}) == symmetry.count
    assert all(image.obs.dtype == torch.uint8 for image in images)


def test_optimal_moves_stay_optimal():
    env = GridWorldConfig(height=6, width=6)
    demonstrations = shortest_path_demonstrations(env, 50, seed=0).transitions()
    keys = hash_keys(1, torch.arange(len(demonstrations.actions)))
    turned = GridSymmetry(3, 6, 6)(demonstrations, keys)
    walls, player, goal = parse(turned.obs)
    best = optimal_actions(shortest_paths(walls, goal), walls)
    assert best[torch.arange(len(player)), player, turned.actions].all()
    assert len((keys & 7).unique()) == 8


def test_each_sample_has_the_symmetry_of_its_own_key():
    env, transition = played(5, 5)
    symmetry, keys = GridSymmetry(*env.observation_shape), hash_keys(2, torch.arange(200))
    together = symmetry(transition, keys)
    for i in range(0, 200, 17):
        one = slice(i, i + 1)
        alone = symmetry(Transition(*(x[one] for x in transition[:5])), keys[one])
        assert torch.equal(alone.obs, together.obs[one])
        assert torch.equal(alone.actions, together.actions[one])


def test_it_is_the_augmentation_of_its_environment():
    symmetry = GridWorldConfig(height=4, width=4).symmetry()
    assert isinstance(symmetry, GridSymmetry)
    assert isinstance(symmetry, Augmentation)
