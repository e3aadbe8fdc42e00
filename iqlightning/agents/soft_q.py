"""The agent of discrete actions: one network Q(s, .), and value and policy in closed form."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from iqlightning import keyed
from iqlightning.agents.agent import Agent, Bellman, Keys, Objective, Step, encoder_for, require_discrete
from iqlightning.agents.observation_scale import (
    ObservationScale,
    Scale,
    Standardised,
    divided_by,
    observation_scale,
)
from iqlightning.errors import UserError
from iqlightning.losses.iq import BellmanTerms
from iqlightning.losses.values import SoftValue, ValueFunction, value_from_dict
from iqlightning.nets.encoders.encoder import Encoder
from iqlightning.nets.heads import Head, PlainHead
from iqlightning.nets.q_network import QNetwork
from iqlightning.nets.target import TargetUpdate
from iqlightning.spaces import Spaces, num_actions
from iqlightning.types import Batch, Transition

__all__ = ["SoftQ"]

# Q of an action that is not allowed.
_FORBIDDEN = -1e6


class SoftQ(Agent):
    r"""V(s) = temperature log sum_a exp(Q(s, a) / temperature), pi(a | s) = exp((Q(s, a) - V(s)) / temperature).

    With :class:`~iqlightning.losses.values.MaxValue` V is the maximum, and the policy drawn from softmax(Q /
    temperature) all the same. Haarnoja et al. 2017, arXiv 1702.08165; Garg et al. 2021, arXiv 2106.12142, section 3.

    Where observations tell which actions are allowed (``Spaces.mask``), Q of the others is so low that no sum, maximum
    or draw takes them in; where none is allowed, as at the end of an episode, all count.

    Args:
        spaces: of the environment; actions are discrete.
        encoder: builds the encoder from an observation's shape.
        head: builds the head from the encoder's feature shape and the number of actions.
        value: V from Q; by default soft at temperature 0.01.
        target: V(s') from a target network that follows so; None takes it from the network itself.
        copies: networks of their own weights, of which the smallest Q counts; 2 for twin Q.
        scale: how observations are scaled, see :mod:`iqlightning.agents.observation_scale`.

    Raises:
        UserError: if actions are not discrete, or a network or the scale does not fit the spaces.
    """

    def __init__(
        self,
        spaces: Spaces,
        encoder: Callable[[tuple[int, ...]], Encoder],
        head: Callable[[tuple[int, ...], int], Head] = PlainHead,
        value: ValueFunction | None = None,
        target: TargetUpdate | None = None,
        copies: int = 1,
        scale: Scale = "auto",
    ) -> None:
        require_discrete("SoftQ", spaces, "set model.agent: SoftActorCritic, or take SAC instead of DQN")
        seen = observation_scale(spaces, scale)
        reads = encoder_for(spaces, encoder, seen)
        network = QNetwork(seen.shape, num_actions(spaces.action), seen.divisor, reads, head, copies)
        self._begin(spaces, network, value, target, seen)

    @classmethod
    def of(
        cls,
        spaces: Spaces,
        network: QNetwork,
        value: ValueFunction | None = None,
        target: TargetUpdate | None = None,
        seen: ObservationScale | None = None,
    ) -> "SoftQ":
        """The agent of a network that there is already; without a scale, the network has all that is scaled."""
        agent = cls.__new__(cls)
        agent._begin(spaces, network, value, target, seen)
        return agent

    def _begin(
        self,
        spaces: Spaces,
        network: QNetwork,
        value: ValueFunction | None,
        target: TargetUpdate | None,
        seen: ObservationScale | None,
    ) -> None:
        super().__init__()
        self.spaces, self.network = spaces, network
        self.sees = seen or divided_by(spaces, network.observation_high)
        self.scale = self.sees.module
        self.value = value or SoftValue()
        self.scheduled = type(self.value).at is not ValueFunction.at
        self.target = target
        self.target_network: nn.Module | None = target.copy(network) if target else None

    @property
    def temperature(self) -> float:
        """Of the softmax, in units of reward."""
        return self.value.temperature

    @property
    def num_copies(self) -> int:
        """Networks of which the smallest Q counts."""
        return 1 + len(self.network.others)

    # ---- Q, V and the policy

    def _seen(self, obs: Tensor) -> Tensor:
        """Observations as networks see them, but for a number that all are divided by, which is the network's own."""
        return obs if self.scale is None else self.scale(obs).to(self._dtype)

    def _asked(self, network: Callable[[Tensor], Tensor], obs: Tensor) -> Float[Tensor, "... batch actions"]:
        """What a network says of observations; next to nothing of actions that are not allowed."""
        q = network(self._seen(obs))
        allowed = self.spaces.allowed(obs)
        if allowed is None:
            return q
        allowed = allowed | ~allowed.any(1, keepdim=True)
        return q.masked_fill(~allowed, max(_FORBIDDEN, torch.finfo(q.dtype).min / 2))

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.network.head.parameters()).dtype

    def q_values(self, obs: Tensor, *, target: bool = False) -> Float[Tensor, "batch actions"]:
        """Q(s, .), the smallest of all copies; of the target network on request, where there is one."""
        return self._asked(self.target_network if target and self.target_network is not None else self.network, obs)

    def q_values_of_both(
        self, obs: Tensor, next_obs: Tensor
    ) -> tuple[Float[Tensor, "batch actions"], Float[Tensor, "batch actions"]]:
        """Q(s, .) with a gradient and Q(s', .) without, in one pass where the encoder gains by it."""
        if self.network.encoder.shares_work:
            q, next_q = self._asked(self.network, torch.cat([obs, next_obs])).chunk(2)
            return q, next_q.detach()
        q = self._asked(self.network, obs)
        with torch.no_grad():  # no gradient goes this way: not to compute it is a third less work
            return q, self._asked(self.network, next_obs)

    def q(self, obs: Tensor, actions: Tensor) -> Float[Tensor, "copies batch"]:
        """Q(s, a) of every copy."""
        return _chosen(self._asked(self.network.each, obs), actions)

    def v(self, obs: Tensor, *, target: bool = False, keys: Keys | None = None) -> Float[Tensor, " batch"]:
        """V(s); nothing is drawn."""
        return self.value(self.q_values(obs, target=target))

    def log_probs(self, obs: Tensor) -> Float[Tensor, "batch actions"]:
        """Log softmax(Q(s, .) / temperature)."""
        return torch.log_softmax(self.q_values(obs) / self.temperature, dim=1)

    def log_prob(self, obs: Tensor, actions: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """Log softmax(Q(s, .) / temperature)_a."""
        return self.log_probs(obs).gather(1, actions[:, None])[:, 0]

    def squared_error(self, obs: Tensor, actions: Tensor) -> Float[Tensor, " batch"]:
        """There is none."""
        raise UserError(
            "a mean squared error of actions needs continuous ones, and SoftQ's are discrete: take loss nll"
        )

    def act(
        self, obs: Tensor, *, sample: bool = False, temperature: float | None = None, keys: Keys | None = None
    ) -> Int[Tensor, " batch"]:
        """The best actions, or drawn from softmax(Q / temperature)."""
        q = self.q_values(obs)
        if not sample:
            return q.argmax(1)
        # Gumbel's trick draws the whole batch at once: argmax of logits plus standard Gumbel noise
        if keys is None:
            noise = torch.rand_like(q).clamp_min(1e-20)
        else:
            q = q.double()
            *shared, rows = keys
            assert isinstance(rows, Tensor)
            noise = keyed.uniform(*shared, rows[:, None], torch.arange(q.shape[1], device=q.device)).clamp_min(1e-300)
        return (q / (self.temperature if temperature is None else temperature) - torch.log(-torch.log(noise))).argmax(1)

    # ---- learning

    def bellman(self, parts: Sequence[Transition], initial: Tensor | None = None) -> Bellman:
        """One pass over all states; V(s') comes from the target network, without gradients, where there is one."""
        states = [part.obs for part in parts] + ([] if initial is None else [initial])
        successors = [part.next_obs for part in parts]
        sizes = [len(obs) for obs in states]
        if self.target_network is None:
            sizes += [len(obs) for obs in successors]
            copies = self._each(torch.cat(states + successors))
            smallest = _smallest(copies)
            v = self.value(smallest).split(sizes)
            next_v = v[len(states) :]
        else:
            copies = self._each(torch.cat(states))
            smallest = _smallest(copies)
            v = self.value(smallest).split(sizes)
            with torch.no_grad():
                next_q = self._asked(self.target_network, torch.cat(successors))
                next_v = self.value(next_q).split([len(obs) for obs in successors])
        q = smallest.split(sizes)
        terms = [
            [
                BellmanTerms(_chosen(own, part.actions), v[i], next_v[i], part.terminated)
                for i, (own, part) in enumerate(zip(q if len(copies) == 1 else copy.split(sizes), parts, strict=False))
            ]
            for copy in copies
        ]
        kept = [(own, part.actions) for own, part in zip(q, parts, strict=False)]
        return Bellman(terms, None if initial is None else v[len(parts)], kept)

    def _each(self, obs: Tensor) -> Sequence[Tensor]:
        """Q(s, .) of every copy."""
        if self.num_copies == 1:
            return [self._asked(self.network, obs)]
        return self._asked(self.network.each, obs).unbind(0)

    def q_for_penalty(self, obs: Tensor, actions: Tensor | None) -> Float[Tensor, "batch actions"]:
        """Q(s, .), of actions that are not allowed as well."""
        return self.network(self._seen(obs))

    @property
    def observation_scale(self) -> float:
        """The value that the network scales to 1."""
        return self.network.observation_high

    @property
    def wants_observations(self) -> bool:
        """Until mean and deviation are known, where they are asked for."""
        return isinstance(self.scale, Standardised) and not self.scale.known

    def see_as(self, other: Agent) -> None:
        """Takes over mean and deviation."""
        if self.scale is not None and isinstance(other, SoftQ) and other.scale is not None:
            self.scale.load_state_dict(other.scale.state_dict())

    def fit_observations(self, obs: Tensor | None) -> None:
        """Takes mean and deviation from them.

        Raises:
            UserError: if there are none.
        """
        assert isinstance(self.scale, Standardised)
        if obs is None:
            raise UserError(
                "model.scale standardise takes mean and deviation of observations from demonstrations, and this run "
                "has none; leave it out"
            )
        self.scale.fit(obs)

    def steps(self, objective: Callable[[Batch], Objective], *others: nn.Module) -> list[Step]:
        """One: the network's."""
        return [Step("q", nn.ModuleList([self.network, *others]) if others else self.network, objective)]

    def cloning_steps(self, objective: Callable[[Batch], Objective]) -> list[Step]:
        """The same: the policy is a function of Q."""
        return self.steps(objective)

    def for_cloning(self, temperature: float) -> "SoftQ":
        """Its network with a soft value, without a target."""
        return SoftQ.of(self.spaces, self.network, SoftValue(temperature), seen=self.sees)

    @torch.no_grad()
    def diagnose(self, bellman: Bellman, part: int = 0) -> dict[str, Tensor]:
        """Mean Q, V and V - Q of the smallest Q, and the entropy of softmax(Q / temperature)."""
        q, actions = bellman.memory[part]
        return self.diagnose_q(q, actions)

    @torch.no_grad()
    def diagnose_q(self, q: Float[Tensor, "batch actions"], actions: Tensor) -> dict[str, Tensor]:
        """The same from Q(s, .) of a batch and its actions."""
        q_a, v = _chosen(q, actions), self.value(q)
        log_pi = torch.log_softmax(q / self.temperature, dim=1)
        scalars = {
            "q": q_a.mean(),
            "v": v.mean(),
            "v_minus_q": (v - q_a).mean(),
            "entropy": -(log_pi.exp() * log_pi).sum(1).mean(),
        }
        return scalars | ({"temperature": q.new_tensor(self.temperature)} if self.scheduled else {})

    def entropy(self, obs: Tensor) -> Float[Tensor, " batch"]:
        """Of softmax(Q / temperature)."""
        log_pi = self.log_probs(obs)
        return -(log_pi.exp() * log_pi).sum(1)

    def predict(self, obs: Tensor) -> dict[str, Tensor]:
        """Q-values, values and best actions."""
        q = self.q_values(obs)
        return {"q": q, "v": self.value(q), "actions": q.argmax(1)}

    def answers(self, obs: Tensor) -> dict[str, Tensor]:
        """Q-values, values and best actions."""
        q = self.q_values(obs).float()
        return {"q_values": q, "values": self.value(q), "actions": q.argmax(1)}

    @property
    def encoder(self) -> Encoder:
        """The network's."""
        return self.network.encoder

    def agreement(self, obs: Tensor, actions: Tensor) -> Float[Tensor, " batch"]:
        """1 where the best action is the given one, 0 elsewhere."""
        return (self.act(obs) == actions).float()

    def at(self, update: int) -> None:
        """Moves a scheduled temperature."""
        self.value.at(update)

    def after_update(self, update: int) -> None:
        """Moves the target network."""
        if self.target is not None and self.target_network is not None:
            self.target(self.target_network, self.network, update)

    # ---- saving

    @property
    def architecture(self) -> dict[str, Any]:
        """The network's recipe, and what comes before it."""
        return self.network.recipe | ({} if self.scale is None else {"scale": self.sees.name})

    @property
    def recipe(self) -> dict[str, Any]:
        """Network, value, and the scale of observations where it is more than the network's own."""
        recipe = {"kind": "SoftQ", "spaces": self.spaces.to_dict(), "network": self.network.recipe}
        scale = {} if self.scale is None else {"scale": self.sees.name}
        return recipe | {"value": self.value.to_dict()} | scale

    @classmethod
    def from_recipe(cls, recipe: dict[str, Any]) -> "SoftQ":
        """Network and value, without a target."""
        network, value = QNetwork.from_recipe(recipe["network"]), value_from_dict(recipe["value"])
        spaces = Spaces.from_dict(recipe["spaces"])
        return cls.of(
            spaces, network, value, seen=observation_scale(spaces, recipe["scale"]) if "scale" in recipe else None
        )

    def load_weights(self, state: dict[str, Tensor]) -> None:
        """The network's, and what standardises."""
        for own, module in (("network.", self.network), ("scale.", self.scale)):
            if module is not None:
                module.load_state_dict(
                    {name.removeprefix(own): each for name, each in state.items() if name.startswith(own)}
                )


def _chosen(q: Float[Tensor, "... batch actions"], actions: Tensor) -> Float[Tensor, "... batch"]:
    """Q(s, a): the column of an action, or the mean of the columns by their probabilities (B, A)."""
    if actions.is_floating_point():
        return (actions * q).sum(-1)
    return q.gather(-1, actions.expand(q.shape[:-1]).unsqueeze(-1)).squeeze(-1)


def _smallest(copies: Sequence[Tensor]) -> Tensor:
    return copies[0] if len(copies) == 1 else torch.stack(list(copies)).amin(0)
