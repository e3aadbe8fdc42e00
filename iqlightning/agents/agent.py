r"""What an agent is: Q, V and the policy over one pair of spaces, so that an algorithm need not know what actions are.

The soft value of a state and the policy that goes with it are two sides of one thing (Haarnoja et al. 2017, arXiv
1702.08165, eq. 3; 2018, arXiv 1801.01290, eq. 3):

    V(s) = temperature log sum_a exp(Q(s, a) / temperature)           where actions can be counted,
    V(s) = E_{a ~ pi(. | s)}[Q(s, a) - temperature log pi(a | s)]     where an actor draws them.

An algorithm asks for the terms of its Bellman equation and never which of the two it got.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any, NamedTuple

import torch
from gymnasium.spaces import Discrete
from jaxtyping import Float
from torch import Tensor, nn

from iqlightning.agents.observation_scale import ObservationScale
from iqlightning.errors import UserError, unknown
from iqlightning.losses.iq import BellmanTerms
from iqlightning.nets.encoders.encoder import Encoder
from iqlightning.nets.joined import joined
from iqlightning.nets.q_network import EncoderFactory
from iqlightning.recorded import Recorded
from iqlightning.spaces import Spaces
from iqlightning.types import Batch, Transition

__all__ = [
    "AGENTS",
    "Agent",
    "AgentFactory",
    "Bellman",
    "Keys",
    "Objective",
    "OptimizerFactory",
    "Step",
    "agent_from_recipe",
    "encoder_for",
    "require_discrete",
]

OptimizerFactory = Callable[[Iterable], torch.optim.Optimizer]
"""Builds the optimizer from parameters."""

Keys = tuple[int | Tensor, ...]
"""Keys of :mod:`iqlightning.keyed` that name a batch of draws, the last of them one number for each row."""

#: Kind of agent in a checkpoint to the module of its class.
AGENTS: dict[str, str] = {
    "SoftActorCritic": "iqlightning.agents.soft_actor_critic",
    "SoftQ": "iqlightning.agents.soft_q",
}


class Objective(NamedTuple):
    """What is computed of a batch.

    Attributes:
        loss: the scalar to minimise.
        terms: its terms, scalars; their means over the updates since the last log are logged.
        diagnostics: further scalars, computed on the updates that are logged only.
    """

    loss: Tensor
    terms: dict[str, Tensor]
    diagnostics: Callable[[], dict[str, Tensor]]


class Step(NamedTuple):
    """One optimizer step of an update; an update makes all steps of its agent in turn, on the same batch.

    Attributes:
        name: of what is trained.
        module: whose parameters the optimizer steps.
        objective: of a batch, to its loss, terms and diagnostics.
        optimizer: builds the optimizer; None for the run's own.
    """

    name: str
    module: nn.Module
    objective: Callable[[Batch], Objective]
    optimizer: OptimizerFactory | None = None


class Bellman(NamedTuple):
    """The terms of several parts of a batch, from one pass over all states.

    V is that of the smallest Q of all copies and shared by them; Q(s, a) is each copy's own.

    Attributes:
        copies: for each copy of Q the terms of each part.
        initial_v: (I,) V of the initial states, if there were any.
        memory: what the agent keeps for :meth:`Agent.diagnose`.
    """

    copies: list[list[BellmanTerms]]
    initial_v: Tensor | None
    memory: Any

    @property
    def parts(self) -> list[BellmanTerms]:
        """The terms of each part by the first copy."""
        return self.copies[0]

    def share_beyond(self, limit: float) -> Float[Tensor, ""]:
        """Share of V(s'), over all parts, that lies outside +- a limit: of the targets that clipping changes."""
        values = torch.cat([part.next_v for part in self.parts])
        return (values.abs() > limit).to(values.dtype).mean()

    def objective(
        self, objective: Callable[..., tuple[Tensor, dict[str, Tensor]]]
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """The mean over copies of an objective and of its terms.

        Args:
            objective: of the terms of each part, to the loss and its terms.
        """
        results = [objective(*terms) for terms in self.copies]
        loss, scalars = results[0]
        if len(results) > 1:
            loss = torch.stack([each for each, _ in results]).mean()
            scalars = {name: torch.stack([each[name] for _, each in results]).mean() for name in scalars}
        return loss, scalars


class Agent(nn.Module, Recorded):
    """Q(s, a), V(s) and pi(a | s) over one pair of spaces, their target and their temperature.

    Shapes: observations (B, *observation shape) of any real dtype, as the environment gives them; actions (B,) int64 or
    (B, *action shape) float32.

    Attributes:
        spaces: of observations and actions.
        sees: how networks see observations.
    """

    spaces: Spaces
    sees: ObservationScale

    built_later = True

    @property
    @abstractmethod
    def temperature(self) -> float:
        """Weight of the entropy, in units of reward; that of drawn actions."""

    @property
    @abstractmethod
    def num_copies(self) -> int:
        """Copies of Q, of which the smallest counts."""

    @abstractmethod
    def q(self, obs: Tensor, actions: Tensor) -> Float[Tensor, "copies batch"]:
        """Q(s, a) of every copy."""

    @abstractmethod
    def v(self, obs: Tensor, *, target: bool = False, keys: Keys | None = None) -> Float[Tensor, " batch"]:
        """V(s).

        Args:
            obs: (B, *shape).
            target: by the target network, where there is one.
            keys: of actions that an actor draws; None for the same draws at every call.
        """

    @abstractmethod
    def log_prob(self, obs: Tensor, actions: Tensor) -> Float[Tensor, " batch"]:
        """Log pi(a | s), in nats; a density where actions are continuous."""

    @abstractmethod
    def squared_error(self, obs: Tensor, actions: Tensor) -> Float[Tensor, " batch"]:
        """Mean over an action's numbers of (mean action - a)^2, in units of half their range; see BehaviorCloning.

        Raises:
            UserError: where actions are discrete and have no mean.
        """

    @abstractmethod
    def act(
        self, obs: Tensor, *, sample: bool = False, temperature: float | None = None, keys: Keys | None = None
    ) -> Tensor:
        """Actions: the best (the mean of an actor), or drawn from the policy.

        Args:
            obs: (B, *shape).
            sample: draw.
            temperature: of softmax(Q / temperature); None for the agent's own.
            keys: of the draws; None for torch's own generator.
        """

    def explore(self, obs: Tensor, keys: Keys) -> Tensor:
        """Actions to collect transitions with: drawn from the policy, and what an agent adds to that.

        Args:
            obs: (B, *shape).
            keys: of the draws.
        """
        return self.act(obs, sample=True, keys=keys)

    @abstractmethod
    def bellman(self, parts: Sequence[Transition], initial: Tensor | None = None) -> Bellman:
        """One pass over all states of the parts and, if there are any, over initial states.

        Args:
            parts: transitions. Where actions are not known but guessed, ``actions`` may be probabilities (B, A) of
                discrete ones; Q(s, a) is then their mean.
            initial: (I, *shape) initial states.
        """

    @abstractmethod
    def q_for_penalty(self, obs: Tensor, actions: Tensor | None) -> Float[Tensor, "batch columns"]:
        """Q of every action, or of every copy at the given ones: whose slopes a gradient penalty bounds."""

    @property
    @abstractmethod
    def observation_scale(self) -> float:
        """The value that networks scale to 1; distances between observations are measured after it."""

    @abstractmethod
    def steps(self, objective: Callable[[Batch], Objective], *others: nn.Module) -> list[Step]:
        """The steps of an update whose objective is one of Q.

        Args:
            objective: the algorithm's.
            others: modules that are trained along, by the same step.
        """

    @abstractmethod
    def cloning_steps(self, objective: Callable[[Batch], Objective]) -> list[Step]:
        """The steps of an update whose objective is one of ``log_prob``."""

    @abstractmethod
    def diagnose(self, bellman: Bellman, part: int = 0) -> dict[str, Tensor]:
        """Means over a part: ``q``, ``v``, ``v_minus_q`` and the policy's ``entropy`` in nats."""

    @abstractmethod
    def entropy(self, obs: Tensor) -> Float[Tensor, " batch"]:
        """Of the policy, in nats; differential where actions are continuous."""

    @abstractmethod
    def predict(self, obs: Tensor) -> dict[str, Tensor]:
        """What ``predict`` writes: ``v`` (B,), ``actions``, and ``q`` (B, A) where actions are discrete."""

    @abstractmethod
    def answers(self, obs: Tensor) -> dict[str, Tensor]:
        """What an exported program gives, nothing drawn: ``actions``, the best ones, and what they are worth.

        ``q_values`` (B, A) and ``values`` (B,) where actions are discrete, ``q`` (B,) of those actions otherwise.
        """

    @property
    @abstractmethod
    def encoder(self) -> Encoder | None:
        """What the policy sees with; None where it takes observations as they are."""

    @abstractmethod
    def agreement(self, obs: Tensor, actions: Tensor) -> Float[Tensor, " batch"]:
        """How well the policy's best action agrees with a given one; 1 where they are the same, at most 1."""

    def value_after(self, next_obs: Tensor, terminated: Tensor, *, keys: Keys | None = None) -> Float[Tensor, " batch"]:
        """V(s') where the episode goes on, and what an ended one is worth (0) elsewhere."""
        return self.v(next_obs, keys=keys).masked_fill(terminated, 0.0)

    def with_noise(self, batch: Batch, seed: int, update: int, rank: int, world_size: int) -> Batch:
        """The batch with all that the update is going to draw, keyed by seed, update and position; here nothing."""
        return batch

    @property
    def wants_observations(self) -> bool:
        """Whether :meth:`fit_observations` is still to be called."""
        return False

    def see_as(self, other: "Agent") -> None:
        """Takes over how another agent of its kind scales observations."""
        return

    def fit_observations(self, obs: Tensor | None) -> None:
        """Told the observations (N, *shape) of the demonstrations that are trained on; None if there are none."""
        return

    def for_cloning(self, temperature: float) -> "Agent":
        """Itself, as the likelihood alone is to train it: nothing follows its weights, its temperature is this one."""
        return self

    draws: bool = False
    """Whether an update draws numbers, see :meth:`with_noise`."""

    scheduled: bool = False
    """Whether a setting changes from update to update, which a compiled update cannot follow."""

    def at(self, update: int) -> None:
        """Told the number of the gradient update (from 0) that comes next; schedules move."""
        return

    @abstractmethod
    def after_update(self, update: int) -> None:
        """Called after gradient update number ``update`` (from 1), within the step: targets move here."""

    @property
    @abstractmethod
    def architecture(self) -> dict[str, Any]:
        """The part of :attr:`recipe` that has to agree for weights to be loaded."""

    @property
    @abstractmethod
    def recipe(self) -> dict[str, Any]:
        """Plain data from which :func:`agent_from_recipe` builds the same agent, but for its weights and target."""

    @classmethod
    @abstractmethod
    def from_recipe(cls, recipe: dict[str, Any]) -> "Agent":
        """The agent of :attr:`recipe`, its weights fresh, without a target."""

    @abstractmethod
    def load_weights(self, state: dict[str, Tensor]) -> None:
        """Loads what acting and valuing need from a whole :meth:`state_dict`, targets left out."""

    @property
    def device(self) -> torch.device:
        """Where its weights live."""
        return next(self.parameters()).device


AgentFactory = Callable[[Spaces], Agent]
"""Builds an agent from the spaces of an environment."""


def agent_from_recipe(recipe: dict[str, Any]) -> Agent:
    """The agent that a checkpoint describes.

    Raises:
        UserError: if there is no such kind of agent.
    """
    kind = recipe.get("kind")
    if kind not in AGENTS:
        raise unknown("kind of agent", kind, AGENTS)
    return getattr(import_module(AGENTS[kind]), kind).from_recipe(recipe)


def encoder_for(spaces: Spaces, encoder: EncoderFactory, seen: ObservationScale) -> EncoderFactory:
    """The encoder of a run; where observations hold pictures beside other numbers, it is the pictures' alone."""
    if spaces.codec is None or not spaces.codec.pictures:
        return encoder
    pictures = seen.pictures or [(part.start, *part.shape) for part in spaces.codec.pictures]
    return lambda shape: joined(shape, pictures, encoder)


def require_discrete(what: str, spaces: Spaces, instead: str) -> None:
    """For what works with actions that can be counted only.

    Raises:
        UserError: if they cannot.
    """
    if not isinstance(spaces.action, Discrete):
        raise UserError(
            f"{what} needs discrete actions, and this environment's are a {type(spaces.action).__name__}; {instead}"
        )
