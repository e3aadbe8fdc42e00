"""What a checkpoint says of its policy: enough to rebuild it from the file alone, and to tell it from another's."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from iqlightning.agents.agent import Agent, agent_from_recipe
from iqlightning.agents.older import agent_recipe_of
from iqlightning.errors import UserError
from iqlightning.policies import POLICY_SCHEMA
from iqlightning.types import EnvConfig

__all__ = ["policy_record", "require_same_policy"]


def policy_record(
    algorithm: str,
    agent: Agent,
    gamma: float,
    env: EnvConfig | None,
    seed: int,
    updates: int,
    metrics: Mapping[str, Tensor],
) -> dict[str, Any]:
    """Plain data for the key ``iqlightning`` of a checkpoint."""
    return {
        "schema": POLICY_SCHEMA,
        "algorithm": algorithm,
        "agent": agent.recipe,
        "gamma": float(gamma),
        "env": None if env is None else env.to_dict(),
        "first_action": 0 if env is None else env.first_action,
        "seed": int(seed),
        "updates": updates,
        "metrics": {name: float(value) for name, value in metrics.items()},
    }


def require_same_policy(record: Mapping[str, Any], algorithm: str, agent: Agent) -> None:
    """Refuses a checkpoint of another algorithm or network with a sentence instead of a list of keys.

    Raises:
        UserError: saying which part differs.
    """
    if record.get("algorithm") != algorithm:
        raise UserError(f"the checkpoint is of {record.get('algorithm')}, this run's algorithm is {algorithm}")
    ours, theirs = agent.architecture, agent_recipe_of(dict(record))
    # built, so that arguments that have been added since stand at their defaults
    theirs = agent_from_recipe(theirs).architecture if theirs["kind"] == agent.recipe["kind"] else theirs
    if theirs != ours:
        part = next(name for name in ours | theirs if ours.get(name) != theirs.get(name))
        raise UserError(
            f"the checkpoint's network differs in its {part}: {theirs.get(part)}, this run's: {ours.get(part)}"
        )
