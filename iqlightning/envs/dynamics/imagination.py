"""Episodes that are played in a model of the dynamics instead of the environment."""

import warnings
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from iqlightning.envs.dynamics.gaussian_process import GaussianProcess
from iqlightning.envs.dynamics.model import DynamicsModel
from iqlightning.errors import UserError
from iqlightning.keyed import Stream, integers, uniform
from iqlightning.spaces import Spaces, num_actions
from iqlightning.types import StepResult, Transition

__all__ = ["Imagination", "ImaginedBatch"]

# below this share of explained variance a model misleads more than it helps
_TRUSTED = 0.9


class ImaginedBatch:
    """N imagined episodes, which begin at states of the demonstrations and end at random, on average after some moves.

    They also end where they leave the box of the demonstrations' states, widened by its own width on each side: there
    nothing is known. Both ends are truncations; that an episode terminates is not modelled. There are no rewards (0).
    ``first`` and ``every`` are those of :meth:`~iqlightning.types.EnvConfig.make_batch`.
    """

    def __init__(
        self,
        model: DynamicsModel,
        starts: Tensor,
        spaces: Spaces,
        num_envs: int,
        episode_length: float,
        *,
        seed: int,
        first: int = 0,
        every: int = 1,
    ) -> None:
        self.num_envs, self.spaces, self.device = num_envs, spaces, starts.device
        self._model, self._starts, self._end, self._seed = model, starts, 1 / episode_length, seed
        self._numbers = torch.arange(num_envs, device=starts.device) * every + first
        low, high = starts.amin(0), starts.amax(0)
        self._low, self._high = 2 * low - high, 2 * high - low
        self._steps = 0
        self._observations = self._beginnings()

    @property
    def observations(self) -> Tensor:
        """What to act on now."""
        return self._observations

    def reset(self) -> Tensor:
        """Begins new episodes everywhere."""
        self._observations = self._beginnings()
        return self._observations

    def step(self, actions: Int[Tensor, " num_envs"]) -> StepResult:
        """One imagined move in each episode."""
        predicted = self._model(self._observations, actions)
        self._steps += 1
        outside = ((predicted < self._low) | (predicted > self._high)).any(1)
        ended = outside | (uniform(Stream.IMAGINED, self._seed, self._steps, self._numbers, 0) < self._end)
        successors = torch.minimum(torch.maximum(predicted, self._low), self._high)
        self._observations = torch.where(ended[:, None], self._beginnings(), successors)
        return StepResult(
            obs=self._observations,
            next_obs=successors,
            rewards=torch.zeros(self.num_envs, device=self.device),
            terminated=torch.zeros_like(ended),
            truncated=ended,
        )

    def state_dict(self) -> dict[str, Any]:
        """Where each episode is."""
        return {"observations": self._observations, "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores :meth:`state_dict`."""
        self._observations, self._steps = state["observations"].to(self.device), state["steps"]

    def _beginnings(self) -> Tensor:
        keys = (Stream.IMAGINED, self._seed, self._steps, self._numbers, 1)
        return self._starts[integers(*keys, bound=len(self._starts))]


class Imagination:
    """How episodes are imagined.

    Args:
        model: of the dynamics, fitted to the demonstrations when training begins; None takes a Gaussian process.
        episode_length: mean number of moves of an imagined episode. Errors of the model add up with it.
    """

    def __init__(self, model: DynamicsModel | None = None, episode_length: float = 50.0) -> None:
        if not 1 <= episode_length < float("inf"):
            raise UserError(f"episode_length of imagined episodes must be at least 1, but is {episode_length}")
        self.model = model or GaussianProcess()
        self.episode_length = episode_length

    def make_batch(
        self, known: Transition, spaces: Spaces, num_envs: int, *, seed: int, first: int = 0, every: int = 1
    ) -> ImaginedBatch:
        """Fits the model to the transitions ``known`` and imagines ``num_envs`` episodes that begin at their states.

        Warns in a sentence where the model predicts badly.

        Raises:
            UserError: if observations are no vectors, or actions are not discrete.
        """
        if known.obs.ndim != 2 or not known.obs.is_floating_point():
            raise UserError(
                f"data.imagined models vectors of numbers, but observations have the shape {tuple(known.obs.shape[1:])}"
                " or are bytes; leave it out"
            )
        self.model.fit(known, num_actions(spaces.action))  # complains of actions that are not numbered
        explained = self.model.explained
        worst = int(explained.argmin())
        if not explained[worst] >= _TRUSTED:
            warnings.warn(
                f"the model of the dynamics predicts {100 * max(0.0, float(explained[worst])):.0f}% of the changes of "
                f"number {worst} of the observation; what is imagined with it may mislead",
                stacklevel=2,
            )
        return ImaginedBatch(
            self.model, known.obs, spaces, num_envs, self.episode_length, seed=seed, first=first, every=every
        )
