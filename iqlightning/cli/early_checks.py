"""Mistakes in the settings of a run that can be told before Lightning is imported, which takes seconds.

Keys of configuration files and of the command line are held against what their classes take, as the text of the
modules says it (:mod:`iqlightning.cli.sources`), in the order in which they are read. What is not certain is left to
the parser, which knows everything and says the same sentences (:mod:`iqlightning.cli.mistakes`).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from iqlightning.cli.config_files import base_config, read_config
from iqlightning.cli.sources import package_sources, trainer_arguments
from iqlightning.cli.suggestions import by_another_name, suggestion
from iqlightning.errors import UserError

__all__ = ["refuse_unknown_keys"]

_OWN = ("seed_everything", "ckpt_path", "base", "threads", "config")
_OF_PREDICT = ("output", "force")
_OPTIONS = ("help", "print_config", "print_shtab")

# sections whose classes a configuration chooses, to the base of these
_CHOSEN = {"model": "Learner", "data": "LightningDataModule"}

# what stands between a class and its arguments
_BETWEEN = ("init_args", "class_path", "dict_kwargs", "help")


def refuse_unknown_keys(arguments: Sequence[str], configs: Sequence[str], command: str, *, trusting: bool) -> None:
    """Refuses the first key that nothing takes.

    Args:
        arguments: of the command line.
        configs: the files that are read before them.
        command: one of the four.
        trusting: whether classes may be other than this package's, which are then not looked at.

    Raises:
        UserError: naming the key, the file that has it, and what would be valid.
    """
    keys = _Keys(command, trusting=trusting)
    for file in (str(base_config()), *configs):
        keys.check_file(read_config(file), f" (in {file})")
    for option, value in _options(arguments):
        keys.check_option(option, value)


def _options(arguments: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Names without dashes, and values."""
    for number, word in enumerate(arguments):
        if not word.startswith("--") or word == "--":
            continue
        name, equals, value = word[2:].partition("=")
        after = arguments[number + 1] if number + 1 < len(arguments) else "--"
        yield name, value if equals else None if after.startswith("--") else after


class _Keys:
    """What may be set, with the classes that have been chosen so far."""

    def __init__(self, command: str, *, trusting: bool) -> None:
        self._trusting = trusting
        self._sources = package_sources()
        self._top = [*_OWN, *(_OF_PREDICT if command == "predict" else ())]
        self._plain = {"trainer": trainer_arguments(), "checkpoint": self._sources.arguments("BestAndLast")}
        self._chosen: dict[str, str | None] = {}

    @property
    def _sections(self) -> list[str]:
        return sorted([*self._plain, *_CHOSEN, *self._top])

    def check_file(self, content: Mapping[str, Any], where: str) -> None:
        for key, value in content.items():
            if not isinstance(key, str) or "." in key:
                continue
            section = key.rstrip("+")
            if section not in self._sections:
                raise UserError(f"there is no setting '{section}'{where}{self._hint(section, self._sections)}")
            known = self._plain.get(section)
            if known is not None and isinstance(value, Mapping):
                self._check_plain(section, known, value, where)
            elif section in _CHOSEN:
                self._check_chosen(section, value, where)

    def check_option(self, option: str, value: str | None) -> None:
        first, *rest = parts = [part for part in option.rstrip("+").split(".") if part != "init_args"]
        if first in _OPTIONS or first.partition("=")[0] in _OPTIONS:
            return
        if first not in self._sections:
            raise UserError(f"there is no setting --{option}{self._hint(option, self._all(), '--')}")
        known = self._plain.get(first)
        if known is not None:
            if rest and rest[0] not in (*known, "help"):
                raise UserError(f"there is no setting --{option}{self._hint(option, self._all(), '--')}")
        elif first in _CHOSEN:
            self._check_path(parts, value)

    def _hint(self, name: str, choices: Sequence[str], prefix: str = "") -> str:
        if name.count(".") < 2 and (elsewhere := by_another_name(name)) is not None:
            return f"; here it is {elsewhere}"
        return suggestion(name, choices, prefix, listed=not prefix)

    def _all(self) -> list[str]:
        """Keys of sections, one level below them, and of the classes that have been chosen."""
        below = [f"{section}.{name}" for section, known in self._plain.items() for name in known or ()]
        for section, base in _CHOSEN.items():
            for name in self._sources.descendants(base):
                below += [f"{section}.{each}" for each in self._sources.arguments(name) or ()]
        for path, name in self._chosen.items():
            if name is not None and not path.endswith("."):
                below += [f"{path}.{each}" for each in self._sources.arguments(name) or ()]
        return list(dict.fromkeys([*self._top, *_CHOSEN, *below, "help", "print_config"]))

    def _check_plain(self, section: str, known: Sequence[str], value: Mapping[Any, Any], where: str) -> None:
        for key, inner in value.items():
            if not isinstance(key, str) or "." in key:
                continue
            name = f"{section}.{key.rstrip('+')}"
            if key.rstrip("+") not in known:
                choices = [f"{section}.{each}" for each in known]
                raise UserError(f"there is no setting '{name}'{where}{self._hint(name, choices)}")
            for each in inner if isinstance(inner, list) else []:
                self._check_chosen(f"{name}.", each, where)  # nothing can be set of it later

    def _check_chosen(self, path: str, value: Any, where: str) -> None:
        """Of a class that may be chosen at ``path``."""
        if not isinstance(value, Mapping):
            self._choose(path, value)
            return
        if "class_path" in value:
            self._choose(path, value["class_path"])
        inner, name = value.get("init_args"), self._chosen.get(path)
        if not isinstance(inner, Mapping):
            return
        for key, each in inner.items():
            if not isinstance(key, str) or "." in key:
                continue
            plain = key.rstrip("+")
            self._check_argument(name, plain, where, deep=path.count("."))
            self._check_chosen(f"{path}.{plain}", each, where)

    def _check_path(self, parts: Sequence[str], value: str | None) -> None:
        path = parts[0]
        for part in parts[1:]:
            if part in _BETWEEN:
                break
            self._check_argument(self._chosen.get(path), part, "", deep=path.count("."))
            path = f"{path}.{part}"
        if parts[-1] in ("class_path", path.rpartition(".")[2]):
            self._choose(path, value)

    def _choose(self, path: str, value: Any) -> None:
        """Notes the class of this package that a value names, and that nothing is known where it names none."""
        package, _, name = value.rpartition(".") if isinstance(value, str) else ("", "", "")
        ours = name in self._sources and package.partition(".")[0] in ("", "iqlightning")
        for below in [each for each in self._chosen if each.startswith(f"{path}.")]:
            if self._chosen.get(path) != name:  # settings of another class may go with it
                self._chosen.pop(below)
        self._chosen[path] = name if ours else None

    def _check_argument(self, name: str | None, argument: str, where: str, *, deep: int) -> None:
        if name is None or self._trusting:
            return
        known = self._sources.arguments(name)
        if known is None or argument in (*known, *_BETWEEN):
            return
        if any(argument in (self._sources.arguments(each) or ()) for each in self._sources.descendants(name)):
            return  # a class of that kind has to be chosen first
        elsewhere = by_another_name(argument) if not deep else None
        hint = suggestion(argument, known, listed=True) if elsewhere is None else f"; here it is {elsewhere}"
        raise UserError(f"{name} has no setting '{argument}'{where}{hint}")
