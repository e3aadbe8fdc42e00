"""Encoders of observations, one a file."""

from iqlightning.nets.encoders.cell_attention import CellAttention
from iqlightning.nets.encoders.centred_cnn import CentredCNN
from iqlightning.nets.encoders.encoder import Encoder
from iqlightning.nets.encoders.grid_cnn import GridCNN
from iqlightning.nets.encoders.hierarchical_planner import HierarchicalPlanner
from iqlightning.nets.encoders.local_cnn import LocalCNN
from iqlightning.nets.encoders.log_planner import LogPlanner
from iqlightning.nets.encoders.mlp import MLP
from iqlightning.nets.encoders.planning_encoder import PlanningEncoder
from iqlightning.nets.encoders.recurrent_planner import RecurrentPlanner
from iqlightning.nets.encoders.residual_cnn import ResidualCNN
from iqlightning.nets.encoders.torchvision_backbone import TorchvisionBackbone
from iqlightning.nets.encoders.value_iteration import ValueIterationNetwork

__all__ = [
    "MLP",
    "CellAttention",
    "CentredCNN",
    "Encoder",
    "GridCNN",
    "HierarchicalPlanner",
    "LocalCNN",
    "LogPlanner",
    "PlanningEncoder",
    "RecurrentPlanner",
    "ResidualCNN",
    "TorchvisionBackbone",
    "ValueIterationNetwork",
]
