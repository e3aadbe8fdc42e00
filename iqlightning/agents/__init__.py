"""Agents: what is learnt, saved and played; one kind a file."""

from iqlightning.agents.agent import Agent, AgentFactory, Bellman, Step, agent_from_recipe
from iqlightning.agents.soft_q import SoftQ

__all__ = ["Agent", "AgentFactory", "Bellman", "SoftQ", "Step", "agent_from_recipe"]
