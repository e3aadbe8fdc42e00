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
from iqlightning.registration import env_config_from_dict

__all__ = ["load_policy"]

_PREFIX = "agent."

# Version 1 knew networks, but no agents.
_READ = (1, POLICY_SCHEMA)


def load_policy(path: str | Path, device: str | torch.device = "cpu") -> AgentPolicy:
    """The policy of a checkpoint: its agent, discount and environment, rebuilt from the file alone.

    Args:
        path: a ``.ckpt`` file that ``fit`` wrote.
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
    except UserError as error:
        raise UserError(f"'{path}' holds no policy that can be built: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, MemoryError) as error:
        # its seal is right, so that nothing is damaged: it was made by another program
        detail = " ".join(str(error).splitlines()[-1:]).strip()
        raise UserError(
            f"'{path}' holds no policy that can be built ({type(error).__name__}: {detail:.200}); train it again or "
            "install the version that wrote it"
        ) from error
    policy.agent.to(device)
    return policy


def _built(stored: dict[str, Any], state: dict[str, Tensor]) -> AgentPolicy:
    agent = agent_from_recipe(agent_recipe_of(stored))
    weights = current_names(state).items()
    agent.load_weights({name.removeprefix(_PREFIX): each for name, each in weights if name.startswith(_PREFIX)})
    agent.eval().requires_grad_(False)
    info = {name: stored[name] for name in ("algorithm", "seed", "updates", "metrics")}
    return AgentPolicy(agent, stored["gamma"], env_config_from_dict(stored["env"]), info)
