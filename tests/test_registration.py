"""Environments from what a file says of them."""

from typing import Any, Literal, Optional

import pytest

from iqlightning.registration import _is_a


@pytest.mark.parametrize(
    ("value", "expected", "holds"),
    [
        (3, Optional[int], True),  # noqa: UP045 - as authors of environments write it
        (None, Optional[int], True),  # noqa: UP045
        ("3", Optional[int], False),  # noqa: UP045
        ("easy", Literal["easy", "hard"], True),
        ("other", Literal["easy", "hard"], False),
        (1, float, True),
        (True, int, False),
        (True, bool | None, True),
        ({"a": 1}, dict[str, Any], True),
    ],
)
def test_values_are_held_against_the_types_of_fields(value, expected, holds):
    assert _is_a(value, expected) is holds
