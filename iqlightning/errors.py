"""Mistakes a user can mend: one plain sentence each, shown without a traceback, exit status 2."""

import difflib
from collections.abc import Iterable

__all__ = ["LostProcessError", "UserError", "nearest_multiples", "unknown"]


class UserError(Exception):
    """One plain sentence that names the culprit and, where there are any, the valid choices."""


class LostProcessError(RuntimeError):
    """Another process of this run has ended, or no longer answers; no mistake of this one."""


def nearest_multiples(number: int, unit: int) -> str:
    """The positive multiples of ``unit`` on both sides of a number that is none, for a sentence.

    >>> nearest_multiples(5, 2), nearest_multiples(1, 2)
    ('4 or 6', '2')
    """
    below = number // unit * unit
    return f"{below} or {below + unit}" if below else str(unit)


def unknown(kind: str, name: object, choices: Iterable[str]) -> UserError:
    """The error for a name that is not among ``choices``, with the nearest valid one as a suggestion.

    >>> str(unknown("level", "statik", ["static", "random_walls"]))
    "there is no level 'statik'; did you mean 'static'? Valid: static, random_walls"
    """
    valid = list(choices)
    near = difflib.get_close_matches(str(name), valid, n=1)
    hint = f"; did you mean '{near[0]}'? Valid: " if near else "; valid: "
    return UserError(f"there is no {kind} '{name}'{hint}{', '.join(valid)}")
