"""Turns what jsonargparse and OmegaConf say about a wrong setting into one plain sentence.

Their messages are nested: the key, the class it belongs to, every alternative of a union, and somewhere among them what
is wrong. :func:`explain` reads the path to the innermost problem and looks up what would have been valid.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from jsonargparse import ArgumentParser
from omegaconf.errors import OmegaConfBaseException

from iqlightning.cli.config_files import keys_given, where_is
from iqlightning.cli.signatures import classes_for, imported, names_of_arguments, types_of_arguments
from iqlightning.cli.suggestions import listing, suggestion
from iqlightning.errors import UserError, unknown
from iqlightning.registration import may_be_own

__all__ = [
    "explain",
    "explain_interpolation",
    "first_sentence",
    "missing_monitor",
    "missing_package",
    "user_error_behind",
]

_KEY = re.compile(r'Parser key "([^"]+)"')
_CLASS = re.compile(r"Problem with given class_path '([^']+)'")
# the class comes first or, where a later file sets something of it, last
_CLASS_OF_FACTORY = re.compile(
    r"is not accepted\. Got value: Namespace\((?:class_path='(?P<first>[^']+)'|[^\n]*class_path='(?P<last>[^']+)'\))"
)
_PROBLEMS = re.compile(
    r"Option '(?P<option>[^']+)' is not accepted"
    r"|Group '(?P<group>[^']+)' does not accept option '(?P<group_option>[^']+)'"
    r"|Importing '(?P<denied>[^']+)' is not allowed"
    r"|Expected a dot import path string:? ?(?P<name>[^\n]*)"
    r"|Import path(?P<unrelated> \S+)? does not correspond to a subclass"
    r"|Expected '(?P<not_subclass>[^']+)' to be a subclass of"
    r"|(?P<no_module>No module named '[^']+'|module '[^']+' has no attribute '[^']+')"
    r"|Not a valid (?P<no_class>subclass)"
    r"|Expected an instantiatable (?P<abstract>class)"
    r"|Expected a (?!path\b)(?P<expected>[^\n]+)"
)
_GIVEN = re.compile(r"(?:Got value: |Given value: (?:NestedArg\(key='[^']*', val=)?)(?P<value>[^\n]*)")

_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "NoneType": "null",
    "list": "a list",
    "dict": "keys and values",
    "tuple": "a list",
    "Sequence": "a list",
    "Iterable": "a list",
}


def explain(
    message: str, parser: ArgumentParser, configs: Sequence[str] = (), arguments: Sequence[str] = ()
) -> UserError:
    """The sentence for a message with which a parser refused its input.

    Args:
        message: from jsonargparse.
        parser: the parser that refused.
        configs: the configuration files that were read, to say which of them holds the culprit.
        arguments: the command line; what it sets is not looked for in files.
    """
    given = keys_given(arguments)
    files = _Files(configs, given)
    if match := re.search(r"unrecognized arguments: (.*)", message):
        return _unrecognized(match[1], parser, given)
    if match := re.search(r"the following arguments are required: (.*)", message):
        missing = match[1].split(", ")
        if owner := ".".join(_keys(message[: match.start()])):
            return UserError(f"{owner}{files.holding(owner)} needs a value for {' and '.join(missing)}")
        return UserError(
            f"there is no {' and no '.join(missing)}: name a configuration, for example --config configs/cnn_iq.yaml"
        )
    if match := re.search(r"argument (\S+): expected (one argument|at least one argument)", message):
        return UserError(f"{_without_value(arguments, match[1].split('/')[-1])} needs a value after it")
    problem = _PROBLEMS.search(message)
    if problem is None:
        return UserError(_last_line(message))
    before = message[: problem.start()]
    key = ".".join(_keys(before))
    owners = _CLASS.findall(before)
    if problem["option"] or problem["group"]:
        return _unknown_key(message, problem, key, owners, parser, files)
    # the class that a key belongs to stands before it, the class that it names after it
    owners = _CLASS.findall(before[: before.rfind("Parser key")])
    inner = _inside_nothing(message, key) if problem["expected"] or problem["abstract"] else None
    if inner is None and not problem["expected"]:
        inner = files.given_inside(key)
    if inner is not None:
        choices = classes_for(_annotation(parser, key, owners))
        return UserError(f"--{inner} needs a class first: choose it with --{key} NAME; valid: {listing(choices)}")
    if problem["expected"]:
        choices = classes_for(_annotation(parser, key, owners))
        return _wrong_value(message, problem, key, files, choices)
    return _unknown_class(message, problem, key, owners, parser, files)


def explain_interpolation(error: OmegaConfBaseException) -> UserError:
    """The sentence for a ``${...}`` that cannot be resolved."""
    text = str(error).splitlines()[0]
    key = error.full_key or "a setting"
    if match := re.search(r"Interpolation key '\.*([^']+)' not found", text):
        return UserError(f"{key} refers to ${{{match[1]}}}, which is not set")
    return UserError(f"{key} cannot be resolved: {text}")


class _Files:
    """Says which configuration file sets a key, unless the command line does."""

    def __init__(self, configs: Sequence[str], given: Iterable[str]) -> None:
        self._configs = configs
        self._given = set(given)

    def holding(self, key: str) -> str:
        """The end of a phrase, or nothing."""
        file = where_is(key, self._configs) if key and key not in self._given else None
        return f" (in {file})" if file else ""

    def given_inside(self, key: str) -> str | None:
        """A setting inside ``key`` that the command line gives although nothing says which class ``key`` is."""
        if key in self._given or self.holding(key):
            return None
        return next((each for each in sorted(self._given) if each.startswith(f"{key}.")), None)


def user_error_behind(error: BaseException | None) -> UserError | None:
    """The :class:`UserError` among the causes of an exception: building a class inside a union hides it there."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, UserError):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def missing_monitor(trainer: Any, error: RuntimeError) -> UserError | None:
    """The sentence for a callback that shall stop by a figure which is not logged; None if the error is another."""
    logged = trainer.callback_metrics
    for callback in trainer.early_stopping_callbacks:
        if callback.monitor not in logged and callback.monitor in str(error):
            return unknown("logged figure to stop by (EarlyStopping.monitor) called", callback.monitor, sorted(logged))
    return None


def missing_package(error: BaseException | None) -> UserError | None:
    """The sentence for a class that needs a package which is not installed; None if the error is another."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, ModuleNotFoundError):
            return UserError(f"a class that the configuration names needs another package: {first_sentence(error)}")
        error = error.__cause__ or error.__context__
    return None


def first_sentence(error: Exception) -> str:
    """The first sentence of a message, which may stop at a full stop inside backquotes."""
    text = " ".join(str(error).split())
    end = text.find(". ")
    return text[:end] if end > 0 and text[:end].count("`") % 2 == 0 else text


def _without_value(arguments: Sequence[str], option: str) -> str:
    """The argument without a value: messages name the option of the class that its key is inside of."""
    followed = zip(arguments, [*arguments[1:], "--"], strict=True)
    forgotten = (each for each, after in followed if each.startswith(f"{option}.") and after.startswith("--"))
    return next((each for each in forgotten if "=" not in each), option)


def _unrecognized(arguments: str, parser: ArgumentParser, given: Iterable[str]) -> UserError:
    words = arguments.split()
    option = next((word for word in words if word.startswith("-")), None)
    if option is None:
        return UserError(f"unexpected argument '{words[0]}': settings are given as --name value")
    name = option.lstrip("-").partition("=")[0]
    # what was given inside a class is named without what it is inside of
    name = next((each for each in given if each.endswith(f".{name}")), name)
    if re.match(r"trainer\.callbacks\.[^.]+\.", name):
        return UserError(f"there is no setting --{name}: callbacks are set in a configuration")
    return UserError(f"there is no setting --{name}{suggestion(name, _all_keys(parser), '--')}")


def _unknown_key(
    message: str,
    problem: re.Match[str],
    key: str,
    owners: list[str],
    parser: ArgumentParser,
    files: "_Files",
) -> UserError:
    option = problem["option"] or problem["group_option"]
    prefix = problem["group"] or key
    full = f"{prefix}.{option}" if prefix else option
    if factory := _CLASS_OF_FACTORY.search(message):
        owners = [*owners, factory["first"] or factory["last"]]
    cls = imported(owners[-1]) if owners else None
    if cls is not None:
        choices = names_of_arguments(cls)
        offered = classes_for(_annotation(parser, prefix, owners[:-1]))
        if (
            option not in choices
            and cls in offered.values()
            and any(issubclass(each, cls) and option in names_of_arguments(each) for each in offered.values())
        ):
            named = listing(name for name, each in offered.items() if each is not cls)
            return UserError(f"--{full} needs a class first: choose it with --{prefix} NAME; valid: {named}")
        section, dot, _ = option.partition(".")
        named = section if dot else option
        of = f"{cls.__name__} has no setting '{named}'"
        # what is inside a misspelt init_args is refused by the class
        hint = suggestion(named, [*choices, "init_args"] if dot else choices, listed=True)
    else:
        choices = [name for name in _all_keys(parser) if not prefix or name.startswith(f"{prefix}.")]
        # a section that is misspelt is refused at the first key inside it
        section = full.partition(".")[0]
        sections = sorted({name.partition(".")[0] for name in choices if not name.startswith(("help", "print_"))})
        if not prefix and section not in sections:
            of, hint = f"there is no setting '{section}'", suggestion(section, sections, listed=True)
            full = section
        else:
            of, hint = f"there is no setting '{full}'", suggestion(full, choices)
    return UserError(of + files.holding(full) + hint)


def _unknown_class(
    message: str,
    problem: re.Match[str],
    key: str,
    owners: list[str],
    parser: ArgumentParser,
    files: "_Files",
) -> UserError:
    choices = classes_for(_annotation(parser, key, owners))
    where = files.holding(key)
    if problem["denied"]:
        name = problem["denied"]
        if "." in name and name not in _own_aliases():
            package = name.partition(".")[0]
            valid = f": valid are {listing(choices)}" if choices else ""
            if may_be_own(package):
                valid += (
                    f"{', or' if valid else ': it may name'} a class of a package of your own that you trust, with "
                )
                valid += f"--trust {package}"
            return UserError(f"{key} names '{name}'{where}, which a configuration may not{valid}")
    name = (problem["name"] or problem["unrelated"] or problem["not_subclass"] or "").strip() or _given(
        message, problem
    )
    if problem["no_class"]:
        return UserError(f"{key}{where} has an entry without a class_path; valid: {listing(choices)}")
    if name is None or len(name) > 80:
        return UserError(f"{key}{where} does not name a class that fits; valid: {listing(choices)}")
    short = name.rpartition(".")[2]
    if not key and not choices:  # of help, which does not say whose
        return UserError(
            f"there is no help on '{short}' there: --model.help names an algorithm, and after --model NAME the help of "
            "a part one of its classes, as in --model IQLearn --model.agent.help SoftActorCritic"
        )
    return UserError(
        f"{key} names '{name}'{where}, but there is no such class that fits{suggestion(short, choices, listed=True)}"
    )


def _wrong_value(message: str, problem: re.Match[str], key: str, files: "_Files", choices: Iterable[str]) -> UserError:
    expected = _alternatives(message, problem)
    if expected == ["null"] and choices:  # a class is expected as well, and what was given names none
        return UserError(f"{key}{files.holding(key)} does not name a class; valid: {listing(choices)}")
    value = _given(message, problem)
    given = f", not {value!r}" if value is not None and len(value) <= 80 else ""
    return UserError(f"{key or 'a setting'}{files.holding(key)} must be {' or '.join(expected)}{given}")


def _alternatives(message: str, problem: re.Match[str]) -> list[str]:
    """What would be valid: the problem's own line, and where it is one of a list, the lines of that list."""
    start = message.rfind("\n", 0, problem.start()) + 1
    first, *rest = message[start:].splitlines()
    lines = [first]
    if first.lstrip().startswith("- "):
        bullet = first[: first.index("- ") + 2] + "Expected a "
        lines += [line for line in rest if line.startswith(bullet)]
    alternatives = [_described(line.partition("Expected a ")[2].partition(". Got value")[0]) for line in lines]
    return [words for words in dict.fromkeys(alternatives) if not words.startswith("dot import")]


def _inside_nothing(message: str, key: str) -> str | None:
    """The full key of a setting inside something that has no class yet."""
    keys = re.findall(r"NestedArg\(key='([^']+)'", message)
    if not keys:
        return None
    inner = f"{key.partition('.')[0]}.{keys[-1]}"
    return inner if inner.startswith(f"{key}.") else None


def _given(message: str, problem: re.Match[str]) -> str | None:
    match = _GIVEN.search(message, problem.start())
    if match is None:
        return None
    value = (
        match["value"].rstrip(")").strip("'\"") if "NestedArg" in match[0] else match["value"].rstrip(".").strip("'\"")
    )
    return "null" if value == "None" else value


def _described(expected: str) -> str:
    expected = expected.strip().rstrip(".:")
    if match := re.fullmatch(r"<class '(?:[\w.]*\.)?(\w+)'>", expected):
        return _WORDS.get(match[1], match[1])
    if match := re.fullmatch(r"typing\.Literal\[(.*)\]", expected):
        return match[1].replace("'", "").replace(", ", " or ")
    if match := re.fullmatch(r"typing\.(?:List|Sequence|Iterable)\b.*|list\[.*", expected):
        return "a list"
    return expected


def _all_keys(parser: ArgumentParser) -> list[str]:
    """Every key that the command line can set, the settings of all known classes included."""
    keys = []
    for action in parser._actions:  # jsonargparse has no public way to list its arguments
        if not action.option_strings or action.dest in ("help", "==SUPPRESS=="):
            keys += [each.lstrip("-") for each in action.option_strings if each in ("--help", "--print_config")]
            continue
        keys += [each.lstrip("-") for each in action.option_strings if each.startswith("--") and ".help" not in each]
        for cls in () if action.dest.endswith(".help") else classes_for(getattr(action, "_typehint", None)).values():
            keys += [f"{action.dest}.{name}" for name in names_of_arguments(cls)]
    return list(dict.fromkeys(keys))


def _annotation(parser: ArgumentParser, key: str, owners: Sequence[str]) -> Any:
    """The type expected at a key: of the innermost class that could be named, else of the parser's argument."""
    if owners and (cls := imported(owners[-1])) is not None:
        leaf = key.rpartition(".")[2]
        if leaf in (hints := types_of_arguments(cls)):
            return hints[leaf]
    for action in parser._actions:
        if action.dest == key:
            return getattr(action, "_typehint", None)
    return None


def _own_aliases() -> set[str]:
    """Names under which a base class itself is denied: nobody wrote them, so they are no culprits."""
    return {"lightning.Callback", "lightning.LightningModule", "lightning.LightningDataModule"}


def _keys(text: str) -> list[str]:
    return [key for key in _KEY.findall(text) if key != "config"]


def _last_line(message: str) -> str:
    """What to say of a message that is not known: its innermost line."""
    lines = [line.strip(" -") for line in message.splitlines() if line.strip(" -")]
    lines = [line for line in lines if not line.startswith(("Given value", "Subtypes", "Errors", "Does not validate"))]
    keys = _keys(message)
    last = _KEY.sub("", lines[-1]).strip(" :") if lines else message
    return f"{'.'.join(keys)}: {last}" if keys else last
