"""A replay buffer on the training device, in order of time, from which n-step transitions are read."""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from iqlightning.errors import UserError
from iqlightning.spaces import Spaces, action_dtype, action_shape
from iqlightning.types import StepResult, Transition

__all__ = ["ReplayBuffer"]

_FIELDS = ("obs", "actions", "next_obs", "rewards", "terminated", "truncated")


class ReplayBuffer:
    """The last ``capacity`` transitions of N environments stepped together; the oldest step makes room for the newest.

    A sample is the n-step transition that begins at a stored one:

        R = sum_{k < m} gamma^k r_{t+k},   s' = s_{t+m},   m = min(n, moves left in the episode)

    It never reaches into the next episode. ``terminated``, ``truncated`` and ``next_obs`` are those of its last move,
    so that the value at s' is bootstrapped with gamma^m after a truncation and not at all after a termination; m is
    its ``steps`` (None if n is 1). A transition can be sampled once n - 1 more steps are stored.

    Args:
        capacity: transitions; rounded down to whole steps of all environments.
        num_envs: N.
        spaces: of observations and actions.
        dtype: of observations as they are played.
        n_step: n.
        gamma: discount within a transition; unused if n is 1.
        device: where it lives.

    Raises:
        UserError: if it cannot hold one n-step transition of each environment.
    """

    def __init__(
        self,
        capacity: int,
        num_envs: int,
        spaces: Spaces,
        dtype: torch.dtype = torch.uint8,
        *,
        n_step: int = 1,
        gamma: float = 0.99,
        device: str | torch.device = "cpu",
    ) -> None:
        if n_step < 1:
            raise UserError(f"n_step must be at least 1, but is {n_step}")
        if capacity < n_step * num_envs:
            raise UserError(
                f"a replay capacity of {capacity} is too small for {num_envs} environments and {n_step}-step returns; "
                f"it must be at least {n_step * num_envs}"
            )
        self.num_envs = num_envs
        self.n_step = n_step
        self._rows = capacity // num_envs
        slots = self._rows * num_envs
        self.obs = torch.zeros((slots, *spaces.observation_shape), dtype=dtype, device=device)
        self.next_obs = torch.zeros_like(self.obs)
        shape, kind = action_shape(spaces.action), action_dtype(spaces.action)
        self.actions = torch.zeros((slots, *shape), dtype=kind, device=device)
        self.rewards = torch.zeros(slots, dtype=torch.float32, device=device)
        self.terminated = torch.zeros(slots, dtype=torch.bool, device=device)
        self.truncated = torch.zeros(slots, dtype=torch.bool, device=device)
        self._lookahead = torch.arange(n_step, device=device)
        self._discounts: Float[Tensor, " n"] = gamma ** self._lookahead.to(torch.float32)
        self._next_row = 0
        self._filled = 0

    def __len__(self) -> int:
        return self._filled * self.num_envs

    @property
    def num_steps(self) -> int:
        """How many steps there are, of all environments together, at which a sample can begin now."""
        return max(0, self._filled - self.n_step + 1)

    def add(self, obs: Tensor, actions: Tensor, result: StepResult) -> None:
        """Stores one step of all environments: ``obs`` (N, *shape) is what they acted on, (N, *action shape) how."""
        row = slice(self._next_row * self.num_envs, (self._next_row + 1) * self.num_envs)
        self.obs[row] = obs
        self.actions[row] = actions
        self.next_obs[row] = result.next_obs
        self.rewards[row] = result.rewards
        self.terminated[row] = result.terminated
        self.truncated[row] = result.truncated
        self._next_row = (self._next_row + 1) % self._rows
        self._filled = min(self._filled + 1, self._rows)

    def sample(self, indices: Int[Tensor, " batch"]) -> Transition:
        """The transitions at ``indices``, step x N + environment, counted from the oldest, below ``num_steps`` x N."""
        first = (indices + self._oldest * self.num_envs) % self._slots
        if self.n_step == 1:
            return self._transition(first, first, self.rewards.index_select(0, first), None)
        slots = (first.unsqueeze(1) + self._lookahead * self.num_envs) % self._slots
        goes_on: Bool[Tensor, "batch n"] = ~(self.terminated.take(slots) | self.truncated.take(slots))
        within = torch.ones_like(goes_on)
        within[:, 1:] = goes_on[:, :-1].cumprod(1)
        steps = within.sum(1)
        last = slots.gather(1, (steps - 1).unsqueeze(1)).squeeze(1)
        rewards = (self.rewards.take(slots) * self._discounts * within).sum(1)
        return self._transition(first, last, rewards, steps)

    def cut(self) -> None:
        """Makes the newest step the last of its episodes, as where play had to begin anew; values are bootstrapped."""
        if self._filled:
            newest = (self._next_row - 1) % self._rows
            row = slice(newest * self.num_envs, (newest + 1) * self.num_envs)
            self.truncated[row] |= ~self.terminated[row]

    @property
    def _slots(self) -> int:
        return self._rows * self.num_envs

    @property
    def _oldest(self) -> int:
        return (self._next_row - self._filled) % self._rows

    def _transition(self, first: Tensor, last: Tensor, rewards: Tensor, steps: Tensor | None) -> Transition:
        return Transition(
            obs=self.obs.index_select(0, first),
            actions=self.actions.index_select(0, first),
            next_obs=self.next_obs.index_select(0, last),
            terminated=self.terminated.index_select(0, last),
            truncated=self.truncated.index_select(0, last),
            rewards=rewards,
            steps=steps,
        )

    def state_dict(self) -> dict[str, Any]:
        """Copies of the stored steps, and where the next one goes."""
        # Rows are filled from the front, so that those in use always come first.
        state: dict[str, Any] = {name: getattr(self, name)[: len(self)].clone() for name in _FIELDS}
        return state | {
            "next_row": self._next_row,
            "filled": self._filled,
            "rows": self._rows,
            "num_envs": self.num_envs,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores :meth:`state_dict` exactly.

        Raises:
            UserError: if the saved buffer was of another size.
        """
        if (state["rows"], state["num_envs"]) != (self._rows, self.num_envs):
            raise UserError(
                f"the checkpoint's replay buffer holds {state['rows']} steps of {state['num_envs']} environments, this "
                f"run's {self._rows} of {self.num_envs}; resume with the same capacity and num_envs"
            )
        for name in _FIELDS:
            getattr(self, name)[: len(state[name])] = state[name].to(self.actions.device)
        self._next_row, self._filled = state["next_row"], state["filled"]
