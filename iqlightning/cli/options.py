"""Options of the commands that are not training, and how their mistakes are told."""

import argparse
import math
import re
from typing import Any, NoReturn

import torch

from iqlightning.cli.main import TRUST_HELP
from iqlightning.cli.plain_console import PlainConsole
from iqlightning.cli.trust import import_trusted, take_trusted
from iqlightning.errors import UserError, nearest
from iqlightning.files import STDOUT, check_output, mark_of

__all__ = [
    "Options",
    "above_zero",
    "below_one",
    "console_beside",
    "device_of",
    "natural",
    "positive",
]


class Options(argparse.ArgumentParser):
    """An argument parser that raises :class:`UserError` instead of printing its usage and leaving.

    Args:
        command: of the package.
        description: in its help.
        trusting: whether it takes ``--trust``, because it runs what files name.

    Attributes:
        trusted: the packages that were given so, once the arguments are parsed.
        mark: what the files bear that the command writes, by which it knows them again.
    """

    def __init__(self, command: str, description: str, *, trusting: bool = False) -> None:
        super().__init__(
            prog=f"iqlightning {command}",
            description=description,
            allow_abbrev=False,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        self.trusted: list[str] = []
        self.mark = mark_of(command)
        self._outputs: dict[str, str] = {}
        self._trusting = trusting
        if trusting:  # for the help; it is taken off before anything is parsed
            self.add_argument("--trust", metavar="PACKAGE", default=argparse.SUPPRESS, help=TRUST_HELP)

    def add_output(self, *names: str, what: str, **named: Any) -> None:
        """Adds an option that names a file to write.

        Whether it can be written is checked before any work begins. A file that the same command made is replaced,
        another one only with ``--force``, which is added with the first such option.
        """
        if not self._outputs:
            self.add_argument("--force", action="store_true", help="replace files, whoever made them")
        self._outputs[self.add_argument(*names, **named).dest] = what

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Like its base, but an option that does not exist is met with the nearest one that does."""
        if self._trusting:
            args, self.trusted = take_trusted(args)
        known, unknown = self.parse_known_args(args, namespace)
        if unknown:
            option = unknown[0].partition("=")[0]
            if not option.startswith("-"):
                raise UserError(f"unexpected argument '{option}'; {self.prog} --help lists what there is")
            options = [each for action in self._actions for each in action.option_strings if each.startswith("--")]
            near = nearest(option, options)
            hint = "." if near is None else f"; did you mean {near}?"
            raise UserError(f"{self.prog} has no option {option}{hint} Valid: {', '.join(options)}")
        for name, what in self._outputs.items():
            if (path := getattr(known, name)) is not None:
                check_output(path, what, force=known.force, mark=self.mark)
        if self._trusting:
            import_trusted(self.trusted)
        return known

    def error(self, message: str) -> NoReturn:
        """One sentence."""
        if match := re.match(r"the following arguments are required: (.*)", message):
            raise UserError(f"{self.prog} needs {match[1]}")
        if match := re.match(r"argument ([^:]+): expected .*argument", message):
            raise UserError(f"{match[1].split('/')[-1]} needs a value after it")
        if match := re.match(r"argument ([^:]+): (.*)", message, re.DOTALL):
            raise UserError(f"{match[1].split('/')[-1]}: {match[2]}")
        raise UserError(message)


def console_beside(*outputs: str | None) -> PlainConsole:
    """Where a command says what it has to say: standard error if one of its files goes to standard output."""
    return PlainConsole(stderr=any(output == STDOUT for output in outputs))


def positive(text: str) -> int:
    """A whole number from 1."""
    return _whole(text, 1)


def natural(text: str) -> int:
    """A whole number from 0."""
    return _whole(text, 0)


def _whole(text: str, lowest: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = lowest - 1
    if number < lowest:
        raise argparse.ArgumentTypeError(f"must be a whole number from {lowest}, not '{text}'")
    if number >= 1 << 63:
        raise argparse.ArgumentTypeError(f"must be a whole number below 2^63, not '{text:.80}'")
    return number


def above_zero(text: str) -> float:
    """A number above 0."""
    number = _number(text)
    if not 0.0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, not '{text}'")
    return number


def below_one(text: str) -> float:
    """A number from 0 on and below 1."""
    number = _number(text)
    if not 0.0 <= number < 1.0:
        raise argparse.ArgumentTypeError(f"must be a number from 0 on and below 1, not '{text}'")
    return number


def _number(text: str) -> float:
    """NaN, which no range holds, where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def device_of(name: str) -> torch.device:
    """The device called so; ``auto`` is the first GPU if there is one.

    Raises:
        UserError: if there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
        raise UserError(f"there is no device '{name}'; valid: {', '.join(['auto', 'cpu', *gpus])}") from error
    return device
