"""From a checkpoint file to the policy in it, with nothing else at hand."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from iqlightning.checkpoint_files import read_checkpoint
from iqlightning.errors import UserError
from iqlightning.losses.values import value_from_dict
from iqlightning.nets.q_network import QNetwork
from iqlightning.policies import POLICY_SCHEMA, QPolicy
from iqlightning.registration import env_config_from_dict

__all__ = ["load_policy"]

_PREFIX = "network."


def load_policy(path: str | Path, device: str | torch.device = "cpu") -> QPolicy:
    """The policy of a checkpoint: its network, value function, discount and environment, rebuilt from the file alone.

    Args:
        path: a ``.ckpt`` file that ``fit`` wrote.
        device: where to put the network.

    Raises:
        UserError: if the file is missing, damaged, of another program or of another version.
    """
    checkpoint: dict[str, Any] = read_checkpoint(path)
    stored = checkpoint.get("iqlightning")
    if not isinstance(stored, dict):
        raise UserError(f"'{path}' is a checkpoint, but not one of iqlightning")
    if stored.get("schema") != POLICY_SCHEMA:
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
    policy.network.to(device)
    return policy


def _built(stored: dict[str, Any], state: dict[str, Tensor]) -> QPolicy:
    network = QNetwork.from_recipe(stored["network"])
    network.load_state_dict(
        {name.removeprefix(_PREFIX): value for name, value in state.items() if name.startswith(_PREFIX)}
    )
    network.eval().requires_grad_(False)
    info = {name: stored[name] for name in ("algorithm", "seed", "updates", "metrics")}
    return QPolicy(
        network, value_from_dict(stored["value"]), stored["gamma"], env_config_from_dict(stored["env"]), info
    )
