"""Inverse soft-Q imitation learning and its relatives as a PyTorch Lightning package.

Everything that a script or a notebook needs has its name here. Importing the package registers the Gymnasium
environments and stays light: torch and Lightning are imported when a name is first used.

>>> import gymnasium
>>> import iqlightning as iq
>>> gymnasium.spec("iqlightning/GridWorld-v0").id
'iqlightning/GridWorld-v0'
>>> iq.IQLearn(encoder="MLP", divergence=iq.Chi2(alpha=0.5)).hparams.gamma
0.99
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from iqlightning.registration import register_environments

if TYPE_CHECKING:
    from iqlightning.agents import Agent, SoftQ
    from iqlightning.agents.soft_actor_critic import SoftActorCritic
    from iqlightning.algorithms import DQN, LSIQ, SAC, SQIL, BehaviorCloning, IQFromObservations, IQLearn, Learner
    from iqlightning.algorithms.schedules import Cosine, Schedule, Steps
    from iqlightning.callbacks.best_and_last import BestAndLast
    from iqlightning.callbacks.policy_evaluation import PolicyEvaluation
    from iqlightning.checkpoints import load_policy
    from iqlightning.data import from_arrays
    from iqlightning.data.demonstrations import load_demonstrations
    from iqlightning.data.experience import OnlineReplay
    from iqlightning.data.imitation_data import ImitationData
    from iqlightning.data.replay_data import ReplayData
    from iqlightning.envs.dynamics.imagination import Imagination
    from iqlightning.envs.gymnasium import GymnasiumConfig
    from iqlightning.errors import UserError
    from iqlightning.evaluation.environment import evaluate_environment
    from iqlightning.gridworld.config import GridWorldConfig
    from iqlightning.gridworld.encoders import (
        CellAttention,
        CentredCNN,
        GridCNN,
        HierarchicalPlanner,
        LogPlanner,
        PlanningEncoder,
        RecurrentPlanner,
        RenderedBackbone,
        ResidualCNN,
        ValueIterationNetwork,
    )
    from iqlightning.losses.divergences import (
        Chi2,
        Chi2Mixture,
        Divergence,
        ForwardKL,
        Hellinger,
        Identity,
        JensenShannon,
        Penalized,
        PointwiseDivergence,
        ReverseKL,
        ReverseKLDual,
        ReverseKLFixed,
        TotalVariation,
        Wasserstein1,
    )
    from iqlightning.losses.iq import (
        ExpertAndPolicyStates,
        ExpertStates,
        ExpertStatesAsInitial,
        InitialStates,
        ValueTerm,
    )
    from iqlightning.losses.munchausen import Munchausen
    from iqlightning.losses.values import AnnealedSoftValue, MaxValue, SoftValue, ValueFunction
    from iqlightning.nets.encoders import MLP, Encoder, ImpalaCNN, LocalCNN, NatureCNN, SmallCNN, TorchvisionBackbone
    from iqlightning.nets.heads import DuelingHead, Head, PlainHead
    from iqlightning.nets.target import TargetUpdate
    from iqlightning.policies import AgentPolicy
    from iqlightning.registration import env_config_from_dict
    from iqlightning.spaces import Spaces
    from iqlightning.types import EnvConfig, Trajectories, Transition

__version__ = "0.1.0"

__all__ = [
    "DQN",
    "LSIQ",
    "MLP",
    "SAC",
    "SQIL",
    "Agent",
    "AgentPolicy",
    "AnnealedSoftValue",
    "BehaviorCloning",
    "BestAndLast",
    "CellAttention",
    "CentredCNN",
    "Chi2",
    "Chi2Mixture",
    "Cosine",
    "Divergence",
    "DuelingHead",
    "Encoder",
    "EnvConfig",
    "ExpertAndPolicyStates",
    "ExpertStates",
    "ExpertStatesAsInitial",
    "ForwardKL",
    "GridCNN",
    "GridWorldConfig",
    "GymnasiumConfig",
    "Head",
    "Hellinger",
    "HierarchicalPlanner",
    "IQFromObservations",
    "IQLearn",
    "Identity",
    "Imagination",
    "ImitationData",
    "ImpalaCNN",
    "InitialStates",
    "JensenShannon",
    "Learner",
    "LocalCNN",
    "LogPlanner",
    "MaxValue",
    "Munchausen",
    "NatureCNN",
    "OnlineReplay",
    "Penalized",
    "PlainHead",
    "PlanningEncoder",
    "PointwiseDivergence",
    "PolicyEvaluation",
    "RecurrentPlanner",
    "RenderedBackbone",
    "ReplayData",
    "ResidualCNN",
    "ReverseKL",
    "ReverseKLDual",
    "ReverseKLFixed",
    "Schedule",
    "SmallCNN",
    "SoftActorCritic",
    "SoftQ",
    "SoftValue",
    "Spaces",
    "Steps",
    "TargetUpdate",
    "TorchvisionBackbone",
    "TotalVariation",
    "Trajectories",
    "Transition",
    "UserError",
    "ValueFunction",
    "ValueIterationNetwork",
    "ValueTerm",
    "Wasserstein1",
    "__version__",
    "env_config_from_dict",
    "evaluate_environment",
    "from_arrays",
    "load_demonstrations",
    "load_policy",
]

#: Where the names are, module by module.
_PLACES = {
    "iqlightning.agents": (
        "Agent",
        "SoftQ",
    ),
    "iqlightning.agents.soft_actor_critic": ("SoftActorCritic",),
    "iqlightning.algorithms": (
        "DQN",
        "LSIQ",
        "SAC",
        "SQIL",
        "BehaviorCloning",
        "IQFromObservations",
        "IQLearn",
        "Learner",
    ),
    "iqlightning.algorithms.schedules": (
        "Cosine",
        "Schedule",
        "Steps",
    ),
    "iqlightning.callbacks.best_and_last": ("BestAndLast",),
    "iqlightning.callbacks.policy_evaluation": ("PolicyEvaluation",),
    "iqlightning.checkpoints": ("load_policy",),
    "iqlightning.data": ("from_arrays",),
    "iqlightning.data.demonstrations": ("load_demonstrations",),
    "iqlightning.data.experience": ("OnlineReplay",),
    "iqlightning.data.imitation_data": ("ImitationData",),
    "iqlightning.data.replay_data": ("ReplayData",),
    "iqlightning.envs.dynamics.imagination": ("Imagination",),
    "iqlightning.envs.gymnasium": ("GymnasiumConfig",),
    "iqlightning.errors": ("UserError",),
    "iqlightning.evaluation.environment": ("evaluate_environment",),
    "iqlightning.gridworld.config": ("GridWorldConfig",),
    "iqlightning.gridworld.encoders": (
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
    ),
    "iqlightning.losses.divergences": (
        "Chi2",
        "Chi2Mixture",
        "Divergence",
        "ForwardKL",
        "Hellinger",
        "Identity",
        "JensenShannon",
        "Penalized",
        "PointwiseDivergence",
        "ReverseKL",
        "ReverseKLDual",
        "ReverseKLFixed",
        "TotalVariation",
        "Wasserstein1",
    ),
    "iqlightning.losses.iq": (
        "ExpertAndPolicyStates",
        "ExpertStates",
        "ExpertStatesAsInitial",
        "InitialStates",
        "ValueTerm",
    ),
    "iqlightning.losses.munchausen": ("Munchausen",),
    "iqlightning.losses.values": (
        "AnnealedSoftValue",
        "MaxValue",
        "SoftValue",
        "ValueFunction",
    ),
    "iqlightning.nets.encoders": (
        "MLP",
        "Encoder",
        "ImpalaCNN",
        "LocalCNN",
        "NatureCNN",
        "SmallCNN",
        "TorchvisionBackbone",
    ),
    "iqlightning.nets.heads": (
        "DuelingHead",
        "Head",
        "PlainHead",
    ),
    "iqlightning.nets.target": ("TargetUpdate",),
    "iqlightning.policies": ("AgentPolicy",),
    "iqlightning.registration": ("env_config_from_dict",),
    "iqlightning.spaces": ("Spaces",),
    "iqlightning.types": (
        "EnvConfig",
        "Trajectories",
        "Transition",
    ),
}

_MODULES = {name: module for module, names in _PLACES.items() for name in names}

register_environments()


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
