"""Mistakes a user can mend: one plain sentence each, shown without a traceback, exit status 2."""

import contextlib
import difflib
import math
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = [
    "CannotWriteError",
    "LostProcessError",
    "UserError",
    "blamed_on",
    "error_text",
    "nearest",
    "nearest_few",
    "nearest_multiples",
    "unknown",
]


class UserError(Exception):
    """One plain sentence that names the culprit and, where there are any, the valid choices."""


class CannotWriteError(UserError):
    """The disk did not take a file; it may take it later."""


class LostProcessError(RuntimeError):
    """Another process of this run has ended, or no longer answers; no mistake of this one."""


@contextlib.contextmanager
def blamed_on(culprit: str) -> Iterator[None]:
    """Says of what foreign code raises whose it is: a clause that ends in "failed", before the error's own words.

    Raises:
        UserError: if anything is raised but what has a sentence already.
    """
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        raise UserError(f"{culprit}: {error_text(error)}") from error


def error_text(error: BaseException, plain: tuple[type[BaseException], ...] = (SyntaxError,)) -> str:
    """What foreign code raised: its words, and its kind and place unless it is of a kind whose words are enough.

    >>> error_text(ValueError("size must be  1"), plain=(ValueError,))
    'size must be 1'
    """
    words = " ".join(str(error).split())
    if words and isinstance(error, plain):
        return words
    places = [each for each in traceback.extract_tb(error.__traceback__) if not each.filename.startswith("<frozen ")]
    place = f" ({Path(places[-1].filename).name}, line {places[-1].lineno})" if places else ""
    return f"{type(error).__name__}{f': {words}' if words else ''}{place}"


def nearest_multiples(number: int, unit: int) -> str:
    """The positive multiples of ``unit`` on both sides of a number that is none, for a sentence.

    >>> nearest_multiples(5, 2), nearest_multiples(1, 2)
    ('4 or 6', '2')
    """
    below = number // unit * unit
    return f"{below} or {below + unit}" if below else str(unit)


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """The choice that was meant, if any is near: of those of :func:`nearest_few` the first.

    >>> nearest("Adma", ["Adamax", "Adam"]), nearest("PolicyEval", ["PolicyEvaluation"]), nearest("x", ["Adam"])
    ('Adam', 'PolicyEvaluation', None)
    """
    return next(iter(nearest_few(name, choices, 1)), None)


def nearest_few(name: str, choices: Iterable[str], most: int = 5) -> list[str]:
    """The choices that look most like a name, whatever their capitals, the nearest first.

    Near is what few letters lost, added or changed, or neighbours exchanged, make of the name (one in three of its
    letters at most), what begins with it, or what has most letters in common with it.

    >>> nearest_few("cartpole", ["CartPole-v0", "CartPole-v1", "Acrobot-v1"])
    ['CartPole-v1', 'CartPole-v0']
    >>> nearest_few("IQLERAN", ["SQIL", "IQLearn"])
    ['IQLearn']
    """
    lowered = name.lower()
    found: list[tuple[float, float, str]] = []
    # of two versions that are equally near the newer is meant
    for choice in sorted(set(choices), reverse=True):
        other = choice.lower()
        slips = _slips(lowered, other, max(1, len(name) // 3))
        alike = difflib.SequenceMatcher(None, lowered, other).ratio()
        begins = len(name) > 2 and other.startswith(lowered)
        if slips < len(name) or begins or alike >= _ALIKE:
            # one slip is surer than a beginning, and a beginning than several slips
            found.append((min(slips, 1.5 if begins else math.inf), -alike, choice))
    return [choice for _, _, choice in sorted(found, key=lambda each: each[:2])[:most]]


# Share of letters in common from which two names are alike.
_ALIKE = 0.6


def _slips(one: str, other: str, most: int) -> float:
    """Letters lost, added or changed and neighbours exchanged that make one of the other; infinity beyond ``most``.

    The optimal string alignment distance: Damerau, "A technique for computer detection and correction of spelling
    errors", Communications of the ACM 7 (3), 1964, doi 10.1145/363958.363994, with each letter changed once.

    >>> _slips("seed", "sede", 2), _slips("lr", "copies", 2)
    (1.0, inf)
    """
    if abs(len(one) - len(other)) > most:
        return math.inf
    above, row = [0] * (len(other) + 1), list(range(len(other) + 1))
    for i, letter in enumerate(one):
        twice_above, above, row = above, row, [i + 1]
        for j, beside in enumerate(other):
            row.append(min(above[j] + (letter != beside), above[j + 1] + 1, row[j] + 1))
            if i and j and letter == other[j - 1] and one[i - 1] == beside:
                row[-1] = min(row[-1], twice_above[j - 1] + 1)
    return float(row[-1]) if row[-1] <= most else math.inf


def unknown(kind: str, name: object, choices: Iterable[str]) -> UserError:
    """The error for a name that is not among ``choices``, with the nearest valid one as a suggestion.

    >>> str(unknown("level", "statik", ["static", "random_walls"]))
    "there is no level 'statik'; did you mean 'static'? Valid: static, random_walls"
    """
    valid = list(choices)
    near = nearest(str(name), valid)
    hint = f"; did you mean '{near}'? Valid: " if near is not None else "; valid: "
    return UserError(f"there is no {kind} '{name}'{hint}{', '.join(valid)}")
