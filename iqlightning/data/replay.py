"""A replay buffer on the training device, in order of time, from which n-step transitions are read."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from iqlightning.errors import UserError
from iqlightning.frames import frame_stack, in_frames, refer
from iqlightning.spaces import Spaces, action_dtype, action_shape
from iqlightning.types import StepResult, Transition

__all__ = ["ReplayBuffer"]

_MOVES = ("actions", "rewards", "terminated", "truncated")

# Share of the room for frames that is there, from the beginning, for those that are kept apart.
_APART = 1 / 16


class ReplayBuffer:
    """The last ``capacity`` transitions of N environments stepped together; the oldest step makes room for the newest.

    A sample is the n-step transition that begins at a stored one:

        R = sum_{k < m} gamma^k r_{t+k},   s' = s_{t+m},   m = min(n, moves left in the episode)

    It never reaches into the next episode. ``terminated``, ``truncated`` and ``next_obs`` are those of its last move,
    so that the value at s' is bootstrapped with gamma^m after a truncation and not at all after a termination; m is
    its ``steps`` (None if n is 1). A transition can be sampled once n - 1 more steps are stored.

    Each state is kept once: s' of a step is s of the next one, and only where an episode ends it is kept apart. Of
    stacks of frames (see :mod:`iqlightning.frames`; the first step shows whether they are) each frame is kept once, and
    an observation is K references. So 1 million steps of Hopper take 66 MB, 100,000 of four frames of 84 x 84 bytes
    0.71 GB, and 6% more is asked for (on a CPU taken only when used) for what is kept apart; that grows if episodes
    are shorter than 16 moves on average.

    Args:
        capacity: transitions; rounded down to whole steps of all environments.
        num_envs: N.
        spaces: of observations and actions.
        dtype: of observations as they are played.
        n_step: n.
        gamma: discount within a transition; unused if n is 1.
        device: where it lives.
        agree: of a truth seen here, whether it holds on all processes that share their states.

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
        agree: Callable[[bool], bool] = bool,
    ) -> None:
        if n_step < 1:
            raise UserError(f"n_step must be at least 1, but is {n_step}")
        if capacity < n_step * num_envs:
            raise UserError(
                f"a replay capacity of {capacity} is too small for {num_envs} environments and {n_step}-step returns; "
                f"it must be at least {n_step * num_envs}"
            )
        self.num_envs, self.n_step, self.spaces = num_envs, n_step, spaces
        self.device = torch.device(device)
        self._dtype, self._agree = dtype, agree
        self._steps = capacity // num_envs
        self._lookahead = torch.arange(n_step, device=device)
        self._discounts: Float[Tensor, " n"] = gamma ** self._lookahead.to(torch.float32)
        self._played = 0  # steps, since the beginning
        self._stack = 0  # frames of an observation; 0 until the first step shows it
        self._pending: Tensor | None = None  # what the newest step led to, as it was given

    def _allocate(self, stack: int) -> None:
        """Makes room, once it is known of how many frames observations are.

        Steps lie in a ring, a row each: step t in row t modulo their number. A row of ``_frames`` is the newest frame
        of the observation that was acted on then, which the K - 1 later ones and the step before need too. More rows
        follow, of frames that are kept apart; each environment has its own place in every row.
        """
        self._stack, self._rows = stack, self._steps + stack
        self._slots = slots = self._rows * self.num_envs
        shape = self.spaces.observation_shape
        if stack > 1:  # frames of one plane and of several, as in_frames gives them
            planes, *rest = shape
            shape = tuple(rest) if planes == stack else (planes // stack, *rest)
        self._used = np.zeros((self.num_envs, int(self._rows * _APART) + 1), dtype=bool)

        def room(*shape: int, dtype: torch.dtype) -> Tensor:
            return torch.empty(shape, dtype=dtype, device=self.device)  # memory that nobody has written to is none

        self._frames = room(slots + self._used.size, *shape, dtype=self._dtype)
        self._seen = room(slots, stack, dtype=torch.int32) if stack > 1 else None
        self._next = room(slots, stack, dtype=torch.int32)
        if stack == 1:  # s' is what is acted on next, wherever nothing else is written
            self._next = ((torch.arange(slots, device=self.device) + self.num_envs) % slots).to(torch.int32)
        self._holds = np.zeros(self._rows, dtype=bool)  # whether the step in a row refers to what is kept apart
        action = self.spaces.action
        self.actions = room(slots, *action_shape(action), dtype=action_dtype(action))
        self.rewards = room(slots, dtype=torch.float32)
        self.terminated, self.truncated = room(slots, dtype=torch.bool), room(slots, dtype=torch.bool)

    def __len__(self) -> int:
        return self._filled * self.num_envs

    @property
    def num_steps(self) -> int:
        """How many steps there are, of all environments together, at which a sample can begin now."""
        return max(0, self._filled - self.n_step + 1)

    @property
    def _filled(self) -> int:
        return min(self._played, self._steps)

    @property
    def _oldest(self) -> int:
        return (self._played - self._filled) % self._rows

    def _slots_of(self, step: int) -> slice:
        row = step % self._rows
        return slice(row * self.num_envs, (row + 1) * self.num_envs)

    @property
    def full(self) -> bool:
        """Whether the oldest step makes room for the next one; ``num_steps`` stays as it is then."""
        return self._played >= self._steps

    # ---- what is played

    def add(self, obs: Tensor, actions: Tensor, result: StepResult) -> None:
        """Stores one step of all environments: ``obs`` (N, *shape) is what they acted on, (N, *action shape) how."""
        if not self._stack:
            stack = frame_stack(obs, result.next_obs)
            self._allocate(stack if self._agree(stack > 1) else 1)
        if self.full:
            self._forget(self._played - self._steps)
        stacked = self._stacked(obs)
        if obs is not self._pending:
            self._begin(stacked)
        now = self._slots_of(self._played)
        self.actions[now] = actions
        self.rewards[now] = result.rewards
        self.terminated[now], self.truncated[now] = result.terminated, result.truncated
        self._follow(now, stacked, result)
        self._pending = result.obs
        self._played += 1

    def _follow(self, now: slice, obs: Tensor, result: StepResult) -> None:
        """Keeps what is acted on next and, where an episode ended, s'."""
        before = None if self._seen is None else (obs, self._references(now))
        self._show(self._played + 1, self._stacked(result.obs), before)
        if self._seen is not None:
            self._next[now] = self._seen[self._slots_of(self._played + 1)]
        if result.next_obs is not result.obs:
            other = (result.next_obs != result.obs).flatten(1).any(1).nonzero().squeeze(1)
            if len(other):
                last = None if before is None else (obs[other], before[1][other])
                apart = self._apart(self._stacked(result.next_obs[other]), other, last).to(torch.int32)
                self._next[now.start + other] = apart.view(-1, *self._next.shape[1:])
                self._holds[self._played % self._rows] = True
        if before is not None:
            held = torch.cat([before[1], self._next[now]], 1)
            self._holds[self._played % self._rows] = bool((held >= self._slots).any())

    def cut(self) -> None:
        """Makes the newest step the last of its episodes, as where play had to begin anew; values are bootstrapped."""
        if self._played:
            newest = self._slots_of(self._played - 1)
            self.truncated[newest] |= ~self.terminated[newest]

    def _begin(self, obs: Tensor) -> None:
        """Acts on ``obs`` now, whatever the step before led to."""
        now = self._slots_of(self._played)
        if not self._played:
            self._show(0, obs, None)
            return
        shown = self._references(now)
        others = (obs != self._frames_at(shown)).flatten(1).any(1).nonzero().squeeze(1)
        if not len(others):
            return
        # the newest frame of what that step led to lies where that of obs has to be
        before, own = self._slots_of(self._played - 1).start + others, now.start + others
        led_to = self._next[before].view(len(others), -1)
        here = led_to == own.unsqueeze(1)
        moved = here.any(1)
        if bool(moved.any()):
            places = own.clone()
            places[moved] = self._place(self._frames[own[moved]], others[moved])
            led_to = torch.where(here, places.unsqueeze(1).to(torch.int32), led_to)
            self._next[before] = led_to.view(-1, *self._next.shape[1:])
            self._holds[(self._played - 1) % self._rows] = True
        self._release(others, shown[others], led_to)
        self._frames[own] = obs[others, -1]
        if self._seen is not None:
            self._seen[own] = self._apart(obs[others], others, None, own).to(torch.int32)

    def _show(self, step: int, obs: Tensor, before: tuple[Tensor, Tensor] | None) -> None:
        """Keeps what is acted on at a step."""
        slots = self._slots_of(step)
        self._frames[slots] = obs[:, -1]
        if self._seen is not None:
            own = torch.arange(slots.start, slots.stop, device=self.device)
            self._seen[slots] = refer(obs, self._place, own, before).to(torch.int32)

    def _apart(
        self, obs: Tensor, envs: Tensor, before: tuple[Tensor, Tensor] | None, newest: Tensor | None = None
    ) -> Int[Tensor, "some stack"]:
        """Where the frames of observations of some environments are, those that are new kept apart."""
        return refer(obs, lambda frames, rows: self._place(frames, envs[rows]), newest, before)

    def _place(self, frames: Tensor, envs: Tensor) -> Int[Tensor, " some"]:
        """Keeps a frame of each of some environments apart, in the first place of it that is free."""
        rows = []
        for env in envs.tolist():
            row = int(self._used[env].argmin())
            if self._used[env, row]:
                row = self._used.shape[1]
                self._grow()
            self._used[env, row] = True
            rows.append(self._rows + row)
        places = torch.tensor(rows, device=self.device) * self.num_envs + envs
        self._frames[places] = frames
        return places

    def _grow(self) -> None:
        more = self._used.shape[1] // 2 + 1
        self._used = np.pad(self._used, ((0, 0), (0, more)))
        frames = self._frames.new_empty((len(self._frames) + more * self.num_envs, *self._frames.shape[1:]))
        frames[: len(self._frames)] = self._frames
        self._frames = frames

    def _forget(self, step: int) -> None:
        """Makes the places free of what was kept apart for a step and is not needed by the next one."""
        if not self._holds[step % self._rows]:
            return
        slots, after = self._slots_of(step), self._slots_of(step + 1)
        held = self._next[slots].view(self.num_envs, -1)
        if self._seen is not None:
            held = torch.cat([held, self._seen[slots]], 1)
        self._release(torch.arange(self.num_envs, device=self.device), held, self._references(after))
        self._holds[step % self._rows] = False
        if self._seen is None:
            self._next[slots] = self._references(after).squeeze(1).to(torch.int32)

    def _release(self, envs: Tensor, held: Int[Tensor, "some held"], needed: Int[Tensor, "some needed"]) -> None:
        gone = held >= self._slots
        if bool(gone.any()):
            gone &= ~(held.unsqueeze(2) == needed.unsqueeze(1)).any(2)
            which = gone.nonzero()[:, 0]
            rows = (held[gone] - self._slots) // self.num_envs
            self._used[envs[which].cpu().numpy(), rows.cpu().numpy()] = False

    # ---- what is read

    def sample(self, indices: Int[Tensor, " batch"]) -> Transition:
        """The transitions at ``indices``, step x N + environment, counted from the oldest, below ``num_steps`` x N."""
        first = (indices + self._oldest * self.num_envs).remainder_(self._slots) if self._oldest else indices
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

    def _transition(self, first: Tensor, last: Tensor, rewards: Tensor, steps: Tensor | None) -> Transition:
        here = first if self._seen is None else self._seen.index_select(0, first)
        return Transition(
            obs=self._observations(here),
            actions=self.actions.index_select(0, first),
            next_obs=self._observations(self._next.index_select(0, last)),
            terminated=self.terminated.index_select(0, last),
            truncated=self.truncated.index_select(0, last),
            rewards=rewards,
            steps=steps,
        )

    def _observations(self, references: Tensor) -> Tensor:
        """(B, *shape) observations, by where their frames are: (B,) of single ones, (B, K) of stacks."""
        if references.ndim == 1:
            return self._frames.index_select(0, references)
        frames = self._frames_at(references)
        return frames.flatten(1, 2) if frames.ndim > 1 + len(self.spaces.observation_shape) else frames

    def _frames_at(self, references: Tensor) -> Tensor:
        """(*references, *frame)."""
        return self._frames.index_select(0, references.flatten()).unflatten(0, references.shape)

    def _references(self, slots: slice) -> Int[Tensor, "envs stack"]:
        """Where the frames are of what is acted on at the step of some slots."""
        if self._seen is None:
            return torch.arange(slots.start, slots.stop, device=self.device).unsqueeze(1)
        return self._seen[slots].long()

    def _stacked(self, obs: Tensor) -> Tensor:
        """(N, K, *frame) of observations (N, *shape)."""
        return obs.unsqueeze(1) if self._stack == 1 else in_frames(obs, self._stack)

    # ---- what is saved

    def state_dict(self) -> dict[str, Any]:
        """The stored steps, and where the next one goes.

        On a CPU most of them are windows into the buffer and change with the next step: write them before.
        """
        state = {"rows": self._steps, "num_envs": self.num_envs, "played": self._played, "stack": self._stack}
        if not self._played:
            return state
        played, shown = (min(self._played + more, self._rows) * self.num_envs for more in (0, 1))
        # rows instead of places, so that they mean the same whatever share of the environments is here
        state |= {name: _window(getattr(self, name), played) for name in _MOVES}
        state |= {"frames": _window(self._frames, shown), "next": self._next[:played] // self.num_envs}
        if self._seen is not None:
            state["seen"] = self._seen[:shown] // self.num_envs
        used = torch.from_numpy(
            self._used[:, : 1 + np.flatnonzero(self._used.any(0)).max(initial=-1)].T.copy()
        ).flatten()
        apart = self._frames[self._slots : self._slots + len(used)].clone()
        apart[~used.to(self.device)] = 0
        return state | {"apart": apart}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores :meth:`state_dict` exactly, also one of earlier versions, which kept both states of each step.

        Raises:
            UserError: if the saved buffer was of another size.
        """
        if (state["rows"], state["num_envs"]) != (self._steps, self.num_envs):
            raise UserError(
                f"the checkpoint's replay buffer holds {state['rows']} steps of {state['num_envs']} environments, this "
                f"run's {self._steps} of {self.num_envs}; resume with the same capacity and num_envs"
            )
        self._played, self._stack, self._pending = 0, 0, None
        if "next_obs" in state:
            self._play_again(state)
            return
        if not state["played"]:
            return
        self._allocate(state["stack"])
        self._played = state["played"]
        while len(state["apart"]) > self._used.size:
            self._grow()
        for name, target in ((name, getattr(self, name)) for name in _MOVES):
            target[: len(state[name])] = state[name].to(self.device)
        for begin, name in ((0, "frames"), (self._slots, "apart")):
            self._frames[begin : begin + len(state[name])] = state[name].to(self.device)
        for name, target in (("next", self._next), ("seen", self._seen)):
            if target is not None:
                rows = state[name].to(self.device)
                envs = torch.arange(len(rows), device=self.device) % self.num_envs
                target[: len(rows)] = rows * self.num_envs + (envs if rows.ndim == 1 else envs.unsqueeze(1))
        self._find_used()

    def _find_used(self) -> None:
        """Which places of what is kept apart are taken: those that a step refers to which is not yet forgotten."""
        first, last = self._played - self._filled, self._played
        for target, steps in ((self._next, range(first, last)), (self._seen, range(first, last + 1))):
            if target is not None:
                rows = torch.tensor(steps, device=self.device) % self._rows
                held = target.view(self._rows, self.num_envs, -1)[rows].flatten()
                places = (held[held >= self._slots] - self._slots).cpu().numpy()
                self._used[places % self.num_envs, places // self.num_envs] = True
                apart = (held >= self._slots).view(len(rows), -1).any(1)
                self._holds[rows[apart].cpu().numpy()] = True

    def _play_again(self, state: dict[str, Any]) -> None:
        fields = ("obs", "actions", "next_obs", "rewards", "terminated", "truncated")
        rows = (state[name].to(self.device).unflatten(0, (-1, self.num_envs)) for name in fields)
        obs, actions, next_obs, rewards, terminated, truncated = rows
        first = state["next_row"] - state["filled"]
        for row in (step % state["rows"] for step in range(first, state["next_row"])):
            newest = row == (state["next_row"] - 1) % state["rows"]
            after = next_obs[row] if newest else obs[(row + 1) % state["rows"]]
            self.add(
                obs[row], actions[row], StepResult(after, next_obs[row], rewards[row], terminated[row], truncated[row])
            )


def _window(tensor: Tensor, count: int) -> Tensor:
    """The first rows, as a tensor of its own: a file holds all memory that a tensor is a part of."""
    return torch.from_numpy(tensor.numpy()[:count]) if tensor.device.type == "cpu" else tensor[:count].clone()
