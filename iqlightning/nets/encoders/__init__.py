"""Encoders of observations, one a file."""

from iqlightning.nets.encoders.encoder import Encoder
from iqlightning.nets.encoders.impala_cnn import ImpalaCNN
from iqlightning.nets.encoders.local_cnn import LocalCNN
from iqlightning.nets.encoders.mlp import MLP
from iqlightning.nets.encoders.nature_cnn import NatureCNN
from iqlightning.nets.encoders.small_cnn import SmallCNN
from iqlightning.nets.encoders.torchvision_backbone import TorchvisionBackbone

__all__ = ["MLP", "Encoder", "ImpalaCNN", "LocalCNN", "NatureCNN", "SmallCNN", "TorchvisionBackbone"]
