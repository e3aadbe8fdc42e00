"""The lower end of every table: the uniformly random policy."""

import torch
from gymnasium import Space, spaces
from jaxtyping import Real
from torch import Tensor

from iqlightning.errors import UserError
from iqlightning.keyed import Stream
from iqlightning.spaces import Spaces, random_actions

__all__ = ["RandomPolicy"]


class RandomPolicy:
    """Every action with the same probability, whether greedy or sampled; knows nothing of the environment.

    Args:
        actions: the space of one action, a ``Box`` bounded; or the spaces of an environment, whose observations may say
            which actions are allowed.
        seed: of the keyed numbers; successive calls continue the sequence.

    Raises:
        UserError: if there is no uniform distribution over the space.
    """

    stochastic = True

    def __init__(self, actions: Space | Spaces, seed: int = 0) -> None:
        self.spaces = actions if isinstance(actions, Spaces) else None
        actions = actions.action if isinstance(actions, Spaces) else actions
        if isinstance(actions, spaces.Box) and not actions.is_bounded():
            raise UserError("the random policy draws evenly between the bounds of an action, and this space has none")
        self.actions = actions
        self.seed = seed
        self._calls = 0

    def draw(self, observations: Real[Tensor, "batch ..."], keys: tuple[int | Tensor, ...]) -> Tensor:
        """(B,) or (B, *action shape) actions from keys, of which one is a tensor of one number for each row."""
        if self.spaces is not None:
            return self.spaces.random_actions(observations, *keys).to(observations.device)
        return random_actions(self.actions, *keys).to(observations.device)

    def act(self, observations: Real[Tensor, "batch ..."], *, sample: bool = False) -> Tensor:
        """Uniform actions; ``sample`` makes no difference."""
        self._calls += 1
        rows = torch.arange(len(observations), device=observations.device)
        return self.draw(observations, (Stream.RANDOM_POLICY, self.seed, self._calls, rows))
