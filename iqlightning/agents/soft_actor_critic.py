"""The agent of continuous actions: critics Q(s, a), and an actor that draws what they find best."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from iqlightning.agents.actor_noise import ActorNoise, rows_before_actor, transitions_of
from iqlightning.agents.agent import Agent, Bellman, Keys, Objective, OptimizerFactory, Step, encoder_for
from iqlightning.agents.observation_scale import Scale, Standardised, observation_scale
from iqlightning.errors import UserError
from iqlightning.losses.iq import BellmanTerms
from iqlightning.nets.encoders.encoder import Encoder, require_planes
from iqlightning.nets.ensemble import EnsembleMLP
from iqlightning.nets.q_network import EncoderFactory
from iqlightning.nets.recipe import build
from iqlightning.nets.squashed_gaussian import SquashedGaussian
from iqlightning.nets.target import TargetUpdate
from iqlightning.spaces import Spaces
from iqlightning.types import Batch, Transition

__all__ = ["SoftActorCritic"]

_AGGREGATES: dict[str, Callable[[Tensor], Tensor]] = {"min": lambda q: q.amin(0), "mean": lambda q: q.mean(0)}


def _adam(weights: Iterable) -> torch.optim.Optimizer:
    return torch.optim.Adam(weights, lr=3e-4, fused=True)


class SoftActorCritic(Agent):
    r"""Critics Q_k(s, a) and a squashed Gaussian actor pi (Haarnoja et al. 2018, arXiv 1801.01290 and 1812.05905).

        V(s) = E_{a ~ pi(. | s)}[Q(s, a) - temperature log pi(a | s)],    Q the smallest (or mean) of the copies,
        actor:        min_pi E_s E_{a ~ pi}[temperature log pi(a | s) - Q(s, a)],
        temperature:  min E_s E_{a ~ pi}[-log(temperature) (log pi(a | s) + target entropy)], where it is learnt.

    The critics learn by the algorithm's objective, then the actor, then the temperature, each with an optimizer of its
    own, on the states of the same batch. V's actions are drawn without a gradient to the actor; all that is drawn is
    keyed by seed, update and position.

    Args:
        spaces: of the environment; actions are a bounded Box.
        hidden: widths of the hidden layers of critics and actor.
        copies: critics of their own weights.
        aggregate: ``min`` or ``mean``: the Q that V and the actor see.
        layer_norm: normalise the hidden layers of the critics.
        encoder: builds an encoder of observations for critics and actor each, where they are more than vectors;
            None takes vectors as they are.
        temperature: weight of the entropy, in units of reward; where it is learnt, its first value.
        learn_temperature: move the temperature so that the entropy approaches ``target_entropy``. It is reported to
            break the convergence of IQ-Learn.
        final_temperature: if given, the temperature falls (or rises) to it evenly in its logarithm over
            ``temperature_updates`` updates.
        temperature_updates: gradient updates until the temperature has reached ``final_temperature``.
        target_entropy: in nats of actions in the environment's units; None means -D in units of half their range.
        samples: actions drawn of each state for V.
        absorbing_state: an ended episode goes on for ever in a state of its own, which critics know by a flag, instead
            of being worth 0 (Kostrikov et al. 2019, arXiv 1809.02925, section 4.2). Of each end that a batch holds it
            also holds one step of that state. ``absorbing_states`` of the algorithm then meets no end.
        target: how the target critics follow; None takes V(s') from the critics themselves.
        scale: how observations are scaled, see :mod:`iqlightning.agents.observation_scale`; ``auto`` standardises
            vectors where there are demonstrations.
        actor_optimizer: builds the actor's (and temperature's) optimizer; by default Adam at 3e-4, and in cloning the
            algorithm's own.
        exploration_noise: standard deviation of what is added to actions that collect transitions, in units of half
            their range (Fujimoto et al. 2018, arXiv 1802.09477, algorithm 1). A policy that has become sharp fills the
            replay with its own actions only, and then nothing tells the critics what the others are worth.
        actor_average: share of itself that an averaged actor keeps at each update, which then acts where nothing is
            drawn; None for no averaging.

    Raises:
        UserError: if actions are no bounded Box, or a value is out of range.
    """

    def __init__(
        self,
        spaces: Spaces,
        hidden: Sequence[int] = (256, 256),
        copies: int = 2,
        aggregate: str = "min",
        layer_norm: bool = False,
        encoder: EncoderFactory | None = None,
        temperature: float = 0.01,
        learn_temperature: bool = False,
        final_temperature: float | None = None,
        temperature_updates: int = 10_000,
        target_entropy: float | None = None,
        samples: int = 1,
        absorbing_state: bool = False,
        target: TargetUpdate | None = TargetUpdate(every=1, rate=0.005),  # noqa: B008 - it has no state
        scale: Scale = "auto",
        actor_optimizer: OptimizerFactory | None = None,
        exploration_noise: float = 0.0,
        actor_average: float | None = None,
    ) -> None:
        super().__init__()
        if aggregate not in _AGGREGATES:
            raise UserError(f"aggregate is 'min' or 'mean', not '{aggregate}'")
        if not temperature > 0 or (final_temperature is not None and not final_temperature > 0):
            raise UserError(f"temperatures of SoftActorCritic must be positive, not {temperature}, {final_temperature}")
        if learn_temperature and final_temperature is not None:
            raise UserError("a temperature is learnt or follows a schedule: leave out one of the two")
        if samples < 1:
            raise UserError(f"samples counts the actions drawn for V and must be at least 1, not {samples}")
        if not 0 <= exploration_noise < math.inf:
            raise UserError(f"exploration_noise must be a finite number of at least 0, not {exploration_noise}")
        if actor_average is not None and not 0 < actor_average < 1:
            raise UserError(f"actor_average must lie between 0 and 1, not {actor_average}")
        self.spaces = spaces
        self.distribution = SquashedGaussian(spaces.action)
        shape, dim = spaces.observation_shape, self.distribution.size
        if len(shape) != 1 and encoder is None:
            raise UserError(f"observations of shape {shape} need an encoder: set it in model.agent.encoder")
        self._standardise = scale == "standardise"  # and not only where there are demonstrations
        self.sees = observation_scale(spaces, scale, standardise=True)
        self.scale, shape = self.sees.module, self.sees.shape
        if encoder is not None:
            encoder = encoder_for(spaces, encoder, self.sees)
        encoders = (nn.Identity() if encoder is None else encoder(shape) for _ in range(2))
        self.critic_encoder, self.actor_encoder = encoders
        if self.encoder is not None:
            require_planes(self.encoder, self.sees.divisor)
        features = math.prod(shape if self.encoder is None else self.encoder.feature_shape)
        self.absorbing_state = absorbing_state
        self.critics = EnsembleMLP(features + dim + absorbing_state, hidden, 1, copies, layer_norm)
        self.actor = EnsembleMLP(features, hidden, 2 * dim)
        self.samples, self.aggregate = samples, aggregate
        self.exploration_noise = exploration_noise
        self.learn_temperature, self.final_temperature = learn_temperature, final_temperature
        self.temperature_updates, self.first_temperature = temperature_updates, temperature
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)), requires_grad=learn_temperature)
        if target_entropy is None:
            target_entropy = float(self.distribution.half_range.log().sum()) - dim
        self.target_entropy = target_entropy
        self.scheduled = final_temperature is not None
        self.target = target
        self.target_critics: Any = None
        if target is not None:
            self.target_critics = target.copy(self._critic_modules())
        self.average_actor = None if actor_average is None else TargetUpdate(rate=1 - actor_average)
        self.averaged: Any = None
        if self.average_actor is not None:
            self.averaged = self.average_actor.copy(self._actor_modules())
        self.actor_optimizer = actor_optimizer
        self._settings = {
            "hidden": list(hidden),
            "copies": copies,
            "aggregate": aggregate,
            "layer_norm": layer_norm,
            "samples": samples,
            "absorbing_state": absorbing_state,
            "scale": self.sees.name,
            "actor_average": actor_average,
        }
        self.noise = ActorNoise(samples, dim)

    @property
    def temperature(self) -> float:
        """Weight of the entropy."""
        return math.exp(float(self.log_temperature.detach()))

    @property
    def num_copies(self) -> int:
        """Critics."""
        return self.critics.copies

    # ---- Q, V and the policy

    def _seen(self, obs: Tensor) -> Tensor:
        return self.sees.see(obs, self.log_temperature.dtype)

    def _critic_features(self, seen: Tensor, target: bool = False, frozen: bool = False) -> Tensor:
        encoder = self.target_critics["encoder"] if target and self.target_critics is not None else self.critic_encoder
        features = encoder(seen).flatten(1)
        return features.detach() if frozen else features

    def _q_of(self, seen: Tensor, units: Tensor, *, target: bool = False, frozen: bool = False) -> Tensor:
        """Q of every copy (copies, B) for observations as networks see them and actions in [-1, 1]."""
        inputs = torch.cat([self._critic_features(seen, target, frozen), units], 1)
        return self._critics(target)(self._flagged(inputs, 0.0), frozen=frozen).squeeze(-1)

    def _critics(self, target: bool) -> Any:
        return self.target_critics["critics"] if target and self.target_critics is not None else self.critics

    def _flagged(self, inputs: Tensor, flag: float) -> Tensor:
        return F.pad(inputs, (0, 1), value=flag) if self.absorbing_state else inputs

    def _q_absorbed(self, *, target: bool = False) -> Float[Tensor, "copies 1"]:
        """Q of the absorbing state, of every copy: zeros, the flag, and no action."""
        critics = self._critics(target)
        zeros = self.log_temperature.new_zeros(1, critics.weights[0].shape[1] - 1)
        return critics(self._flagged(zeros, 1.0)).squeeze(-1)

    def _policy_of(self, seen: Tensor, averaged: bool = False) -> Any:
        modules = self.averaged if averaged and self.averaged is not None else None
        encoder = self.actor_encoder if modules is None else modules["encoder"]
        actor = self.actor if modules is None else modules["actor"]
        return self.distribution.parameters_of(actor(encoder(seen).flatten(1))[0])

    def q(self, obs: Tensor, actions: Tensor) -> Float[Tensor, "copies batch"]:
        """Q(s, a) of every copy, of actions in the environment's units."""
        return self._q_of(self._seen(obs), self.distribution.to_units(actions))

    def v(self, obs: Tensor, *, target: bool = False, keys: Keys | None = None) -> Float[Tensor, " batch"]:
        """The mean over drawn actions of Q - temperature log pi."""
        seen = self._seen(obs)
        units, log_pi = self._draw(seen, self.noise(len(obs), keys, obs.device))
        return self._v_of(seen, units, log_pi, target=target)

    def value_after(self, next_obs: Tensor, terminated: Tensor, *, keys: Keys | None = None) -> Float[Tensor, " batch"]:
        """V(s'), or what the end of an episode is worth: Q of the absorbing state, where there is one."""
        if not self.absorbing_state:
            return super().value_after(next_obs, terminated, keys=keys)
        return torch.where(terminated, self._combine(self._q_absorbed()), self.v(next_obs, keys=keys))

    def log_prob(self, obs: Tensor, actions: Tensor) -> Float[Tensor, " batch"]:
        """Log-density of an action, squashing included."""
        return self.distribution.log_prob(self._policy_of(self._seen(obs)), actions)

    def act(
        self, obs: Tensor, *, sample: bool = False, temperature: float | None = None, keys: Keys | None = None
    ) -> Tensor:
        """The mean action before noise, squashed (of the averaged actor, if there is one), or a drawn one."""
        if temperature is not None:
            raise UserError("a temperature of drawn actions belongs to softmax(Q / temperature); an actor has none")
        given = self._policy_of(self._seen(obs), averaged=not sample)
        if not sample:
            return self.distribution.from_units(torch.tanh(given.mean))
        noise = self.noise(len(obs), keys, obs.device, at_random=True)[0].to(given.mean.dtype)
        return self.distribution.from_units(torch.tanh(given.mean + torch.exp(given.log_std) * noise))

    def explore(self, obs: Tensor, keys: Keys) -> Tensor:
        """Drawn actions, with exploration noise on top, within their bounds."""
        actions = super().explore(obs, keys)
        if not self.exploration_noise:
            return actions
        units = self.distribution.to_units(actions) + self.exploration_noise * self.noise.exploring(keys)
        return self.distribution.from_units(units.clamp(-1, 1).float())

    def squared_error(self, obs: Tensor, actions: Tensor) -> Float[Tensor, " batch"]:
        """Of the action without noise, averaged over its numbers, in units of half the range."""
        best = torch.tanh(self._policy_of(self._seen(obs)).mean)
        return (best - self.distribution.to_units(actions)).square().mean(1)

    def _draw(self, seen: Tensor, noise: Float[Tensor, "samples batch d"]) -> tuple[Tensor, Tensor]:
        """Actions (S, B, D) in [-1, 1] and their log-probability (S, B)."""
        return self.distribution.sample(self._policy_of(seen), noise.to(self.log_temperature.dtype))

    def _v_of(self, seen: Tensor, units: Tensor, log_pi: Tensor, *, target: bool = False) -> Float[Tensor, " batch"]:
        """V from actions (S, B, D) that have been drawn."""
        samples = len(units)
        repeated = seen if samples == 1 else seen.repeat(samples, *[1] * (seen.ndim - 1))
        q = self._combine(self._q_of(repeated, units.flatten(0, 1), target=target)).view(samples, -1)
        return (q - torch.exp(self.log_temperature.detach()) * log_pi).mean(0)

    def _combine(self, q: Float[Tensor, "copies batch"]) -> Float[Tensor, " batch"]:
        return q[0] if len(q) == 1 else _AGGREGATES[self.aggregate](q)

    def with_noise(self, batch: Batch, seed: int, update: int, rank: int, world_size: int) -> Batch:
        """Adds ``noise``, see :class:`~iqlightning.agents.actor_noise.ActorNoise`."""
        return batch | Batch(noise=self.noise.of_update(batch, seed, update, rank, world_size))

    draws = True

    @property
    def wants_observations(self) -> bool:
        """Until mean and deviation are known, by the demonstrations or a checkpoint."""
        return isinstance(self.scale, Standardised) and not self.scale.known

    def see_as(self, other: Agent) -> None:
        """Takes over mean and deviation."""
        if self.scale is not None and isinstance(other, SoftActorCritic) and other.scale is not None:
            self.scale.load_state_dict(other.scale.state_dict())

    def fit_observations(self, obs: Tensor | None) -> None:
        """Takes mean and deviation from them.

        Raises:
            UserError: if there are none and standardising was asked for.
        """
        if obs is None:
            if self._standardise:
                raise UserError(
                    "model.agent.scale standardise takes mean and deviation of observations from demonstrations, and "
                    "this run has none; leave it out"
                )
        elif isinstance(self.scale, Standardised):
            self.scale.fit(obs)

    def entropy(self, obs: Tensor) -> Float[Tensor, " batch"]:
        """By the actions that are drawn."""
        seen = self._seen(obs)
        return -self._draw(seen, self.noise(len(obs), None, obs.device))[1].mean(0)

    # ---- learning

    def bellman(self, parts: Sequence[Transition], initial: Tensor | None = None) -> Bellman:
        """One pass of the actor and one of the critics; V(s') from the target critics, where there are any."""
        states = [part.obs for part in parts] + ([] if initial is None else [initial])
        successors = [part.next_obs for part in parts]
        sizes, next_sizes = [len(obs) for obs in states], [len(obs) for obs in successors]
        count, given = sum(sizes), sum(next_sizes)
        seen = self._seen(torch.cat(states + successors))
        with torch.no_grad():
            noise = self.noise(len(seen), None, seen.device)
            units, log_pi = self._draw(seen, noise)
        actions = torch.cat([self.distribution.to_units(part.actions) for part in parts]).to(seen.dtype)
        inside = len(seen) if self.target_critics is None else count
        # Q of the given actions and of those drawn, in one pass
        repeated = seen[:inside].repeat(self.samples, *[1] * (seen.ndim - 1))
        rows = torch.cat([seen[:given], repeated]), torch.cat([actions, units[:, :inside].flatten(0, 1)])
        each = self._q_of(*rows)
        entropy_bonus = -torch.exp(self.log_temperature.detach()) * log_pi
        v = (self._combine(each[:, given:]).view(self.samples, -1) + entropy_bonus[:, :inside]).mean(0)
        if self.target_critics is None:
            v, next_v = v[:count], v[count:]
        else:
            with torch.no_grad():
                next_v = self._v_of(seen[count:], units[:, count:], log_pi[:, count:], target=True)
        v_parts, next_parts = v.split(sizes), next_v.split(next_sizes)
        terms = [
            [
                BellmanTerms(own, v_parts[i], next_parts[i], part.terminated)
                for i, (own, part) in enumerate(zip(copy[:given].split(next_sizes), parts, strict=True))
            ]
            for copy in each
        ]
        if self.absorbing_state:
            terms = self._going_on(terms)
        drawn = units[0].split([*sizes, *next_sizes]), log_pi.mean(0).split([*sizes, *next_sizes])
        return Bellman(terms, None if initial is None else v_parts[len(parts)], drawn)

    def _going_on(self, terms: list[list[BellmanTerms]]) -> list[list[BellmanTerms]]:
        """Ended episodes led to the absorbing state, and a step of that one, for each of them, as a last row."""
        q = self._q_absorbed()
        v = self._combine(q)
        next_v = v
        if self.target_critics is not None:
            with torch.no_grad():
                next_v = self._combine(self._q_absorbed(target=True))

        def extended(part: BellmanTerms, q_absorbed: Tensor) -> BellmanTerms:
            rows = len(part.q_a)
            ends = part.terminated.to(q.dtype).sum()[None]
            return BellmanTerms(
                torch.cat([part.q_a, q_absorbed]),
                torch.cat([part.v, v]),
                torch.cat([torch.where(part.terminated, next_v, part.next_v), next_v]),
                torch.zeros_like(part.terminated[:1]).expand(rows + 1),
                # a mean over all rows is then one over the batch's own
                torch.cat([torch.ones_like(part.q_a), ends]) * ((rows + 1) / rows),
            )

        return [[extended(part, own[None]) for part in copy] for copy, own in zip(terms, q.squeeze(1), strict=True)]

    def q_for_penalty(self, obs: Tensor, actions: Tensor | None) -> Float[Tensor, "batch copies"]:
        """Q(s, a) of every copy."""
        assert actions is not None
        return self.q(obs, actions).T

    @property
    def observation_scale(self) -> float:
        """Distances are measured in the environment's units, or in shares of 255."""
        return self.sees.divisor

    def steps(self, objective: Callable[[Batch], Objective], *others: nn.Module) -> list[Step]:
        """Critics, actor and, where it is learnt, temperature."""
        critics = nn.ModuleList([self._critic_modules(), *others])
        actor_objective = self.noise.within(self._actor_objective, rows_before_actor)
        steps = [
            Step("critic", critics, self.noise.within(objective, lambda batch: 0)),
            Step("actor", self._actor_modules(), actor_objective, self.actor_optimizer or _adam),
        ]
        if self.learn_temperature:
            scalar = nn.ParameterList([self.log_temperature])
            objective = self.noise.within(self._temperature_objective, rows_before_actor)
            steps.append(Step("temperature", scalar, objective, self.actor_optimizer or _adam))
        return steps

    def cloning_steps(self, objective: Callable[[Batch], Objective]) -> list[Step]:
        """The actor's."""
        noisy = self.noise.within(objective, lambda batch: 0)
        return [Step("actor", self._actor_modules(), noisy, self.actor_optimizer)]

    def _critic_modules(self) -> nn.ModuleDict:
        return nn.ModuleDict({"encoder": self.critic_encoder, "critics": self.critics})

    def _actor_modules(self) -> nn.ModuleDict:
        return nn.ModuleDict({"encoder": self.actor_encoder, "actor": self.actor})

    def _states_of(self, batch: Batch) -> Tensor:
        return self._seen(torch.cat([part.obs for part in transitions_of(batch)]))

    def _actor_objective(self, batch: Batch) -> Objective:
        """The actor's loss over all states of the batch."""
        seen = self._states_of(batch)
        units, log_pi = self._draw(seen, self.noise(len(seen), None, seen.device)[:1])
        q = self._combine(self._q_of(seen, units[0], frozen=True))
        loss = (torch.exp(self.log_temperature.detach()) * log_pi[0] - q).mean()

        def diagnostics() -> dict[str, Tensor]:
            saturated = (units[0].abs() > 0.99).to(loss.dtype).mean()
            temperature = loss.new_tensor(self.temperature)
            return {"entropy": -log_pi.mean().detach(), "saturation": saturated, "temperature": temperature}

        return Objective(loss, {}, diagnostics)

    def _temperature_objective(self, batch: Batch) -> Objective:
        """-log(temperature) (log pi + target entropy), as the authors' program has it.

        In their paper (Haarnoja et al. 2018, arXiv 1812.05905, eq. 18) the temperature itself stands for its logarithm:
        the gradient by the logarithm is then that of this one times the temperature.
        """
        seen = self._states_of(batch)
        with torch.no_grad():
            _, log_pi = self._draw(seen, self.noise(len(seen), None, seen.device)[:1])
        loss = -(self.log_temperature * (log_pi[0] + self.target_entropy)).mean()
        return Objective(loss, {}, dict)

    @torch.no_grad()
    def diagnose(self, bellman: Bellman, part: int = 0) -> dict[str, Tensor]:
        """Mean Q of the given actions, V, V - Q, and the entropy of the actor by the actions drawn."""
        q_a = self._combine(torch.stack([each[part].q_a for each in bellman.copies]))
        v, entropy = bellman.parts[part].v, -bellman.memory[1][part].mean()
        return {"q": q_a.mean(), "v": v.mean(), "v_minus_q": (v - q_a).mean(), "entropy": entropy}

    def predict(self, obs: Tensor) -> dict[str, Tensor]:
        """Values and best actions."""
        return {"v": self.v(obs), "actions": self.act(obs)}

    def answers(self, obs: Tensor) -> dict[str, Tensor]:
        """Best actions and their Q, the smallest of all copies."""
        actions = self.act(obs)
        return {"actions": actions, "q": self.q(obs, actions).amin(0)}

    @property
    def encoder(self) -> Encoder | None:
        """The actor's."""
        return self.actor_encoder if isinstance(self.actor_encoder, Encoder) else None

    def agreement(self, obs: Tensor, actions: Tensor) -> Float[Tensor, " batch"]:
        """1 - mean squared distance of the best action, in units of half the range."""
        best = self.distribution.to_units(self.act(obs))
        return 1 - (best - self.distribution.to_units(actions)).square().mean(1)

    def at(self, update: int) -> None:
        """Moves a scheduled temperature."""
        if self.final_temperature is not None:
            share = min(update / self.temperature_updates, 1.0)
            first, last = math.log(self.first_temperature), math.log(self.final_temperature)
            with torch.no_grad():
                self.log_temperature.fill_(first + share * (last - first))

    def after_update(self, update: int) -> None:
        """Moves target critics and averaged actor."""
        if self.target is not None and self.target_critics is not None:
            self.target(self.target_critics, self._critic_modules(), update)
        if self.average_actor is not None and self.averaged is not None:
            self.average_actor(self.averaged, self._actor_modules(), update)

    # ---- saving

    @property
    def architecture(self) -> dict[str, Any]:
        """Spaces aside, all of the recipe."""
        return {name: each for name, each in self.recipe.items() if name not in ("spaces", "temperature")}

    @property
    def recipe(self) -> dict[str, Any]:
        """Spaces, settings of the networks, and the temperature of this moment."""
        encoder = None if self.encoder is None else self.encoder.recipe
        recipe = {"kind": "SoftActorCritic", "spaces": self.spaces.to_dict(), "encoder": encoder}
        return recipe | self._settings | {"temperature": self.temperature}

    @classmethod
    def from_recipe(cls, recipe: dict[str, Any]) -> "SoftActorCritic":
        """Actor, critics and scale, without targets."""
        settings = {name: each for name, each in recipe.items() if name not in ("kind", "spaces", "encoder")}
        spaces = Spaces.from_dict(recipe["spaces"])
        if "standardise" in settings:  # the setting when there was no other scale
            wanted = settings.pop("standardise") is not False and len(spaces.observation_shape) == 1
            settings["scale"] = "standardise" if wanted else "bytes"
        stored = recipe["encoder"]
        encoder = None if stored is None else lambda shape: build(stored, Encoder, observation_shape=shape)
        return cls(spaces, encoder=encoder, target=None, **settings)

    def load_weights(self, state: dict[str, Tensor]) -> None:
        """All but the target critics'."""
        self.load_state_dict({name: each for name, each in state.items() if not name.startswith("target_critics.")})
