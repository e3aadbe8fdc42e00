"""Noise is what it says, and depends on its keys alone."""

import pytest
import torch

from iqlightning.data.augment import GaussianNoise
from iqlightning.errors import UserError
from iqlightning.keyed import hash_keys
from iqlightning.types import Augmentation, Transition


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


def test_it_is_an_augmentation():
    assert isinstance(GaussianNoise(), Augmentation)
