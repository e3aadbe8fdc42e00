"""What the page may say: JSON objects of known types, every field checked before anything is done with it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from iqlightning.errors import UserError
from iqlightning.gridworld.game.rules import ACTIONS
from iqlightning.gridworld.game.settings import SIZES

__all__ = ["FIELDS", "Message", "parse_message"]

_Check = Callable[[Any], bool]

#: Cells of the smallest and of the largest grid.
_CELLS = SIZES[0] ** 2, SIZES[1] ** 2


@dataclass(frozen=True)
class Message:
    """A message with exactly the fields that its type has.

    Attributes:
        type: a key of :data:`FIELDS`.
        id: a number of the page's own choice that the answer repeats.
        fields: name to value.
    """

    type: str
    id: int | None
    fields: Mapping[str, Any]


def _whole(low: int, high: int) -> _Check:
    # bool is an int in Python, but true is no number in JSON
    return lambda value: type(value) is int and low <= value <= high


def _flag(value: Any) -> bool:
    return type(value) is bool


def _text(longest: int) -> _Check:
    return lambda value: type(value) is str and 0 < len(value) <= longest


def _walls(value: Any) -> bool:
    return type(value) is str and _CELLS[0] <= len(value) <= _CELLS[1] and not set(value) - {"0", "1"}


def _contenders(value: Any) -> bool:
    """One or two pairs: the number of a contender, and of one of its checkpoints."""
    return type(value) is list and 1 <= len(value) <= 2 and all(map(_pair, value))


def _pair(value: Any) -> bool:
    return type(value) is list and len(value) == 2 and all(map(_whole(0, 999), value))


def _count_or_none(value: Any) -> bool:
    return value is None or _whole(0, 2**31)(value)


_SETTINGS: dict[str, _Check] = {
    "random_walls": _flag,
    "random_goal": _flag,
    "random_start": _flag,
    "height": _whole(0, 9999),
    "width": _whole(0, 9999),
    "num_walls": _whole(0, 9999),
}

#: Message type to its fields and their checks; all of them are needed and no others are taken.
FIELDS: dict[str, dict[str, _Check]] = {
    "hello": {},
    "new_game": _SETTINGS,
    "move": {"action": _whole(0, len(ACTIONS) - 1)},
    "record_start": {"name": _text(200)},
    "record_resume": {"name": _text(200), "kept": _count_or_none},
    "record_undo": {},
    "record_stop": {},
    "record_discard": {},
    "watch_grid": _SETTINGS,
    "watch_maps": {
        "height": _whole(*SIZES),
        "width": _whole(*SIZES),
        "walls": _walls,
        "start": _whole(0, _CELLS[1] - 1),
        "goal": _whole(0, _CELLS[1] - 1),
        "contenders": _contenders,
    },
}


def parse_message(text: str) -> Message:
    """A checked message.

    Raises:
        UserError: if it is not one; the sentence says why without repeating what was sent.
    """
    try:
        data = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise UserError("the message is not JSON") from None
    if not isinstance(data, dict):
        raise UserError("the message is not an object")
    kind, number = data.pop("type", None), data.pop("id", None)
    if not isinstance(kind, str) or kind not in FIELDS:
        raise UserError(f"the message is of no known type; valid: {', '.join(FIELDS)}")
    if number is not None and not _whole(0, 2**53)(number):
        raise UserError("the message's id is not a whole number")
    checks = FIELDS[kind]
    if data.keys() != checks.keys():
        raise UserError(f"a message '{kind}' has the fields {', '.join(checks) or '(none)'} and no others")
    for name, check in checks.items():
        if not check(data[name]):
            raise UserError(f"the field '{name}' of the message '{kind}' is out of range or of the wrong kind")
    return Message(kind, number, data)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
