"""Encoders that read the planes walls, player and goal, one a file."""

from iqlightning.gridworld.encoders.cell_attention import CellAttention
from iqlightning.gridworld.encoders.centred_cnn import CentredCNN
from iqlightning.gridworld.encoders.grid_cnn import GridCNN
from iqlightning.gridworld.encoders.hierarchical_planner import HierarchicalPlanner
from iqlightning.gridworld.encoders.log_planner import LogPlanner
from iqlightning.gridworld.encoders.planning_encoder import PlanningEncoder
from iqlightning.gridworld.encoders.recurrent_planner import RecurrentPlanner
from iqlightning.gridworld.encoders.rendered_backbone import RenderedBackbone
from iqlightning.gridworld.encoders.residual_cnn import ResidualCNN
from iqlightning.gridworld.encoders.value_iteration import ValueIterationNetwork

__all__ = [
    "CellAttention",
    "CentredCNN",
    "GridCNN",
    "HierarchicalPlanner",
    "LogPlanner",
    "PlanningEncoder",
    "RecurrentPlanner",
    "RenderedBackbone",
    "ResidualCNN",
    "ValueIterationNetwork",
]
