"""YAML and JSON from elsewhere, read up to a size that is said: a few lines can stand for billions of values."""

import json
from pathlib import Path
from typing import Any

import yaml

from iqlightning.errors import UserError
from iqlightning.files import read_text, size_in_words

__all__ = ["LARGEST_YAML", "read_json", "read_yaml", "require_small_yaml"]

#: Bytes of a YAML file; those of this package have some thousand.
LARGEST_YAML = 256 << 10

#: Values and levels of a YAML file once its references are followed.
_MOST_VALUES, _DEEPEST = 100_000, 50


def read_yaml(path: str | Path, what: str) -> Any:
    """The content of a YAML file, of plain values only.

    Args:
        path: the file.
        what: kind of file, for the sentence.

    Raises:
        UserError: if it is too large, no YAML, or no text.
        OSError: if it cannot be read.
    """
    try:
        text = read_text(path, LARGEST_YAML)
        require_small_yaml(text, f"the {what} '{path}'")
        return yaml.safe_load(text)
    except UnicodeDecodeError:
        raise UserError(f"the {what} '{path}' is not a text file") from None
    except yaml.YAMLError as error:
        raise UserError(f"the {what} '{path}' is not valid YAML: {_yaml_problem(error)}") from error
    except RecursionError:
        raise UserError(f"the {what} '{path}' is nested too deeply, or refers to itself") from None
    except (ValueError, OverflowError, TypeError) as error:  # a number, a date or a key that cannot be
        raise UserError(f"the {what} '{path}' is not valid YAML: {str(error).split(';')[0]}") from error


def require_small_yaml(text: str, where: str) -> None:
    """Counts what a text stands for once its references are followed, before anything follows them.

    Args:
        text: YAML.
        where: it stands, for the sentence.

    Raises:
        UserError: if it is too much.
        RecursionError: if it is nested too deeply, or a value is inside itself.
        yaml.YAMLError: if it is none.
    """
    if len(text) > LARGEST_YAML:
        raise UserError(f"{where} is larger than {size_in_words(LARGEST_YAML)}, the most that is read of such a file")
    sizes: dict[int, int] = {}

    def size_of(node: yaml.Node, depth: int) -> int:
        if depth > _DEEPEST:
            raise RecursionError
        if id(node) not in sizes:
            children = node.value if isinstance(node, yaml.CollectionNode) else []
            parts = [part for child in children for part in (child if isinstance(child, tuple) else (child,))]
            sizes[id(node)] = 1 + sum(size_of(part, depth + 1) for part in parts)
        return sizes[id(node)]

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is not None and size_of(root, 0) > _MOST_VALUES:
        raise UserError(f"{where} stands for more than {_MOST_VALUES:,} values")


def read_json(path: str | Path, largest: int) -> Any:
    """The content of a JSON file of at most ``largest`` bytes.

    Raises:
        UserError: if it is larger, or no JSON.
        OSError: if it cannot be read.
    """
    try:
        return json.loads(read_text(path, largest))
    except (ValueError, RecursionError) as error:
        raise UserError(f"'{path}' is not valid JSON: {str(error).split(';')[0]}") from error


def _yaml_problem(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())
