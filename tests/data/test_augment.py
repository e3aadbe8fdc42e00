"""Augmentations: symmetries commute with the game, noise is what it says, and both depend on their keys alone."""

import pytest
import torch

from iqlightning.data.augment import Augmentation, GaussianNoise, GridSymmetry
from iqlightning.errors import UserError
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.expert import shortest_path_demonstrations
from iqlightning.gridworld.game.layouts import Layouts, draw_layouts
from iqlightning.gridworld.game.observation import parse
from iqlightning.gridworld.game.planning import optimal_actions, shortest_paths
from iqlightning.gridworld.game.state import GridWorldBatch
from iqlightning.keyed import hash_keys
from iqlightning.types import Transition

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


def test_noise_is_gaussian_and_new_for_every_number():
    keys = hash_keys(3, torch.arange(2_000))
    states = torch.ones(2_000, 3, 5, 5, dtype=torch.uint8)
    nothing = torch.zeros(2_000, dtype=torch.bool)
    noisy = GaussianNoise(0.01)(Transition(states, nothing.long(), states, nothing, nothing), keys)
    assert noisy.obs.dtype == torch.float32
    noise = torch.cat([noisy.obs, noisy.next_obs]).flatten(1).double() - 1
    assert abs(noise.mean().item()) < 1e-4
    assert abs(noise.std().item() - 0.01) < 1e-4
    normal = noise / 0.01
    assert abs(normal.pow(4).mean().item() - 3) < 0.1
    assert abs((normal.abs() < 1).double().mean().item() - 0.6827) < 0.005
    correlations = torch.corrcoef(torch.cat([noisy.obs.flatten(1), noisy.next_obs.flatten(1)], 1).T)
    correlations.fill_diagonal_(0)  # two stretches of the table may overlap, but not always in the same way
    assert correlations.abs().max() < 0.12  # five standard deviations of 1 / sqrt(2000)


def test_noise_depends_on_the_key_alone_and_scales_with_the_environment():
    keys = hash_keys(4, torch.arange(10))
    states = torch.zeros(10, 7)
    noise = GaussianNoise(0.5)
    assert torch.equal(noise.observations(states, keys)[3:5], noise.observations(states[3:5], keys[3:5]))
    wide = GaussianNoise(0.5, high=255.0).observations(states, keys)
    torch.testing.assert_close(wide, 255 * noise.observations(states, keys))
    with pytest.raises(UserError, match="must not be negative"):
        GaussianNoise(-0.1)


def test_all_are_augmentations():
    assert isinstance(GridSymmetry(3, 4, 4), Augmentation)
    assert isinstance(GaussianNoise(), Augmentation)
