"""Typing errors do not pass: in keys, class names, values and environment variables, each met with what was meant."""

import json
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import yaml
from counts import slow

from iqlightning.cli.main import ENVIRONMENT_VARIABLES

KEYS, CLASSES, VALUES, VARIABLES = 110, 40, 40, 10

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


def given(path: tuple[str, ...], value: Any, meant: str, *, in_a_file: bool) -> Typo:
    if in_a_file:
        return Typo([], nested(path, value), meant)
    option = ".".join(key for key in path if key != "init_args")
    return Typo([f"--{option}={value if isinstance(value, str) else json.dumps(value)}"], None, meant)


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
        in_a_file = bool(len(made) % 2) or isinstance(value, (dict, list)) or value is None
        made.append(given(path, 1 if value is None else value, meant, in_a_file=in_a_file))
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
        in_a_file = bool(len(made) % 2)
        made.append(given((*path, "class_path") if in_a_file else path, wrong, short, in_a_file=in_a_file))
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
        if meant != "true or false" and leaf in ("devices", "check_val_every_n_epoch", "overfit_batches"):
            continue
        made.append(given(path, wrong, leaf, in_a_file=bool(len(made) % 2)))
    return made


@pytest.fixture
def recorded(workplace) -> dict[str, Any]:
    """Every setting there is, as a run records them."""
    workplace.write("rich.yaml", RICH)
    return yaml.safe_load((workplace.fit(config="rich.yaml") / "config.yaml").read_text())


def refused(workplace, typo: Typo) -> str:
    files = ["--config", "rich.yaml"]
    if typo.file is not None:
        workplace.write("typo.yaml", typo.file)
        files += ["--config", "typo.yaml"]
    try:
        return workplace.refused("fit", *files, *typo.arguments)
    except AssertionError as error:
        raise AssertionError(f"{typo} is not refused") from error


@pytest.mark.parametrize("every", [8, *slow(1)])
def test_typing_errors_are_met_with_what_was_meant(workplace, recorded, every):
    assert KEYS + CLASSES + VALUES + VARIABLES == 200
    before = set(workplace.folder.glob("logs/*/*"))
    suggested = 0
    typos = [*keys(recorded), *classes(recorded), *values(recorded)][::every]
    for typo in typos:
        sentence = refused(workplace, typo)
        assert typo.meant in sentence, (typo, sentence)
        suggested += f"did you mean {typo.meant}?" in sentence or f".{typo.meant}?" in sentence or "must be" in sentence
    assert suggested >= 0.95 * len(typos)
    assert set(workplace.folder.glob("logs/*/*")) == before


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
