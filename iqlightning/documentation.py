"""``python -m iqlightning.documentation [FOLDER]``: pages of every public name, from its docstring.

pdoc writes them (the extra ``docs``). It looks at what a module holds already, and this package imports a name when it
is first used: hence a program of its own instead of pdoc's.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import iqlightning
from iqlightning.errors import UserError
from iqlightning.files import path_of

__all__ = ["write_pages"]


def write_pages(folder: Path) -> Path:
    """Writes the pages.

    Args:
        folder: where to; it is made if need be.

    Returns:
        The page of the public names.

    Raises:
        UserError: if the extra ``docs`` is not installed.
    """
    try:
        pdoc = import_module("pdoc")
    except ModuleNotFoundError as error:
        raise UserError("the pages need pdoc: pip install 'iqlightning[docs]'") from error
    for name in iqlightning.__all__:
        setattr(iqlightning, name, getattr(iqlightning, name))
    pdoc.render.configure(docformat="google", math=False, show_source=False)
    pdoc.pdoc("iqlightning", "!iqlightning.", output_directory=folder)
    return folder / "iqlightning.html"


def main(arguments: Sequence[str]) -> int:
    """The command; its exit status."""
    if len(arguments) > 1 or any(each.startswith("-") for each in arguments):
        print("iqlightning: give the folder of the pages, and nothing else", file=sys.stderr)
        return 2
    try:
        print(f"wrote {write_pages(path_of(*(arguments or ['site'])))}")
    except UserError as error:
        print(f"iqlightning: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
