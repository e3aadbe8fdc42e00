"""Batches of a DataLoader of one's own: a mapping or an object of arrays becomes the batch that an algorithm reads.

A batch holds transitions under these names, each with the batch dimension first:

==================================  ==================================================================================
``obs`` or ``observations``         (B, *shape) as the environment gives them: uint8 where it has bytes, else numbers;
                                    dictionaries and tuples of such where it has those
``actions``                         (B,) whole numbers from 0 on, or (B, *action shape) in the environment's units
``next_obs`` or                     (B, *shape) what each led to; never the first observation of the next episode
``next_observations``
``terminated``                      (B,) whether that is a terminal state
``truncated``                       (B,) whether the episode was cut off there; may be left out
``rewards``                         (B,) for ``DQN`` and ``SAC`` only
``steps``                           (B,) n of n-step transitions; may be left out
==================================  ==================================================================================

They are the expert's, or the policy's own where nothing is imitated. Where both are needed, the batch has them as
``{"expert": ..., "policy": ...}``. ``initial``, (I, *shape), are observations that episodes began with, for
``InitialStates``. Cloning reads ``obs`` and ``actions`` alone. A list, as a ``TensorDataset`` gives it, is ``(obs,
actions)`` or ``(obs, actions, next_obs, terminated)``. Each batch is one gradient update.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from gymnasium.spaces import Discrete
from torch import Tensor

from iqlightning.errors import UserError, unknown
from iqlightning.spaces import (
    Spaces,
    action_dtype,
    action_shape,
    contains_actions,
    num_actions,
    observation_dtype,
)
from iqlightning.types import Batch, Transition

__all__ = ["batch_of", "observations_of"]

_OTHER_NAMES = {"observations": "obs", "next_observations": "next_obs"}
_REQUIRED = ("obs", "actions", "next_obs", "terminated")
_ALLOWED = (*_REQUIRED, "truncated", "rewards", "steps")
_PARTS = ("expert", "policy")
_OBSERVATIONS = ("obs", "next_obs", "initial", *_OTHER_NAMES)
_FLAGS = ("terminated", "truncated")


def batch_of(
    given: Any, spaces: Spaces, *, part: str, successors: bool = True, device: torch.device | str = "cpu"
) -> Batch:
    """The batch that is meant, checked.

    Args:
        given: a mapping, a named tuple or a dataclass of arrays (see the module), or one of such by part.
        spaces: of observations and actions.
        part: whose transitions they are where the batch does not say it, ``expert`` or ``policy``.
        successors: whether ``next_obs`` and ``terminated`` are needed; what else stands for them is not to be read.
        device: of the tensors.

    Raises:
        UserError: if something is missing, unknown, or does not fit the spaces.
    """
    named = _named(given)
    initial = _on(device, {"initial": named.pop("initial", None)}, spaces)["initial"]
    parts = named if named.keys() & set(_PARTS) else {part: named} if named else {}
    if others := parts.keys() - set(_PARTS):
        raise unknown("part of a batch called", sorted(others)[0], (*_PARTS, "initial"))
    batch = Batch()
    for name, each in parts.items():
        batch[name] = _transition(_on(device, _named(each), spaces), spaces, successors)  # type: ignore[literal-required]
    if initial is not None:
        batch["initial"] = _observations("initial", initial, spaces)
    return batch


def observations_of(given: Any, spaces: Spaces, device: torch.device | str = "cpu") -> Tensor:
    """The observations of a batch that may hold nothing else: an array, a list of one, or as :func:`batch_of` reads.

    Raises:
        UserError: if there are none, or they do not fit the spaces.
    """
    if isinstance(given, (list, tuple)) and not hasattr(given, "_fields") and given:
        given = given[0]  # as a TensorDataset gives them
    if isinstance(given, Tensor) or hasattr(given, "__array__"):
        return _observations("obs", _on(device, {"obs": given}, spaces)["obs"], spaces)
    named = _named(given)
    named = _named(named["expert"]) if "expert" in named else named
    found = [name for name in ("obs", "observations") if name in named]
    if not found:
        raise UserError(f"a batch to predict for needs obs, and has {', '.join(named) or 'nothing'}")
    return _observations("obs", _on(device, {"obs": named[found[0]]}, spaces)["obs"], spaces)


def _named(given: Any) -> dict[str, Any]:
    """What a batch holds, by name."""
    if isinstance(given, Mapping):
        return dict(given)
    if hasattr(given, "_asdict"):
        return {name: each for name, each in given._asdict().items() if each is not None}
    if is_dataclass(given) and not isinstance(given, type):
        held = {field.name: getattr(given, field.name) for field in fields(given)}
        return {name: each for name, each in held.items() if each is not None}
    if isinstance(given, (list, tuple)):  # a TensorDataset's
        return (
            dict(zip(("obs", "actions", "next_obs", "terminated"), given, strict=False)) if len(given) in (2, 4) else {}
        )
    raise UserError(
        f"a batch must be a dictionary or a dataclass of transitions with {', '.join(_REQUIRED)}, or a list of these, "
        f"not this {type(given).__name__}"
    )


def _transition(named: Mapping[str, Any], spaces: Spaces, successors: bool) -> Transition:
    held: dict[str, Any] = {}
    for name, value in named.items():
        short = _OTHER_NAMES.get(name, name)
        if short not in _ALLOWED:
            raise unknown("part of a batch called", name, (*_ALLOWED, *_OTHER_NAMES))
        if short in held:
            raise UserError(f"a batch has '{name}' under two names")
        held[short] = value
    required = _REQUIRED if successors else _REQUIRED[:2]
    if missing := [name for name in required if name not in held]:
        raise UserError(
            f"a batch lacks {' and '.join(missing)}: transitions need {', '.join(required)}, and this one has "
            f"{', '.join(held) or 'nothing'}"
        )
    obs = _observations("obs", held["obs"], spaces)
    count = len(obs)
    if not successors and "next_obs" not in held:
        held |= {"next_obs": obs, "terminated": torch.ones(count, dtype=torch.bool, device=obs.device)}
    held.setdefault("truncated", torch.zeros(count, dtype=torch.bool, device=obs.device))
    flags = {name: _flags(name, held[name]) for name in _FLAGS}
    rewards, steps = held.get("rewards"), held.get("steps")
    transition = Transition(
        obs,
        _actions(held["actions"], spaces),
        _observations("next_obs", held["next_obs"], spaces),
        **flags,
        rewards=None if rewards is None else _finite("rewards", rewards.float()),
        steps=None if steps is None else steps.long(),
    )
    for name, each in transition._asdict().items():
        if each is not None and len(each) != count:
            raise UserError(f"a batch has {count} obs and {len(each)} {name}")
    for name in ("rewards", "steps", *_FLAGS):
        each = getattr(transition, name)
        if each is not None and each.ndim != 1:
            raise UserError(f"{name} of a batch must have the shape (B,), not {tuple(each.shape)}")
    return transition


def _observations(name: str, array: Tensor, spaces: Spaces) -> Tensor:
    shape, dtype = spaces.observation_shape, observation_dtype(spaces.observation)
    if tuple(array.shape[1:]) != shape or array.ndim == 0:
        raise UserError(f"{name} of a batch must have the shape {_shape(shape)}, not {tuple(array.shape)}")
    if dtype == torch.uint8 and array.dtype != torch.uint8:
        raise UserError(
            f"{name} of a batch must be bytes (uint8), as the environment gives them, not {array.dtype}: a network "
            "divides them by what their space allows"
        )
    return _finite(name, array if dtype == torch.uint8 else array.float())


def _actions(array: Tensor, spaces: Spaces) -> Tensor:
    space = spaces.action
    if tuple(array.shape[1:]) != action_shape(space) or array.ndim == 0:
        raise UserError(
            f"actions of a batch must have the shape {_shape(action_shape(space))}, not {tuple(array.shape)}"
        )
    if isinstance(space, Discrete) and array.is_floating_point():
        last = num_actions(space) - 1
        raise UserError(f"actions of a batch must be whole numbers from 0 to {last}, not {array.dtype}")
    array = array.to(action_dtype(space))
    within = contains_actions(space, array)
    if not bool(within.all()):
        wrong = array[~within][0].tolist()
        valid = f"from 0 to {num_actions(space) - 1}" if isinstance(space, Discrete) else f"within {space}"
        raise UserError(f"actions of a batch must lie {valid}, and one is {wrong}")
    return array


def _flags(name: str, array: Tensor) -> Tensor:
    if array.dtype != torch.bool and not bool(((array == 0) | (array == 1)).all()):
        raise UserError(f"{name} of a batch must be true or false, or 1 or 0")
    return array.bool()


def _on(device: torch.device | str, named: Mapping[str, Any], spaces: Spaces) -> dict[str, Any]:
    """Every array as a tensor on a device, observations encoded."""
    tensors: dict[str, Any] = {}
    for name, value in named.items():
        codec = spaces.codec if name in _OBSERVATIONS else None
        if value is not None and codec is not None and codec.is_native(value):
            value = codec.encode(value, f"{name} of a batch")
        try:
            tensors[name] = None if value is None else torch.as_tensor(value, device=device)
        except (TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"{name} of a batch must be an array of numbers, not {type(value).__name__}") from error
    return tensors


def _finite(name: str, array: Tensor) -> Tensor:
    if array.is_floating_point() and not bool(array.isfinite().all()):
        raise UserError(f"{name} of a batch hold a number that is not finite")
    return array


def _shape(of_one: tuple[int, ...]) -> str:
    return f"(B{''.join(f', {side}' for side in of_one) or ','})"
