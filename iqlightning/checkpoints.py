"""From a checkpoint file to the policy in it, with nothing else at hand."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from iqlightning.agents.agent import agent_from_recipe
from iqlightning.agents.older import agent_recipe_of, current_names
from iqlightning.checkpoint_files import read_checkpoint
from iqlightning.errors import UserError
from iqlightning.policies import POLICY_SCHEMA, AgentPolicy
from iqlightning.provenance import MADE_KEY
from iqlightning.registration import env_config_from_dict

__all__ = ["load_policy"]

_PREFIX = "agent."

# Version 1 knew networks, but no agents.
_READ = (1, POLICY_SCHEMA)


def load_policy(path: str | Path, device: str | torch.device = "cpu") -> AgentPolicy:
    """The policy of a checkpoint: its agent, discount and environment, rebuilt from the file alone.

    Args:
        path: a ``.ckpt`` file that ``fit``, ``trainer.save_checkpoint`` or ``ModelCheckpoint`` wrote.
        device: where to put the agent.

    Raises:
        UserError: if the file is missing, damaged, of another program or of another version.
    """
    checkpoint: dict[str, Any] = read_checkpoint(path)
    stored = checkpoint.get("iqlightning")
    if not isinstance(stored, dict):
        raise UserError(f"'{path}' is a checkpoint, but not one of iqlightning")
    if stored.get("schema") not in _READ:
        raise UserError(
            f"'{path}' has checkpoint version {stored.get('schema')}, this iqlightning reads version {POLICY_SCHEMA}; "
            "train it again or install the version that wrote it"
        )
    try:
        policy = _built(stored, checkpoint["state_dict"])
        if isinstance(made := checkpoint.get(MADE_KEY), dict):  # earlier versions had none
            policy.info["made"] = made
    except UserError as error:
        raise UserError(f"'{path}' holds no policy that can be built: {error}") from error
    except (TypeError, ValueError, AttributeError, LookupError, RuntimeError, ArithmeticError, MemoryError) as error:
        # its seal is right, so that nothing is damaged: it was made by another program
        detail = " ".join(str(error).splitlines()[-1:]).strip()
        raise UserError(
            f"'{path}' holds no policy that can be built ({type(error).__name__}: {detail:.200}); train it again or "
            "install the version that wrote it"
        ) from error
    policy.agent.to(device)
    return policy


def _info_of(stored: dict[str, Any]) -> dict[str, Any]:
    """What is known of a policy beside its weights, each of the kind that it is written as."""
    info = {name: stored[name] for name in ("algorithm", "seed", "updates", "metrics")}
    metrics = info["metrics"]
    right = {
        "algorithm": isinstance(info["algorithm"], str),
        "seed": type(info["seed"]) in (int, type(None)),
        "updates": type(info["updates"]) is int and 0 <= info["updates"] < 1 << 63,
        "metrics": isinstance(metrics, dict)
        and all(isinstance(name, str) and isinstance(value, float) for name, value in metrics.items()),
        "gamma": isinstance(stored["gamma"], int | float) and 0.0 <= stored["gamma"] <= 1.0,
    }
    if wrong := [name for name, holds in right.items() if not holds]:
        raise UserError(f"its {wrong[0]} is {stored[wrong[0]]!r:.40}")
    return info


def _built(stored: dict[str, Any], state: dict[str, Tensor]) -> AgentPolicy:
    agent = agent_from_recipe(agent_recipe_of(stored))
    weights = current_names(state).items()
    agent.load_weights({name.removeprefix(_PREFIX): each for name, each in weights if name.startswith(_PREFIX)})
    agent.eval().requires_grad_(False)
    env = None if stored["env"] is None else env_config_from_dict(stored["env"])  # learnt from data alone
    return AgentPolicy(agent, stored["gamma"], env, _info_of(stored), stored.get("first_action"))
