"""How many faults are injected: few by default, more in slow tests, all with ``TRUST_COUNT=full pytest -m slow``."""

import os

__all__ = ["slow_count"]


def slow_count(full: int, otherwise: int) -> int:
    """For a slow test: the number (or the distance between two) if all are asked for, and otherwise."""
    chosen = os.environ.get("TRUST_COUNT", "")
    assert chosen in ("", "full"), f"TRUST_COUNT is {chosen!r}; valid: full, or not set"
    return full if chosen else otherwise
