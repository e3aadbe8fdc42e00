"""What demonstrations have to be: arrays that belong together, of the spaces of an environment."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from gymnasium import spaces as spaces_module
from torch import Tensor

from iqlightning.errors import UserError
from iqlightning.spaces import Spaces, action_dtype, action_shape, contains_actions, observation_dtype
from iqlightning.types import EnvConfig, Trajectories

__all__ = ["ARRAYS", "check_arrays", "check_fits", "check_spaces", "pieces_of", "rows_at_once"]

#: Names of the arrays of :class:`~iqlightning.types.Trajectories`, and of a file's tensors; ``stacks`` is another one
#: where there are any.
ARRAYS = ("observations", "actions", "rewards", "starts", "terminated", "truncated")

_DTYPES = {"rewards": torch.float32, "starts": torch.int64, "terminated": torch.bool, "truncated": torch.bool}
_ACTION_DTYPES = (torch.int64, torch.float32)
_OBSERVATION_DTYPES = (torch.uint8, torch.int32, torch.int64, torch.float16, torch.float32, torch.float64)

# Bytes of an array that are looked at together.
_PIECE = 1 << 24


def check_arrays(path: str | Path, tensors: Mapping[str, Tensor]) -> None:
    """The invariants of :class:`Trajectories`, of arrays by their names; ``path`` is what messages call them."""

    def require(holds: bool, problem: str) -> None:
        if not holds:
            raise UserError(f"the demonstrations for '{path}' are not valid: {problem}; make them again")

    for name, dtype in _DTYPES.items():
        require(tensors[name].dtype == dtype, f"{name} are {tensors[name].dtype}, not {dtype}")
        require(tensors[name].ndim == 1, f"{name} have shape {tuple(tensors[name].shape)}, not one dimension")
    observations, actions, starts = tensors["observations"], tensors["actions"], tensors["starts"]
    valid = " or ".join(map(str, _ACTION_DTYPES))
    require(actions.dtype in _ACTION_DTYPES, f"actions are {actions.dtype}, not {valid}")
    real = actions.is_floating_point()
    require(
        actions.ndim == 1 or (real and actions.ndim > 1),
        f"actions have shape {tuple(actions.shape)}, not one dimension",
    )
    transitions, episodes = actions.shape[0], starts.shape[0] - 1
    require(transitions > 0 and episodes > 0, "they hold no transition")
    stacks = tensors.get("stacks")
    if stacks is not None:
        require(stacks.dtype == torch.int32 and stacks.ndim == 2, "stacks are no rows of numbers of frames")
        low, high = (int(stacks.min()), int(stacks.max())) if stacks.numel() else (0, 0)
        require(
            stacks.numel() == 0 or (low >= 0 and high < len(observations)), "a stack is of frames that are not there"
        )
    shown = observations if stacks is None else stacks
    count = shown.shape[0] if shown.ndim else 0
    require(
        count == transitions + episodes,
        f"{transitions} transitions in {episodes} episodes need {transitions + episodes} observations, not {count}",
    )
    require(observations.dtype in _OBSERVATION_DTYPES, f"observations are {observations.dtype}")
    require(not observations.is_floating_point() or _finite(observations), "an observation is not finite")
    require(tensors["rewards"].shape[0] == transitions, f"{tensors['rewards'].shape[0]} rewards, {transitions} actions")
    require(_finite(tensors["rewards"]), "a reward is not finite")
    require(int(starts[0]) == 0 and int(starts[-1]) == transitions, "episodes do not cover the transitions")
    require(bool((starts[1:] > starts[:-1]).all()), "episode starts do not increase")
    require(not real or _finite(actions), "an action is not finite")
    require(real or int(actions.min()) >= 0, f"there is an action {actions.min()}")
    for name in ("terminated", "truncated"):
        require(tensors[name].shape[0] == episodes, f"{tensors[name].shape[0]} flags '{name}', {episodes} episodes")
    require(
        bool((tensors["terminated"] | tensors["truncated"]).all()), "an episode is neither terminated nor truncated"
    )


def check_fits(path: str | Path, trajectories: Trajectories, env: EnvConfig) -> None:
    """Checks that trajectories can have come from an environment like this one.

    Raises:
        UserError: if the shape or the type of observations or actions differs, or an action is out of range.
    """
    check_spaces(path, trajectories, env.spaces, f"environment '{env.name}'")


def check_spaces(path: str | Path, trajectories: Trajectories, spaces: Spaces, whose: str = "header") -> None:
    """Checks that trajectories are of these spaces, those of ``whose``; ``path`` is what messages call them.

    Raises:
        UserError: as :func:`check_fits`.
    """
    misfit, owner = f"the demonstrations in '{path}' do not fit the {whose}: ", whose.partition(" ")[0]
    observations, actions = trajectories.observations, trajectories.actions
    shape, wanted = trajectories.observation_shape, spaces.observation_shape
    advice = "; choose a file or an environment that match"
    if shape != wanted:
        raise UserError(f"{misfit}their observations have shape {shape}, the {owner}'s {wanted}{advice}")
    dtype = observation_dtype(spaces.observation)
    if torch.uint8 in (dtype, observations.dtype) and dtype != observations.dtype:
        raise UserError(f"{misfit}their observations are {observations.dtype}, the {owner}'s {dtype}{advice}")
    kind, wanted = (actions.dtype, tuple(actions.shape[1:])), (action_dtype(spaces.action), action_shape(spaces.action))
    if kind != wanted:
        kinds = [f"{dtype} of shape {shape}" for dtype, shape in (kind, wanted)]
        raise UserError(f"{misfit}their actions are {kinds[0]}, the {owner}'s {kinds[1]}{advice}")
    outside = actions[~contains_actions(spaces.action, actions)]
    if len(outside) and isinstance(spaces.action, spaces_module.Discrete):
        highest, last = int(outside.max()), int(spaces.action.n) - 1
        raise UserError(f"{misfit}they contain action {highest}, but valid actions are 0 to {last}")
    if len(outside):
        assert isinstance(spaces.action, spaces_module.Box)
        low, high = (bound.flatten().tolist() for bound in (spaces.action.low, spaces.action.high))
        action = _short(outside[0].flatten().tolist())
        raise UserError(
            f"{misfit}they contain the action {action}, but valid ones are from {_short(low)} to {_short(high)}"
        )
    _check_allowed(misfit, trajectories, spaces)


def _check_allowed(misfit: str, trajectories: Trajectories, spaces: Spaces) -> None:
    """Where observations say which actions are allowed, the actions of the demonstrations have to be."""
    if spaces.mask is None:
        return
    numbers = torch.arange(trajectories.num_transitions, device=trajectories.starts.device)
    for part in numbers.split(rows_at_once(trajectories.observations)):
        rows, actions, _, _ = trajectories.locate(part)
        allowed = spaces.allowed(trajectories.observations_at(rows))
        assert allowed is not None
        wrong = ~allowed.gather(1, actions[:, None])[:, 0]
        if bool(wrong.any()):
            first = int(wrong.int().argmax())
            raise UserError(
                f"{misfit}at transition {int(part[first])} they take action {int(actions[first])}, which the mask of "
                "that observation forbids"
            )


def pieces_of(tensor: Tensor) -> Sequence[Tensor]:
    """The tensor in pieces of some megabytes, so that what is worked out from them needs little memory."""
    return tensor.split(rows_at_once(tensor)) if tensor.ndim else [tensor]


def rows_at_once(tensor: Tensor) -> int:
    """Rows of a piece."""
    return max(1, _PIECE // max(1, math.prod(tensor.shape[1:]) * tensor.dtype.itemsize))


def _finite(tensor: Tensor) -> bool:
    return all(bool(piece.isfinite().all()) for piece in pieces_of(tensor))


def _short(numbers: Sequence[float]) -> str:
    """An action as a list of at most four numbers."""
    shown = [f"{number:g}" for number in numbers[:4]]
    return f"[{', '.join(shown)}{', ...' if len(numbers) > 4 else ''}]"
