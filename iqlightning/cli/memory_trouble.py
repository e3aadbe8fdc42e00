"""What to say when memory that was asked for cannot be had."""

import re

__all__ = ["memory_trouble"]

_CPU = re.compile(r"not enough memory: (you tried to allocate [\d.]+ \w+)|can't allocate memory: ([^.]+)")
# a size that no machine has, of which torch says something else
_BEYOND = ("Storage size calculation overflowed", "integer multiplication overflow", "array is too big")


def memory_trouble(error: BaseException) -> str | None:
    """The sentence for an error; None if it is about something else."""
    text = " ".join(str(error).split())
    advice = "take smaller sizes, such as a smaller batch or buffer"
    if match := _CPU.search(text):
        return f"there is not enough memory: {match[1] or match[2]}; {advice}"
    if type(error).__name__ == "OutOfMemoryError":
        return f"there is not enough memory on the device ({text.partition('. ')[0]}); {advice}"
    if isinstance(error, MemoryError) or any(sign in text for sign in _BEYOND):
        return f"there is not enough memory{f' ({text})' if isinstance(error, MemoryError) and text else ''}; {advice}"
    return None
