"""Configuration files: which are read, in which order, whether each can be read, and what a run is called after.

Every run reads ``base.yaml`` first. A file whose key ``base`` names another, such as ``base: gridworld.yaml``, is read
after that one, which lies beside it or comes with the package.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import iqlightning
from iqlightning.cli.home import expanded_home
from iqlightning.documents import read_yaml
from iqlightning.errors import UserError, nearest
from iqlightning.files import path_of

__all__ = [
    "base_config",
    "config_folder",
    "find_configs",
    "keys_given",
    "read_config",
    "run_name",
    "shipped_config",
    "where_is",
    "with_bases",
]


def config_folder() -> Path:
    """The folder of the configurations that come with the package: in the package, or beside it in a source tree.

    Raises:
        UserError: if neither has a ``base.yaml``.
    """
    package = Path(iqlightning.__file__).parent
    places = (package / "configs", package.parent / "configs")
    for place in places:
        if (place / "base.yaml").is_file():
            return place
    raise UserError(
        f"the settings that all runs share are missing: neither '{places[0] / 'base.yaml'}' nor "
        f"'{places[1] / 'base.yaml'}' exists; install iqlightning again"
    )


def base_config() -> Path:
    """The file that every run reads first."""
    return config_folder() / "base.yaml"


def find_configs(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Finds each value of ``--config`` (or ``-c``) with :func:`shipped_config`, and what it is based on.

    Returns:
        All files in the order in which they are read, without ``base.yaml``, and the arguments that name them so.

    Raises:
        UserError: if a name is missing, or a file or one that it is based on cannot be read.
    """
    paths: list[str] = []
    expanded: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if name == "--base":
            raise UserError("base is a key of configuration files; on the command line name that file with --config")
        if name not in ("--config", "-c"):
            expanded.append(argument)
            continue
        given = value if equals else next(rest, None)
        if given is None:
            raise UserError("--config needs the name of a file after it")
        for path in with_bases([shipped_config(given)], read=paths)[1:]:
            paths.append(path)
            expanded += [name, path]
    return paths, expanded


def with_bases(paths: Sequence[str | Path], read: Sequence[str] = ()) -> list[str]:
    """The files in the order in which a run reads them: ``base.yaml``, and each after the one that it is based on.

    Args:
        paths: the files that are named.
        read: files that are read before them; they need not be read again as the base of another.

    Raises:
        UserError: if one cannot be read, or is based on itself.
    """
    order = [str(base_config())]
    for path in paths:
        chain = [str(path)]
        while (base := _base_of(Path(chain[0]))) is not None:
            if any(Path(base).samefile(each) for each in chain):
                raise UserError(f"the configuration '{path}' is based on itself: {' -> '.join([base, *chain])}")
            chain.insert(0, base)
        order += [each for each in chain[:-1] if each not in order and each not in read] + chain[-1:]
    return order


def _base_of(path: Path) -> str | None:
    """The file that another one is based on; None where that is ``base.yaml``, which is read in any case."""
    named = read_config(path).get("base")
    if named is None:
        return None
    if not isinstance(named, str):
        raise UserError(f"base names one configuration file, but is {named!r:.80} in '{path}'")
    for place in (path.parent / expanded_home(named), config_folder() / named):
        if place.is_file():
            return None if place.samefile(base_config()) else str(place)
    raise UserError(
        f"'{path}' is based on '{named}', which is neither in its own folder nor among the configurations of the "
        f"package: {', '.join(sorted(file.name for file in config_folder().glob('*.yaml')))}"
    )


def shipped_config(path: str) -> str:
    """The path itself; where there is no such file but ``configs/NAME`` comes with the package, that one.

    So ``configs/cnn_iq.yaml`` means the same in any folder.
    """
    given = path_of(path)
    if given.parts[:-1] != ("configs",) or given.exists():
        return str(given)
    shipped = config_folder() / given.name
    return str(shipped) if shipped.is_file() else path


def keys_given(arguments: Sequence[str]) -> set[str]:
    """The dotted keys that command line arguments set, without ``init_args``."""
    options = (argument.partition("=")[0] for argument in arguments if argument.startswith("--"))
    return {option.removeprefix("--").rstrip("+").replace(".init_args.", ".") for option in options}


def read_config(path: str | Path) -> dict[str, Any]:
    """A configuration file as it is written, neither resolved nor checked against anything.

    Raises:
        UserError: if it is missing, not YAML, or not a mapping of keys to values.
    """
    path = path_of(path)
    try:
        content = read_yaml(path, "configuration")
    except FileNotFoundError:
        raise _missing(path) from None
    except OSError as error:
        raise UserError(f"cannot read the configuration '{path}': {error.strerror or error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"the configuration '{path}' holds a {type(content).__name__}; it must hold keys and values")
    return content


def run_name(paths: Sequence[str | Path]) -> str:
    """What a run is called: the stem of its last configuration file.

    The ``config.yaml`` that a run recorded stands for that run: ``logs/cnn_iq/version_3/config.yaml`` gives ``cnn_iq``.
    """
    if not paths:
        return "run"
    last = Path(paths[-1])
    folder = last.resolve().parent
    recorded = last.name == "config.yaml" and folder.name.startswith("version_")
    return folder.parent.name if recorded else last.stem


def where_is(key: str, paths: Sequence[str | Path]) -> Path | None:
    """The last of the files that sets a dotted key; the key has no ``init_args``, as on the command line."""
    for path in reversed(list(paths)):
        value: Any = read_config(path)
        for part in key.split("."):
            value = _step(value, part)
            if value is _NOWHERE:
                break
        else:
            return Path(path)
    return None


_NOWHERE = object()


def _step(value: Any, part: str) -> Any:
    if isinstance(value, list):
        return next((inner for item in value if (inner := _step(item, part)) is not _NOWHERE), _NOWHERE)
    if not isinstance(value, dict):
        return _NOWHERE
    if part in value:
        return value[part]
    return _step(value["init_args"], part) if "init_args" in value else _NOWHERE


def _missing(path: Path) -> UserError:
    try:
        known = sorted(file for folder in (path.parent, config_folder()) for file in folder.glob("*.yaml"))
    except OSError:
        known = []
    names = sorted({file.name for file in known})
    near = nearest(path.name, names)
    if near is not None:
        return UserError(f"there is no configuration '{path}'; did you mean '{path.with_name(near)}'?")
    listed = f"; there are {', '.join(names)}" if names else ""
    return UserError(f"there is no configuration '{path}'{listed}")
