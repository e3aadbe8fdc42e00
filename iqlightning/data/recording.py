"""Episodes as somebody else recorded them, on their way to demonstrations; every reader of a format makes one of these.

What a format calls its parts is the reader's affair. How rows become episodes is decided here once, and whether they
are what an environment gives and takes is in :mod:`~iqlightning.data.fitting`. Whatever is left out or supposed on the
way is kept as a sentence in ``notes``, for whoever reads the recording to show.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from iqlightning.errors import UserError
from iqlightning.types import EnvConfig, Trajectories

__all__ = ["Recording", "are_whole_episodes", "array_of", "recording_of_episodes", "recording_of_rows"]

_WHERE = "give terminated and truncated, episode_starts, episode_ends, or each row's number as episode"


@dataclass
class Recording:
    """E episodes; that of T moves has T + 1 observations, T actions and T rewards.

    Attributes:
        name: what messages call it.
        observations: (T + 1, *shape) of each episode, of any real dtype.
        actions: (T, ...) of each episode, in the units of whoever recorded them.
        rewards: (T,) of each episode; None if they were not recorded.
        terminated: whether each episode ended in a terminal state; otherwise it was cut off.
        notes: what was left out or supposed, a sentence each.
        env: the environment that the recording names, if any.
        first_action: the number of its first action where actions are numbered; None if it does not say.
        source: who made it, where that is known.
    """

    name: str
    observations: list[np.ndarray]
    actions: list[np.ndarray]
    rewards: list[np.ndarray] | None
    terminated: list[bool]
    notes: list[str] = field(default_factory=list)
    env: EnvConfig | None = None
    first_action: int | None = None
    source: str | None = None


def recording_of_rows(
    name: str,
    observations: Any,
    actions: Any,
    rewards: Any = None,
    terminated: Any = None,
    truncated: Any = None,
    next_observations: Any = None,
    *,
    episode_starts: Any = None,
    episode_ends: Any = None,
    episode: Any = None,
) -> Recording:
    """A recording of one row for each transition, episode after episode.

    Args:
        name: what messages call it.
        observations: (N, *shape) states that were acted on.
        actions: (N, ...).
        rewards: (N,).
        terminated: (N,) whether a row led to a terminal state.
        truncated: (N,) whether an episode was cut off after a row.
        next_observations: (N, *shape) what each row led to.
        episode_starts: (E,) first rows of episodes, or (E + 1,) with N as the last.
        episode_ends: (E,) rows after the last ones of episodes.
        episode: (N,) a number for each row, the same within an episode and another in the next one.

    Raises:
        UserError: if the arrays are no numbers or of different lengths, or do not say where episodes end.
    """
    given = {
        "observations": observations,
        "actions": actions,
        "rewards": rewards,
        "terminated": terminated,
        "truncated": truncated,
        "next_observations": next_observations,
        "episode": episode,
    }
    arrays = {each: array_of(value, each, name) for each, value in given.items() if value is not None}
    count = len(arrays["observations"])
    for each, array in arrays.items():
        if each in ("rewards", "terminated", "truncated", "episode") and array.shape == (len(array), 1):
            arrays[each] = array = array[:, 0]
        if array.ndim > 1 and each not in ("observations", "actions", "next_observations"):
            raise UserError(f"{each} of '{name}' have shape {array.shape}, not one dimension")
        if len(array) != count:
            raise UserError(f"'{name}' has {count} observations, but {len(array)} {each}")
    if count == 0:
        raise UserError(f"'{name}' holds no transition")
    bounds = list(itertools.pairwise(_bounds(name, count, arrays, episode_starts, episode_ends)))
    pieces = {each: [array[a:b] for a, b in bounds] for each, array in arrays.items() if each != "episode"}
    return recording_of_episodes(name, pieces.pop("observations"), pieces.pop("actions"), **pieces)


def recording_of_episodes(
    name: str,
    observations: Sequence[Any],
    actions: Sequence[Any],
    rewards: Sequence[Any] | None = None,
    terminated: Sequence[Any] | None = None,
    truncated: Sequence[Any] | None = None,
    next_observations: Sequence[Any] | None = None,
) -> Recording:
    """A recording of one item for each episode.

    An episode of T actions has T + 1 observations, or T and as many ``next_observations``. With T observations alone
    it is not known where its last action led, and that transition is left out.

    Args:
        name: what messages call it.
        observations: (T + 1, *shape) or (T, *shape) each.
        actions: (T, ...) each.
        rewards: (T,) each.
        terminated: a truth each, or (T,) truths of which only the last may hold.
        truncated: the same, of being cut off.
        next_observations: (T, *shape) each.

    Raises:
        UserError: if the items do not make episodes.
    """
    optional = {
        "rewards": rewards,
        "terminated": terminated,
        "truncated": truncated,
        "next_observations": next_observations,
    }
    for each, items in {"actions": actions, **optional}.items():
        if items is not None and len(items) != len(observations):
            raise UserError(f"'{name}' has {len(observations)} episodes of observations, but {len(items)} of {each}")
    seen, moves, gained, ends = [], [], [], []
    cut, unended, lost, empty, singles = 0, [], 0, 0, 0
    for number in range(len(observations)):
        what = f"episode {number} of '{name}'"
        own = array_of(observations[number], "observations", what)
        played = array_of(actions[number], "actions", what)
        count = len(played)
        terminal, stopped = (_ends(optional[each], number, count, what) for each in ("terminated", "truncated"))
        if next_observations is not None and len(own) == count:
            after = array_of(next_observations[number], "next_observations", what)
            own = _joined(own, after, what)
        if len(own) not in (count, count + 1):
            raise UserError(
                f"{what} has {count} actions and {len(own)} observations; T actions go with T + 1 observations, or "
                "with T, and then the last transition is left out"
            )
        kept = len(own) - 1
        if kept < 1:
            singles, empty = singles + (len(own) == 1), empty + (len(own) == 0)
            continue
        cut += kept < count
        lost += kept < count and terminal
        if (terminated is not None or truncated is not None) and not (terminal or stopped):
            unended.append(number)
        seen.append(own)
        moves.append(played[:kept])
        ends.append(terminal and kept == count)
        if rewards is not None:
            earned = array_of(rewards[number], "rewards", what)
            if earned.shape not in ((count,), (count, 1)):
                raise UserError(f"{what} has {count} actions, but rewards of shape {earned.shape}")
            gained.append(earned.reshape(count)[:kept])
    if not seen:
        raise UserError(f"'{name}' holds no transition")
    for each, arrays in (("observations", seen), ("actions", moves)):
        shapes = sorted({array.shape[1:] for array in arrays}, key=str)
        if len(shapes) > 1:
            raise UserError(f"{each} of '{name}' are not all of one shape, but of {shapes[0]} and {shapes[1]}")
    notes = []
    if cut:
        terminals = f"; {_are(lost, 'terminal state')} lost with it" if lost else ""
        notes.append(
            f"the last transition of {_episodes(cut, len(seen))} is left out, since where its action led is not "
            f"recorded{terminals}"
        )
    if singles + empty:
        notes.append(f"{_are(singles + empty, 'episode')} left out that hold no transition")
    if terminated is None:
        notes.append(
            "which episodes ended in a terminal state is not recorded: all are taken as cut off by a time limit"
        )
    if unended == [len(observations) - 1]:
        notes.append("the last episode does not end: it was cut off by whoever recorded it, and is taken as truncated")
    elif unended:
        notes.append(f"{_are(len(unended), 'episode')} not said to end, and taken as truncated")
    if rewards is None:
        notes.append("rewards are not recorded: they are written as 0, and returns mean nothing")
    return Recording(name, seen, moves, gained if rewards is not None else None, ends, notes)


def are_whole_episodes(trajectories: Trajectories) -> bool:
    """Whether every episode begins where an environment was reset; False if one goes on where the one before ended.

    Recordings that were cut into pieces look so. What a piece begins with is not an initial state, and a value term
    over initial states cannot be had from them.
    """
    episodes = torch.arange(trajectories.num_episodes)
    last = trajectories.observations_at(trajectories.first_rows(episodes) + trajectories.lengths)
    same = (last[:-1] == trajectories.first_observations[1:]).flatten(1).all(1)
    return not bool((same & ~trajectories.terminated[:-1]).any())


def array_of(value: Any, what: str, name: str) -> np.ndarray:
    """A NumPy array of an array, a tensor or a list of numbers.

    Raises:
        UserError: if it is no rows of real numbers.
    """
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()  # which NumPy has not
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "biuf" or array.ndim == 0:
        raise UserError(f"{what} of '{name}' are no rows of numbers, but {array.dtype} of shape {array.shape}")
    return array


def _bounds(name: str, count: int, arrays: dict[str, np.ndarray], episode_starts: Any, episode_ends: Any) -> list[int]:
    """0, the first rows of all later episodes, and N."""
    if (episode_starts is not None) + (episode_ends is not None) + ("episode" in arrays) > 1:
        raise UserError(
            f"'{name}' says more than once where episodes end: give one of episode_starts, episode_ends, episode"
        )
    for what, value, least in (("episode_starts", episode_starts, 0), ("episode_ends", episode_ends, 1)):
        if value is None:
            continue
        given = array_of(value, what, name)
        whole = given.ndim == 1 and bool((given == np.floor(given)).all())
        bounds = [int(each) for each in given] if whole else []
        bounds = bounds if what == "episode_starts" else [0, *bounds]
        bounds = bounds if bounds and bounds[-1] == count else [*bounds, count]
        if not whole or bounds[0] != 0 or any(after <= before for before, after in itertools.pairwise(bounds)):
            lowest = "begin at 0 and increase" if least == 0 else "increase from 1 on"
            raise UserError(f"{what} of '{name}' must be whole numbers that {lowest} to at most {count}")
        return bounds
    if "episode" in arrays:
        numbers = arrays["episode"]
        firsts = [0, *(np.flatnonzero(numbers[1:] != numbers[:-1]) + 1).tolist()]
        if len(np.unique(numbers)) != len(firsts):
            raise UserError(f"rows of an episode of '{name}' are not together: sort them by episode, then by time")
        return [*firsts, count]
    ended = np.zeros(count, dtype=bool)
    for flag in ("terminated", "truncated"):
        ended |= arrays[flag].astype(bool) if flag in arrays else False
    if not ended.any():
        raise UserError(f"'{name}' does not say where episodes end: {_WHERE}")
    bounds = [0, *(np.flatnonzero(ended) + 1).tolist()]
    return bounds if bounds[-1] == count else [*bounds, count]


def _ends(flags: Sequence[Any] | None, number: int, count: int, what: str) -> bool:
    """Whether the last of an episode's flags is set; none before it may be."""
    if flags is None or count == 0:
        return False
    own = np.asarray(flags[number].detach().cpu() if isinstance(flags[number], torch.Tensor) else flags[number])
    if own.size == 1:
        return bool(own.reshape(()))
    if own.size != count:
        raise UserError(f"{what} has {count} actions, but {own.size} flags of its end")
    if own.reshape(count)[:-1].any():
        raise UserError(f"{what} is said to end before its last move")
    return bool(own.reshape(count)[-1])


def _joined(own: np.ndarray, after: np.ndarray, what: str) -> np.ndarray:
    """T observations and their successors as T + 1 observations."""
    if own.shape != after.shape:
        raise UserError(
            f"{what} has observations {own.shape} and next_observations {after.shape}, which must be of one shape"
        )
    # nothing but rounding may lie between them
    wrong = ~np.isclose(after[:-1], own[1:], equal_nan=True).reshape(len(own) - 1, -1).all(1) if len(own) > 1 else []
    if np.any(wrong):
        raise UserError(
            f"{what} has next_observations that are not the observations of the rows after them (first at its row "
            f"{int(np.argmax(wrong))}): transitions must follow each other"
        )
    return np.concatenate([own, after[-1:]])


def _episodes(count: int, total: int) -> str:
    return "each episode" if count == total else f"{count:,} of {total:,} episodes"


def _are(count: int, what: str) -> str:
    return f"one {what} is" if count == 1 else f"{count:,} {what}s are"
