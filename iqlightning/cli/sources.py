"""Classes and their arguments, read from the text of their modules: to import these takes seconds.

Only what is certain is said: where arguments cannot be told from the text, they are not known.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import iqlightning
from iqlightning.cli.trust import FAMILIES

__all__ = ["Sources", "package_sources", "trainer_arguments"]

# where the classes are that a configuration names, and their bases
_PLACES = (
    *(family.replace(".", "/") for family in FAMILIES),
    "gridworld/config.py",
    "gridworld/game/settings.py",
    "recorded.py",
    "types.py",
)

_CLASS = re.compile(r"^class (\w+)(?:\(([^)]*)\))?:", re.MULTILINE)

# bases without arguments of their own
_PLAIN = {"ABC", "Callback", "Checkpoint", "LightningDataModule", "LightningModule", "Module", "ProgressBar", "object"}


class Sources:
    """The classes of some modules.

    Args:
        files: the modules.
    """

    def __init__(self, files: list[Path]) -> None:
        self._text: dict[str, tuple[Path, tuple[str, ...]]] = {}
        for file in files:
            for match in _CLASS.finditer(file.read_text(encoding="utf-8")):
                bases = (base.partition("[")[0].strip() for base in (match[2] or "").split(","))
                named = tuple(base.rpartition(".")[2] for base in bases if base and "=" not in base)
                self._text[match[1]] = (file, named)

    def __contains__(self, name: str) -> bool:
        return name in self._text

    def descendants(self, base: str) -> list[str]:
        """Names of the classes below one, by name."""
        return sorted(name for name in self._text if name != base and base in self._ancestors(name))

    def arguments(self, name: str) -> list[str] | None:
        """What a class takes, as :func:`iqlightning.cli.signatures.names_of_arguments` says it; None: not known."""
        found: list[str] = []
        for each in (name, *self._ancestors(name)):
            node = self._node(each)
            if node is None:
                if each in _PLAIN:
                    continue
                return None
            if _is_of_fields(node):
                found = [*_fields(node), *found]
                continue
            function = next((part for part in node.body if _is_init(part)), None)
            if isinstance(function, ast.FunctionDef):
                given = function.args
                found += [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
                if given.kwarg is None:
                    break
        return [each for each in dict.fromkeys(found) if each != "self"]

    def _ancestors(self, name: str) -> Iterator[str]:
        """Bases, their bases, and so on, as far as the modules tell."""
        for base in self._text[name][1] if name in self._text else ():
            yield base
            yield from self._ancestors(base)

    @cache  # noqa: B019 - there is one object of a package
    def _node(self, name: str) -> ast.ClassDef | None:
        if name not in self._text:
            return None
        tree = _parsed(self._text[name][0])
        return next(each for each in tree.body if isinstance(each, ast.ClassDef) and each.name == name)


@cache
def package_sources() -> Sources:
    """Those of this package that a configuration can name."""
    root = Path(iqlightning.__file__).parent
    places = [root / place for place in _PLACES]
    return Sources([file for place in places for file in (sorted(place.rglob("*.py")) if place.is_dir() else [place])])


def trainer_arguments() -> list[str] | None:
    """What Lightning's Trainer takes; None if that is not known."""
    spec = find_spec("lightning")  # of a package without a dot, nothing is imported
    places = [] if spec is None else spec.submodule_search_locations or []
    files = [Path(place) / "pytorch" / "trainer" / "trainer.py" for place in places]
    present = [file for file in files if file.is_file()]
    return Sources(present).arguments("Trainer")


@cache
def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _is_of_fields(node: ast.ClassDef) -> bool:
    """Whether a dataclass or a named tuple."""
    called = (each.func if isinstance(each, ast.Call) else each for each in node.decorator_list)
    return any(isinstance(each, ast.Name) and each.id == "dataclass" for each in called) or any(
        isinstance(base, ast.Name) and base.id == "NamedTuple" for base in node.bases
    )


def _fields(node: ast.ClassDef) -> Iterator[str]:
    for part in node.body:
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            of_class = "ClassVar" in ast.unparse(part.annotation)
            if not of_class:
                yield part.target.id


def _is_init(part: ast.stmt) -> bool:
    return isinstance(part, ast.FunctionDef) and part.name == "__init__"
