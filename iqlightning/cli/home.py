"""The sign ``~`` at the beginning of a path, which libraries take for the home folder or for a name, as they like."""

import os
import re
from typing import Any

from jsonargparse import Namespace

__all__ = ["expand_homes", "expanded_home"]

# a lone ~ is YAML's null
_HOME = re.compile(r"~[\w.-]*/")


def expanded_home(text: str) -> str:
    """The text with the home folder in the place of a ``~/`` or ``~name/`` that begins it.

    >>> expanded_home("~/runs") == os.path.expanduser("~/runs"), expanded_home("~"), expanded_home("a~/b")
    (True, '~', 'a~/b')
    """
    return os.path.expanduser(text) if _HOME.match(text) else text


def expand_homes(settings: Any) -> Any:
    """The same settings with :func:`expanded_home` of each text in them; a namespace is changed in its place."""
    if isinstance(settings, str):
        return expanded_home(settings) if type(settings) is str else settings
    if isinstance(settings, Namespace):
        for key, value in vars(settings).items():
            setattr(settings, key, expand_homes(value))
        return settings
    if isinstance(settings, dict):
        return {key: expand_homes(value) for key, value in settings.items()}
    if isinstance(settings, list):
        return [expand_homes(each) for each in settings]
    return settings
