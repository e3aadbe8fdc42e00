"""Encoders of pictures: any layout, in any order of memory, and a sentence for what they cannot take."""

from functools import partial

import numpy as np
import pytest
import torch

from iqlightning.errors import UserError
from iqlightning.gridworld.encoders import GridCNN
from iqlightning.nets.encoders import ImpalaCNN, NatureCNN, SmallCNN, TorchvisionBackbone
from iqlightning.nets.q_network import QNetwork
from iqlightning.pictures import picture_of


@pytest.mark.parametrize(
    ("shape", "read"),
    [
        ((84, 84), (1, 84, 84, False)),
        ((4, 84, 84), (4, 84, 84, False)),
        ((84, 84, 4), (4, 84, 84, True)),
        ((20, 7, 7), (20, 7, 7, False)),
        ((7, 7, 20), (20, 7, 7, True)),
        ((210, 160, 3), (3, 210, 160, True)),
        ((3, 6, 5), (3, 6, 5, False)),
        ((4, 84, 84, 3), (12, 84, 84, True)),
        ((4, 3, 64, 96), (12, 64, 96, False)),
    ],
)
def test_the_shape_tells_where_channels_are(shape, read):
    assert picture_of("x", shape) == read


@pytest.mark.parametrize("shape", [(10, 10, 10), (3, 5, 3), (5, 3, 7)])
def test_what_fits_both_ways_or_none_is_not_guessed(shape):
    with pytest.raises(UserError, match=r"do not show where SmallCNN finds their channels; .* channels: first or last"):
        SmallCNN(shape)
    assert SmallCNN(shape, channels="last").planes.picture.channels == shape[2]
    assert SmallCNN(shape, channels="first").planes.picture.channels == shape[0]


@pytest.mark.parametrize(
    ("encoder", "side"), [(NatureCNN, 40), (SmallCNN, 9), (ImpalaCNN, 9), (TorchvisionBackbone, 33)]
)
def test_all_layouts_of_one_picture_have_the_same_features(encoder, side):
    torch.manual_seed(0)
    plain = encoder((6, side, side)).eval()
    pictures = torch.rand(3, 6, side, side)
    features = plain(pictures)
    assert features.shape == (3, *plain.feature_shape)
    for shape, shown in (
        ((side, side, 6), pictures.permute(0, 2, 3, 1)),
        ((2, 3, side, side), pictures.unflatten(1, (2, 3))),
        ((2, side, side, 3), pictures.unflatten(1, (2, 3)).permute(0, 1, 3, 4, 2)),
    ):
        other = encoder(shape).eval()
        other.load_state_dict(plain.state_dict())
        torch.testing.assert_close(other(shown), features)


def test_channels_lie_together_in_memory_and_results_do_not_depend_on_it():
    torch.manual_seed(0)
    encoder, pictures = NatureCNN((4, 40, 40)), torch.rand(2, 4, 40, 40)
    assert encoder.planes(pictures).is_contiguous(memory_format=torch.channels_last)
    apart = torch.relu(encoder.linear(encoder.layers(pictures).flatten(1)))
    torch.testing.assert_close(encoder(pictures), apart)


def test_the_network_of_2015_has_as_many_weights_as_the_paper_says():
    network = QNetwork((4, 84, 84), 18, 255.0, NatureCNN)
    expected = 4 * 32 * 64 + 32 + 32 * 64 * 16 + 64 + 64 * 64 * 9 + 64 + 7 * 7 * 64 * 512 + 512 + 512 * 18 + 18
    assert sum(each.numel() for each in network.parameters()) == expected


def test_sizes_and_channels_that_cannot_be_taken_are_one_sentence():
    with pytest.raises(UserError, match="NatureCNN reads pictures of at least 36 pixels a side, not 10 x 10; take"):
        NatureCNN((10, 10, 4))
    with pytest.raises(UserError, match="SmallCNN reads pictures of at most 40 pixels a side, not 84 x 84; take"):
        SmallCNN((84, 84, 4))
    with pytest.raises(UserError, match=r"ImpalaCNN reads pictures .* not \(4,\); for vectors take MLP"):
        ImpalaCNN((4,))
    with pytest.raises(UserError, match="read pictures of 1 or 3 channels, not 4; leave out weights"):
        TorchvisionBackbone((4, 84, 84), weights="DEFAULT")


def test_the_small_network_without_padding_is_minatars():
    network = QNetwork((4, 10, 10), 3, 1.0, partial(SmallCNN, widths=[16], padding=0))
    expected = 4 * 16 * 9 + 16 + 8 * 8 * 16 * 128 + 128 + 128 * 3 + 3
    assert sum(each.numel() for each in network.parameters()) == expected
    assert QNetwork.from_recipe(network.recipe)(torch.zeros(2, 4, 10, 10)).shape == (2, 3)
    with pytest.raises(UserError, match="at least 5 pixels a side, not 4 x 4; take padding 1 for smaller ones"):
        SmallCNN((6, 4, 4), padding=0)


def test_planes_of_a_grid_are_not_bytes():
    with pytest.raises(
        UserError, match="GridCNN reads planes of 0 and 1, and the environment's observations reach 255"
    ):
        QNetwork((3, 8, 8), 4, 255.0, GridCNN)


def test_one_channel_is_shown_to_a_network_for_colours():
    torch.manual_seed(0)
    grey = TorchvisionBackbone((33, 33)).eval()
    pictures = torch.from_numpy(np.random.default_rng(0).random((2, 33, 33), np.float32))
    colour = TorchvisionBackbone((3, 33, 33)).eval()
    colour.load_state_dict(grey.state_dict())
    torch.testing.assert_close(grey(pictures), colour(pictures[:, None].repeat(1, 3, 1, 1)))
