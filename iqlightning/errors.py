"""Mistakes a user can mend: one plain sentence each, shown without a traceback, exit status 2."""

import difflib
from collections.abc import Iterable

__all__ = ["LostProcessError", "UserError", "nearest", "nearest_multiples", "unknown"]


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


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """The choice that was meant, if any is near: one a single slip away, else the one of the most letters in common.

    >>> nearest("Adma", ["Adamax", "Adam"]), nearest("PolicyEval", ["PolicyEvaluation"]), nearest("x", ["Adam"])
    ('Adam', 'PolicyEvaluation', None)
    """
    choices = list(choices)
    # letters in common count two that are exchanged as one that is wrong, and then a longer word may have more of them
    near = [each for each in choices if _one_slip(name, each)]
    found = difflib.get_close_matches(name, near or choices, n=1, cutoff=0.0 if near else 0.6)
    return found[0] if found else None


def _one_slip(one: str, other: str) -> bool:
    """Whether a letter lost, added or changed, or two neighbours exchanged, makes one of the other."""
    pairs = enumerate(zip(one, other, strict=False))
    same = next((at for at, (x, y) in pairs if x != y), min(len(one), len(other)))
    a, b = one[same:], other[same:]
    return b in (a[1:], a[1::-1] + a[2:]) or b[1:] in (a, a[1:])


def unknown(kind: str, name: object, choices: Iterable[str]) -> UserError:
    """The error for a name that is not among ``choices``, with the nearest valid one as a suggestion.

    >>> str(unknown("level", "statik", ["static", "random_walls"]))
    "there is no level 'statik'; did you mean 'static'? Valid: static, random_walls"
    """
    valid = list(choices)
    near = nearest(str(name), valid)
    hint = f"; did you mean '{near}'? Valid: " if near is not None else "; valid: "
    return UserError(f"there is no {kind} '{name}'{hint}{', '.join(valid)}")
