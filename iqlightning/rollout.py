"""Playing a policy in a batch of environments, and keeping all of it."""

from collections.abc import Callable

import torch
from torch import Tensor

from iqlightning.types import BatchEnv, Policy, Trajectories

__all__ = ["rollout"]


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
    share goes on unrecorded until the last has finished.

    Args:
        policy: acts on (N, *shape) observations.
        env: N environments.
        episodes: how many, at least 1.
        sample: draw from the policy instead of acting greedily.
        progress: called with the number of newly finished episodes.

    Returns:
        The episodes in order, on the environments' device.
    """
    if episodes < 1:
        raise ValueError(f"there is nothing to play in {episodes} episodes")
    record = _Record()
    current = torch.arange(env.num_envs, device=env.device)  # the episode that each environment plays
    obs = env.reset()
    while bool((playing := current < episodes).any()):
        actions = policy.act(obs, sample=sample).to(env.device)
        step = env.step(actions)
        ended = playing & (step.terminated | step.truncated)
        record.moves.append((current[playing], obs[playing], actions[playing], step.rewards[playing]))
        if bool(ended.any()):
            record.ends.append((current[ended], step.next_obs[ended], step.terminated[ended], step.truncated[ended]))
            current = current + ended * env.num_envs
            if progress is not None:
                progress(int(ended.sum()))
        obs = step.obs
    return record.trajectories()


class _Record:
    """Moves and ends of episodes as they come, all environments mixed."""

    def __init__(self) -> None:
        self.moves: list[tuple[Tensor, ...]] = []  # episode, observation, action, reward of each move
        self.ends: list[tuple[Tensor, ...]] = []  # episode, last observation, terminated, truncated of each end

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
        return Trajectories(
            observations=observations,
            actions=actions[order],
            rewards=rewards[order],
            starts=starts,
            terminated=terminated[by_episode],
            truncated=truncated[by_episode],
        )
