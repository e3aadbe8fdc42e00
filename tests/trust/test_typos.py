"""Typing errors do not pass: in keys, class names, values and environment variables, each met with what was meant."""

import json
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import yaml

from iqlightning.cli.main import ENVIRONMENT_VARIABLES

KEYS, CLASSES, VALUES, VARIABLES = 110, 40, 40, 10
EVERY = 8

RICH = """
    model:
      class_path: IQLearn
      init_args:
        encoder: {class_path: GridCNN}
        head: {class_path: DuelingHead}
        divergence: {class_path: Chi2}
        value_term: {class_path: ExpertAndPolicyStates}
        value: {class_path: SoftValue}
        target: {class_path: TargetUpdate}
        schedule: {class_path: Cosine}
        optimizer: {class_path: Adam}
    data:
      class_path: ImitationData
      init_args:
        env: {class_path: GridWorldConfig, init_args: {height: 4, width: 4, num_walls: 2}}
        episodes: 40
        online: {num_envs: 4}
    trainer:
      accelerator: cpu
      max_steps: 3
      callbacks:
        - {class_path: PolicyEvaluation}
"""


class Typo(NamedTuple):
    """What is given, on the command line or in a file, and what has to be in the sentence."""

    arguments: list[str]
    file: str | None
    meant: str


def misspelt(word: str, numbers: random.Random) -> str:
    """A letter lost, doubled, changed, or two exchanged."""
    at = numbers.randrange(1, len(word))
    kind = numbers.randrange(4)
    if kind == 0:
        return word[:at] + word[at + 1 :]
    if kind == 1:
        return word[:at] + word[at - 1] + word[at:]
    if kind == 2:
        return word[:at] + numbers.choice("aeiostn") + word[at + 1 :]
    return word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :]


def settings_of(value: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Path of keys, ``init_args`` included, and value of each setting and section; not inside lists."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*keys, key), inner
            yield from settings_of(inner, (*keys, key))


def nested(keys: tuple[str, ...], value: Any) -> str:
    for key in reversed(keys):
        value = {key: value}
    return json.dumps(value)


def option(keys: tuple[str, ...], value: Any) -> list[str]:
    path = ".".join(key for key in keys if key != "init_args")
    return [f"--{path}={value if isinstance(value, str) else json.dumps(value)}"]


def known(settings: dict[str, Any]) -> list[tuple[tuple[str, ...], Any]]:
    """The settings that can be misspelt: those with a value, and not the class paths."""
    found = list(settings_of(settings))
    hidden = ("class_path", "init_args", "callbacks", "gradient_clip_val", "gradient_clip_algorithm")
    return [(keys, value) for keys, value in found if keys[-1] not in hidden and len(keys[-1]) > 3]


def keys(settings: dict[str, Any]) -> list[Typo]:
    numbers, made = random.Random(0), []
    choices, names = known(settings), {keys[-1] for keys, _ in settings_of(settings)}
    while len(made) < KEYS:
        path, value = choices[numbers.randrange(len(choices))]
        wrong = misspelt(path[-1], numbers)
        if wrong in names:
            continue
        path, meant = (*path[:-1], wrong), path[-1]
        if len(made) % 2 or isinstance(value, (dict, list)) or value is None:
            made.append(Typo([], nested(path, value if value is not None else 1), meant))
        else:
            made.append(Typo(option(path, value), None, meant))
    return made


def classes(settings: dict[str, Any]) -> list[Typo]:
    numbers, made = random.Random(1), []
    found = [(path[:-1], value) for path, value in settings_of(settings) if path[-1] == "class_path"]
    while len(made) < CLASSES:
        path, name = found[numbers.randrange(len(found))]
        short = name.rpartition(".")[2]
        wrong = misspelt(short, numbers)
        if wrong == short:
            continue
        if len(made) % 2:
            made.append(Typo([], nested((*path, "class_path"), wrong), short))
        else:
            made.append(Typo(option(path, wrong), None, short))
    return made


def values(settings: dict[str, Any]) -> list[Typo]:
    """A text where a number or a truth is expected, a fraction where a whole number is."""
    numbers, made = random.Random(2), []
    found = [(path, value) for path, value in known(settings) if isinstance(value, (bool, int, float))]
    while len(made) < VALUES:
        path, value = found[numbers.randrange(len(found))]
        leaf = path[-1]
        if isinstance(value, bool):
            wrong, meant = misspelt(str(value).lower() * 2, numbers), "true or false"
        elif isinstance(value, int) and numbers.random() < 0.3:
            wrong, meant = f"{value + 1}.5", "whole number"
        else:
            wrong, meant = f"{value}x", "number"
        if meant != "true or false" and leaf in (
            "devices",
            "check_val_every_n_epoch",
            "overfit_batches",
            "sync_batchnorm",
        ):
            continue
        if len(made) % 2:
            made.append(Typo([], nested(path, wrong), leaf))
        else:
            made.append(Typo(option(path, wrong), None, leaf))
    return made


@pytest.fixture
def recorded(workplace) -> dict[str, Any]:
    """Every setting there is, as a run records them."""
    workplace.write("rich.yaml", RICH)
    settings = yaml.safe_load((workplace.fit(config="rich.yaml") / "config.yaml").read_text())
    # what follows another setting, and what has one value only, cannot be misspelt in a way of its own
    return settings


def refused(workplace, typo: Typo) -> str:
    files = ["--config", "rich.yaml"]
    if typo.file is not None:
        workplace.write("typo.yaml", typo.file)
        files += ["--config", "typo.yaml"]
    try:
        return workplace.refused("fit", *files, *typo.arguments)
    except AssertionError as error:
        raise AssertionError(f"{typo} is not refused") from error


def check(workplace, recorded: dict[str, Any], every: int) -> None:
    before = set(workplace.folder.glob("logs/*/*"))
    suggested = 0
    given = [*keys(recorded), *classes(recorded), *values(recorded)][::every]
    for typo in given:
        sentence = refused(workplace, typo)
        assert typo.meant in sentence, (typo, sentence)
        suggested += f"did you mean {typo.meant}?" in sentence or f".{typo.meant}?" in sentence or "must be" in sentence
    assert suggested >= 0.95 * len(given)
    assert set(workplace.folder.glob("logs/*/*")) == before


def test_typing_errors_are_met_with_what_was_meant(workplace, recorded):
    check(workplace, recorded, EVERY)


@pytest.mark.slow
def test_many_typing_errors_are_met_with_what_was_meant(workplace, recorded):
    assert KEYS + CLASSES + VALUES + VARIABLES == 200
    check(workplace, recorded, 1)


@pytest.mark.parametrize("number", range(VARIABLES))
def test_a_misspelt_environment_variable_is_refused(workplace, monkeypatch, number):
    name = sorted(ENVIRONMENT_VARIABLES)[number % len(ENVIRONMENT_VARIABLES)]
    start = len("IQLIGHTNING_")
    numbers = random.Random(number)
    while (wrong := name[:start] + misspelt(name[start:], numbers).upper()) in ENVIRONMENT_VARIABLES:
        pass
    monkeypatch.setenv(wrong, "1")
    for command in (["fit", "--config", "tiny.yaml"], ["evaluate", "x.ckpt"], ["report"]):
        sentence = workplace.refused(*command)
        assert f"no environment variable '{wrong}'; did you mean '{name}'?" in sentence
