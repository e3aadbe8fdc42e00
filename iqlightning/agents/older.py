"""Checkpoints of the first version, written when there were networks but no agents."""

from typing import Any

from gymnasium import spaces
from torch import Tensor

from iqlightning.spaces import Spaces

__all__ = ["agent_recipe_of", "current_names"]


def agent_recipe_of(stored: dict[str, Any]) -> dict[str, Any]:
    """The recipe of the agent in what a checkpoint says of its policy, of either version."""
    if "agent" in stored:
        return stored["agent"]
    network = stored["network"]
    shape, high = tuple(network["observation_shape"]), float(network["observation_high"])
    seen = Spaces(spaces.Box(0.0 if high > 1 else -float("inf"), high, shape), spaces.Discrete(network["num_actions"]))
    return {"kind": "SoftQ", "spaces": seen.to_dict(), "network": network, "value": stored["value"]}


def current_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A learner's weights by the names that they have now."""
    before = ("network.", "target_network.")
    return {f"agent.{name}" if name.startswith(before) else name: each for name, each in state.items()}
