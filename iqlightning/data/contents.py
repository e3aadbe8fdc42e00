"""What is in demonstrations, in figures: for a summary before they are written, and for whoever is given a file."""

import hashlib
from typing import Any

import numpy as np
import torch
from gymnasium import spaces as spaces_module
from torch import Tensor

from iqlightning.data.validation import check_fits
from iqlightning.errors import UserError
from iqlightning.spaces import Spaces, num_actions
from iqlightning.types import EnvConfig, Trajectories

__all__ = ["conflicts_with", "contents"]


def contents(trajectories: Trajectories, spaces: Spaces) -> dict[str, Any]:
    """Figures of demonstrations on the CPU, primitives only.

    Args:
        trajectories: whole in memory.
        spaces: of observations and actions.

    Returns:
        ``episodes``, ``transitions``, ``terminated`` and ``truncated`` episodes; ``lengths`` and ``returns`` of them as
        ``min``, ``median``, ``mean`` and ``max``; ``observations`` with ``shape``, ``dtype``, ``min`` and ``max``
        over all, ``low`` and ``high`` of each entry where there are no more than 1,024, and the numbers of entries that
        never change (``constant``); ``actions`` with ``counts`` of each, or ``low``, ``mean`` and ``high`` of each
        entry and the share ``at_bounds``; ``duplicate_episodes`` and ``duplicate_transitions``, those that occurred
        before; ``contradictions``, observations that were answered by different actions.
    """
    seen, done = trajectories.observations_in_order().flatten(1), trajectories.actions
    lows, highs = (each.double().numpy() for each in (seen.amin(0), seen.amax(0)))
    ranges: dict[str, Any] = {
        "shape": list(spaces.observation_shape),
        "dtype": str(seen.dtype).removeprefix("torch."),
        "min": float(lows.min()),
        "max": float(highs.max()),
        "constant": np.flatnonzero(lows == highs).tolist(),
    }
    if len(lows) <= 1024:
        ranges |= {"low": lows.tolist(), "high": highs.tolist()}
    if isinstance(spaces.action, spaces_module.Discrete):
        actions: dict[str, Any] = {"counts": torch.bincount(done, minlength=num_actions(spaces.action)).tolist()}
    else:
        flat = done.flatten(1).double()
        assert isinstance(spaces.action, spaces_module.Box)
        low, high = (
            torch.from_numpy(each.astype(np.float64)).flatten() for each in (spaces.action.low, spaces.action.high)
        )
        near = 1e-4 * (high - low)
        actions = {
            "low": flat.amin(0).tolist(),
            "mean": flat.mean(0).tolist(),
            "high": flat.amax(0).tolist(),
            "at_bounds": float(((flat <= low + near) | (flat >= high - near)).double().mean()),
        }
    return {
        "episodes": trajectories.num_episodes,
        "transitions": trajectories.num_transitions,
        "terminated": int(trajectories.terminated.sum()),
        "truncated": int(trajectories.truncated.sum()),
        "lengths": _spread(trajectories.lengths),
        "returns": _spread(trajectories.returns),
        "observations": ranges,
        "actions": actions,
    } | _repeated(trajectories)


def conflicts_with(trajectories: Trajectories, env: EnvConfig, time_limit: int | None = None) -> list[str]:
    """Why demonstrations may not be of an environment, a sentence each; none if nothing speaks against it.

    Args:
        trajectories: the demonstrations.
        env: the environment.
        time_limit: steps after which it cuts an episode off, where that is known.
    """
    found = []
    try:
        check_fits("this file", trajectories, env)
    except UserError as error:
        found.append(str(error).partition(": ")[2].removesuffix("; choose a file or an environment that match"))
    space = env.spaces.observation
    if isinstance(space, spaces_module.Box) and space.shape == trajectories.observation_shape:
        seen = trajectories.observations_in_order().double()
        low, high = (torch.from_numpy(each.astype(np.float64)) for each in (space.low, space.high))
        margin = 1e-5 * (1 + seen.abs())
        outside = int(((seen < low - margin) | (seen > high + margin)).flatten(1).any(1).sum())
        if outside:
            found.append(f"{outside:,} of {len(seen):,} observations lie outside its bounds")
        if float(space.high.max()) == 255 and trajectories.observations.is_floating_point() and float(seen.max()) <= 1:
            found.append("observations lie in [0, 1], its own in [0, 255]")
    if time_limit is not None and int(trajectories.lengths.max()) > time_limit:
        found.append(f"an episode has {int(trajectories.lengths.max())} moves, and its time limit is {time_limit}")
    return found


def _spread(values: Tensor) -> dict[str, float]:
    numbers = values.double()
    return {
        "min": float(numbers.min()),
        "median": float(numbers.quantile(0.5)) if len(numbers) < 1 << 24 else float(numbers.median()),
        "mean": float(numbers.mean()),
        "max": float(numbers.max()),
    }


def _repeated(trajectories: Trajectories) -> dict[str, int]:
    """What occurs more than once, by the bits of observations and actions."""
    states = [
        hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in trajectories.observations_in_order().numpy()
    ]
    moves = [row.tobytes() for row in trajectories.actions.numpy()]
    transitions: set[bytes] = set()
    episodes: set[bytes] = set()
    answers: dict[bytes, set[bytes]] = {}
    for number in range(trajectories.num_episodes):
        first, end = int(trajectories.starts[number]), int(trajectories.starts[number + 1])
        whole = hashlib.blake2b(digest_size=16)
        for move in range(first, end):
            state = states[move + number]
            transition = state + moves[move] + states[move + number + 1]
            transitions.add(transition)
            whole.update(transition)
            answers.setdefault(state, set()).add(moves[move])
        episodes.add(whole.digest())
    return {
        "duplicate_episodes": trajectories.num_episodes - len(episodes),
        "duplicate_transitions": trajectories.num_transitions - len(transitions),
        "contradictions": sum(len(each) > 1 for each in answers.values()),
    }
