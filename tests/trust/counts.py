"""How many faults are injected: few by default, more in slow tests, all with ``TRUST_COUNT=full pytest -m slow``."""

import os
from typing import Any

import pytest

__all__ = ["slow", "slow_count"]


def slow(*values: Any) -> list[Any]:
    """Parameters of slow tests; a tuple is the values of several."""
    each = (value if isinstance(value, tuple) else (value,) for value in values)
    return [pytest.param(*value, marks=pytest.mark.slow) for value in each]


def slow_count(full: int, otherwise: int) -> int:
    """For a slow test: the number (or the distance between two) if all are asked for, and otherwise."""
    chosen = os.environ.get("TRUST_COUNT", "")
    assert chosen in ("", "full"), f"TRUST_COUNT is {chosen!r}; valid: full, or not set"
    return full if chosen else otherwise
