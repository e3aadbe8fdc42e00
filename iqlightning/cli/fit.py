"""``fit``, ``validate``, ``test`` and ``predict``: help and mistakes before Lightning is imported, then the run."""

from collections.abc import Sequence

from iqlightning.cli.config_files import find_configs
from iqlightning.cli.early_checks import refuse_unknown_keys
from iqlightning.cli.linked_settings import refuse_following
from iqlightning.cli.training_help import training_help
from iqlightning.cli.trust import take_trusted

__all__ = ["run"]


def run(arguments: Sequence[str], command: str) -> None:
    """Says at once what can be said at once; the rest takes seconds to import.

    Raises:
        UserError: for anything that a user can mend.
    """
    wanted = next((place for place, word in enumerate(arguments) if word in ("-h", "--help")), None)
    if wanted is None:
        _refuse_mistakes(arguments, command)
    elif arguments[wanted + 1 : wanted + 2] == ["all"]:
        arguments = ["--help"]
    else:
        print(training_help(command))
        return
    from iqlightning.cli.training import run as train

    train(arguments, command)


def _refuse_mistakes(arguments: Sequence[str], command: str) -> None:
    rest, trusted = take_trusted(arguments)
    configs, rest = find_configs(rest)
    refuse_following(rest, configs)
    refuse_unknown_keys(rest, configs, command, trusting=bool(trusted))
