"""Checkpoints of an actor-critic without a run: fresh weights, sealed as a run's are."""

from pathlib import Path
from typing import Any

import torch

from iqlightning.agents.soft_actor_critic import SoftActorCritic
from iqlightning.algorithms.policy_record import policy_record
from iqlightning.checkpoint_files import write_checkpoint
from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.types import EnvConfig

PENDULUM = GymnasiumConfig("Pendulum-v1")


def actor(env: EnvConfig = PENDULUM, **changes: Any) -> SoftActorCritic:
    """An agent that has seen how observations scatter, and whose averaged actor differs from the other."""
    torch.manual_seed(0)
    agent = SoftActorCritic(env.spaces, **({"hidden": (8, 8), "layer_norm": True, "actor_average": 0.9} | changes))
    agent.fit_observations(torch.randn(200, *env.observation_shape) * torch.tensor([0.5, 2.0, 8.0]) + 1)
    with torch.no_grad():
        for weight in agent.actor.parameters():
            weight.mul_(1.5)
    return agent.eval().requires_grad_(False)


def actor_checkpoint(path: Path, env: EnvConfig = PENDULUM, **changes: Any) -> str:
    """What ``fit`` would have written; the path as text."""
    agent = actor(env, **changes)
    stored = {
        "state_dict": {f"agent.{name}": weight for name, weight in agent.state_dict().items()},
        "iqlightning": policy_record("IQLearn", agent, 0.9, env, 0, 7, {}),
    }
    write_checkpoint(stored, path)
    return str(path)
