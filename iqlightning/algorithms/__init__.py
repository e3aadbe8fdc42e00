"""Algorithms, one LightningModule a file."""

from iqlightning.algorithms.behavior_cloning import BehaviorCloning
from iqlightning.algorithms.dqn import DQN
from iqlightning.algorithms.iq_from_observations import IQFromObservations
from iqlightning.algorithms.iq_learn import IQLearn
from iqlightning.algorithms.learner import Learner
from iqlightning.algorithms.ls_iq import LSIQ
from iqlightning.algorithms.sac import SAC
from iqlightning.algorithms.sqil import SQIL

__all__ = ["DQN", "LSIQ", "SAC", "SQIL", "BehaviorCloning", "IQFromObservations", "IQLearn", "Learner"]
