"""What a run trains, on what and where, in one line."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer

from iqlightning.agents import Agent
from iqlightning.callbacks.stop_on_signal import short_path

__all__ = ["opening_line"]


def opening_line(trainer: Trainer, module: Any, folder: Path | None) -> str:
    """For example ``cnn_iq -> logs/cnn_iq/version_0: IQLearn, GridCNN, 3,137 weights, 450 demonstrations of ..., cpu``.

    Args:
        trainer: of the run.
        module: what it trains; of one without an agent nothing but its class is known.
        folder: of the run, if it has one.
    """
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    parts = [type(module).__name__]
    agent = getattr(module, "agent", None)
    if isinstance(agent, Agent):
        weights = sum(each.numel() for each in agent.parameters() if each.requires_grad)
        parts += [_network(agent), f"{weights:,} weights"]
    parts += [getattr(data, "in_brief", ""), _device(trainer, module.device)]
    where = f"{folder.parent.name} -> {short_path(folder)}: " if folder else ""
    return f"{where}{', '.join(part for part in parts if part)}{_seen(agent) if isinstance(agent, Agent) else ''}"


def _network(agent: Agent) -> str:
    """What the policy sees with; of an agent without an encoder, the agent."""
    return type(agent if agent.encoder is None else agent.encoder).__name__


def _device(trainer: Trainer, device: torch.device) -> str:
    return str(device) if trainer.world_size == 1 else f"{trainer.world_size} processes on {device.type}"


def _seen(agent: Agent) -> str:
    """How networks see observations, where that is not as they are."""
    if agent.sees.name == "none" and agent.spaces.codec is None:
        return ""
    shape = " x ".join(map(str, agent.spaces.observation_shape))
    given = f"{shape} numbers" if agent.spaces.codec is None else agent.spaces.codec.describe()
    return f"; observations: {given}; networks see them {agent.sees.words} ({' x '.join(map(str, agent.sees.shape))})"
