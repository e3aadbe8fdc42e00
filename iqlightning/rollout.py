"""Playing a policy in a batch of environments, and keeping all of it."""

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from iqlightning.frames import FrameLog, frame_stack
from iqlightning.types import BatchEnv, Policy, StepResult, Trajectories

__all__ = ["closing", "rollout"]


@contextlib.contextmanager
def closing(env: BatchEnv) -> Iterator[BatchEnv]:
    """Closes environments when the block is over, where there is anything to close: see :class:`BatchEnv`."""
    try:
        yield env
    finally:
        getattr(env, "close", lambda: None)()


@torch.no_grad()
def rollout(
    policy: Policy,
    env: BatchEnv,
    episodes: int,
    *,
    sample: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Trajectories:
    """Plays exactly ``episodes`` whole episodes.

    Environment i of N plays the episodes i, i + N, i + 2N, ... of the result: how many is settled beforehand, since
    taking the first to finish would favour short episodes. The environments are reset first. One that has played its
    share goes on unrecorded until the last has finished. Of stacks of frames each frame is kept once.

    Args:
        policy: chooses actions. One that keeps something for an episode has ``begin(env, ended, playing)``: it is
            called first and after each step that ends episodes, with (N,) masks of the environments where a new one has
            begun, and of those whose episodes are recorded.
        env: what is played.
        episodes: how many.
        sample: draw from the policy instead of acting greedily.
        progress: called after each step with the number of newly finished episodes, most often 0.

    Returns:
        The episodes in order, on the environments' device.

    Raises:
        ValueError: if there is nothing to play.
    """
    if episodes < 1:
        raise ValueError(f"there is nothing to play in {episodes} episodes")
    record = _Record()
    current = torch.arange(env.num_envs, device=env.device)  # the episode that each environment plays
    obs = env.reset()
    begin = getattr(policy, "begin", None)
    if begin is not None:
        begin(env, torch.ones_like(current, dtype=torch.bool), current < episodes)
    while bool((playing := current < episodes).any()):
        actions = policy.act(obs, sample=sample).to(env.device)
        step = env.step(actions)
        ended = playing & (step.terminated | step.truncated)
        seen, last = record.kept(obs, step)
        record.moves.append((current[playing], seen[playing], actions[playing], step.rewards[playing]))
        if bool(ended.any()):
            record.ends.append((current[ended], last[ended], step.terminated[ended], step.truncated[ended]))
            current = current + ended * env.num_envs
            if begin is not None:
                begin(env, ended, current < episodes)
        if progress is not None:
            progress(int(ended.sum()))
        obs = step.obs
    return record.trajectories()


class _Record:
    """Moves and ends of episodes as they come, all environments mixed."""

    def __init__(self) -> None:
        self.moves: list[tuple[Tensor, ...]] = []  # episode, observation, action, reward of each move
        self.ends: list[tuple[Tensor, ...]] = []  # episode, last observation, terminated, truncated of each end
        self._log: FrameLog | None = None  # where observations are stacks: what is recorded of them are references
        self._seen: Tensor | None = None

    def kept(self, obs: Tensor, step: StepResult) -> tuple[Tensor, Tensor]:
        """What is recorded of the observations that a step began with, and of those that it led to."""
        if not self.moves and (stack := frame_stack(obs, step.next_obs)) > 1:
            self._log = FrameLog(stack)
        if self._log is None:
            return obs, step.next_obs
        seen = self._log.refer(obs) if self._seen is None else self._seen
        last = self._log.refer(step.next_obs, (obs, seen))
        self._seen = last
        new = (step.obs != step.next_obs).flatten(1).any(1).nonzero().squeeze(1)
        if len(new):
            self._seen = last.index_put((new,), self._log.refer(step.obs[new]))
        return seen, last

    def trajectories(self) -> Trajectories:
        """Everything in order of episodes; within an episode moves have come in order."""
        episode, obs, actions, rewards = (torch.cat(parts) for parts in zip(*self.moves, strict=True))
        ended, last_obs, terminated, truncated = (torch.cat(parts) for parts in zip(*self.ends, strict=True))
        order = torch.argsort(episode, stable=True)
        by_episode = torch.argsort(ended)
        lengths = torch.bincount(episode, minlength=len(ended))
        starts = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        observations = torch.empty((len(actions) + len(ended), *obs.shape[1:]), dtype=obs.dtype, device=obs.device)
        observations[torch.arange(len(actions), device=obs.device) + episode[order]] = obs[order]
        observations[starts[1:] + torch.arange(len(ended), device=obs.device)] = last_obs[by_episode]
        played = Trajectories(
            observations=observations if self._log is None else self._log.frames,
            stacks=None if self._log is None else observations.to(torch.int32),
            actions=actions[order],
            rewards=rewards[order],
            starts=starts,
            terminated=terminated[by_episode],
            truncated=truncated[by_episode],
        )
        # frames of environments that went on unrecorded are left out
        return played if self._log is None else played.select(torch.arange(len(ended), device=obs.device))
