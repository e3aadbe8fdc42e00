"""Texts from files, fit for a terminal."""

__all__ = ["printable"]


def printable(text: str) -> str:
    """The text with what is an order to the terminal, and no letter, spelt out.

    >>> printable("bell" + chr(7)) == "bell" + chr(92) + "x07"
    True
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in "\n\t" else ascii(each)[1:-1] for each in text)
