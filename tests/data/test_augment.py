"""Noise is what it says, and depends on its keys alone."""

import numpy as np
import pytest
import torch

from iqlightning.data.augment import GaussianNoise, RandomShift
from iqlightning.data.imitation_data import ImitationData
from iqlightning.data.replay_data import ReplayData
from iqlightning.envs.gymnasium import GymnasiumConfig
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


@pytest.mark.parametrize("shape", [(4, 9, 7), (9, 9, 2), (9, 7), (2, 9, 9, 3)])
def test_a_shift_is_a_crop_of_the_padded_picture_by_its_key_alone(shape):
    numbers = np.random.default_rng(0)
    pictures = torch.from_numpy(numbers.integers(0, 256, (60, *shape)).astype(np.uint8))
    keys = hash_keys(5, torch.arange(60))
    shift = RandomShift(shape, pixels=2)
    shown = shift.observations(pictures, keys)
    assert shown.dtype == torch.uint8
    assert torch.equal(shift.observations(pictures[7:9], keys[7:9]), shown[7:9])
    axes = {(4, 9, 7): (1, 2), (9, 9, 2): (0, 1), (9, 7): (0, 1), (2, 9, 9, 3): (1, 2)}[shape]
    margins = [(2, 2) if axis in axes else (0, 0) for axis in range(len(shape))]
    seen = set()
    for picture, moved in zip(pictures.numpy(), shown.numpy(), strict=True):
        padded = np.pad(picture, margins, mode="edge")
        crops = np.lib.stride_tricks.sliding_window_view(padded, shape)
        places = [place for place in np.ndindex(crops.shape[: len(shape)]) if np.array_equal(crops[place], moved)]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) > 15  # of 25


def test_a_successor_is_shifted_by_itself():
    keys = hash_keys(6, torch.arange(50))
    pictures = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (50, 9, 9)).astype(np.uint8))
    nothing = torch.zeros(50, dtype=torch.bool)
    moved = RandomShift((9, 9))(Transition(pictures, nothing.long(), pictures, nothing, nothing), keys)
    assert (moved.obs == moved.next_obs).flatten(1).all(1).sum() < 10


def test_shifts_that_cannot_be_are_refused():
    with pytest.raises(UserError, match="random_shift must not be negative"):
        RandomShift((4, 84, 84), -1)
    with pytest.raises(UserError, match="random_shift reads pictures"):
        RandomShift((4,))


@pytest.mark.parametrize("data", [ImitationData, ReplayData])
def test_data_modules_complain_of_a_shift_at_once(data):
    with pytest.raises(UserError, match="random_shift reads pictures"):
        data(env=GymnasiumConfig("CartPole-v1"), random_shift=4)
