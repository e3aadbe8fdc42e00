"""How each encoder is trained: with the same settings wherever experiments compare encoders."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

__all__ = ["PLANNING_ENCODERS", "RECIPES", "Recipe"]


class Recipe(NamedTuple):
    """How an encoder is trained: a configuration for each way of learning, and what is changed in it.

    Attributes:
        settings: dotted key to value, for all ways of imitation.
        dqn: the same for DQN.
        iq: name of the configuration of IQ-Learn.
        cloning: name of that of cloning.
        episodes_at_once: demonstrations that a batch draws from.
    """

    settings: Mapping[str, str] = MappingProxyType({})
    dqn: Mapping[str, str] = MappingProxyType({})
    iq: str = "cnn_iq"
    cloning: str = "cnn_bc"
    episodes_at_once: int = 16


_SMALL_STEPS = {"model.max_grad_norm": "0.03"}
# replayed transitions are of as many grids, each of which is planned
_FEW_GRIDS = {"data.batch_size": "64"}
# a network that is not the same in all directions is shown them all
_TURNED = {"data.symmetries": "true"}

RECIPES = {
    "LogPlanner": Recipe(
        {"model.encoder": "LogPlanner", "data.batch_size": "32", "data.per_episode": "4", **_SMALL_STEPS},
        {**_FEW_GRIDS, "trainer.max_steps": "1000"},
        episodes_at_once=8,
    ),
    "GridCNN": Recipe({"model.encoder": "GridCNN"}),
    "ValueIterationNetwork": Recipe(
        {"model.encoder": "ValueIterationNetwork", "trainer.max_steps": "2000", **_SMALL_STEPS, **_TURNED},
        {**_FEW_GRIDS, "model.optimizer.lr": "0.003", "model.max_grad_norm": "0.1", "trainer.max_steps": "4000"},
    ),
    # it has to find out what a wall is, and takes longer, and larger steps
    "RecurrentPlanner": Recipe(
        {"model.encoder": "RecurrentPlanner", "model.optimizer.lr": "0.003", "trainer.max_steps": "1000"}, _FEW_GRIDS
    ),
    "HierarchicalPlanner": Recipe(
        {"model.encoder": "HierarchicalPlanner", "trainer.max_steps": "800", **_TURNED},
        {**_FEW_GRIDS, "model.max_grad_norm": "0.1"},
    ),
    "CellAttention": Recipe(
        {"model.encoder": "CellAttention", **_SMALL_STEPS}, {**_FEW_GRIDS, "trainer.max_steps": "1000"}
    ),
    "ResidualCNN": Recipe({"model.encoder": "ResidualCNN"}),
    "CentredCNN": Recipe({"model.encoder": "CentredCNN"}),
    "MLP": Recipe(
        {"trainer.max_steps": "1500", "data.batch_size": "32"}, iq="mlp_iq", cloning="mlp_bc", episodes_at_once=0
    ),
}

#: Those that pass values from cell to cell until they are those of a plan.
PLANNING_ENCODERS = (
    "LogPlanner",
    "GridCNN",
    "ValueIterationNetwork",
    "RecurrentPlanner",
    "HierarchicalPlanner",
    "CellAttention",
)
