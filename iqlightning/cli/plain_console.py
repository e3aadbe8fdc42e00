"""A console that shows texts from files as they are: no markup, no smileys, no orders to the terminal."""

from typing import Any

from rich.console import Console
from rich.text import Text

from iqlightning.cli.printable import printable

__all__ = ["PlainConsole"]


class PlainConsole(Console):
    """Like its base, but a text is a text: ``[/x]`` is no tag, and an escape sequence is spelt out."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Every text comes by here, cells and titles of tables as well."""
        return super().render_str(printable(text), **options)
