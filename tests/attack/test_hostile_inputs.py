"""300 hostile inputs over all readers and commands: each ends well or in a sentence, soon, and changes nothing else."""

import hashlib
import os
import resource
import tempfile
from functools import partial
from pathlib import Path

import pytest
from counts import slow_count
from forked_commands import Commands
from hostile import EACH, FAMILIES, Attack, Good, attacks, put
from small_runs import TINY

#: Of the processor; on a machine that does much else a command takes longer.
SECONDS = 20


def in_own_folders(home: str) -> None:
    """Planted in each command: what the server has found out about folders is forgotten, and time is limited."""
    tempfile.tempdir = home
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Good:
    """The files of a small run; the first command also waits for the server that the others are forked from."""
    folder = tmp_path_factory.mktemp("good")
    (folder / "tiny.yaml").write_text(TINY)
    Commands(folder).run(
        "fit", "--config", "tiny.yaml", "--trainer.callbacks+=FinalSummary", "--trainer.max_steps", "20"
    )
    (dataset,) = folder.glob("data/*.safetensors")
    (run,) = folder.glob("logs/*/version_0")
    return Good(run, dataset)


def seen(folder: Path) -> dict[str, tuple[object, ...]]:
    """Everything below a folder: its kind, and what it holds."""
    there: dict[str, tuple[object, ...]] = {}
    for at, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(at, name)
            if path.is_symlink():
                holds: tuple[object, ...] = ("link", os.readlink(path))
            elif path.is_file():
                holds = ("file", hashlib.sha256(path.read_bytes()).hexdigest())
            else:
                holds = (os.lstat(path).st_mode,)
            there[str(path.relative_to(folder))] = holds
    return there


def trouble_with(attack: Attack, base: Path) -> str | None:
    """What is wrong with how a command took an attack; None if nothing is."""
    work, home = base / "work", base / "home"
    for folder in (work, home, base / "beside"):
        folder.mkdir(parents=True)
    (base / "beside" / "precious").write_text("somebody's")
    put(attack, work)
    before = seen(base)
    command = Commands(work).start(
        *attack.arguments, environment={"HOME": home}, fault=partial(in_own_folders, str(home))
    )
    try:
        status = command.wait(30 * SECONDS)
    except AssertionError as error:
        return str(error)
    said = command.said
    if status not in (0, 2) or "Traceback" in said:
        return f"status {status}: {said[-1500:]}"
    if status == 2 and said.splitlines()[-1:] and not said.splitlines()[-1].startswith("iqlightning: "):
        return f"it does not end in a sentence: {said[-500:]}"
    if "\x1b[31m" in said:
        return f"it gives orders to the terminal: {said[-500:]!r}"
    after = seen(base)
    allowed = {"said-1.txt", *(attack.writes if status == 0 else [])}
    changed = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    # demonstrations are made before a run begins, and stay
    others = [name for name in changed if not set(Path(name).parts[1:2]) & (allowed | {"data"})]
    return f"status {status}, and it changed {sorted(others)[:5]}: {said[-300:]}" if others else None


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("family", FAMILIES)
def test_hostile_inputs_end_well_or_in_a_sentence(family, good, tmp_path):
    troubles = []
    for number, attack in enumerate(attacks(family, good)):
        if trouble := trouble_with(attack, tmp_path / str(number)):
            troubles.append(f"{family} {number}: {' '.join(attack.arguments)[:300]}\n{trouble}")
    assert not troubles, f"{len(troubles)} of {EACH}\n\n" + "\n\n".join(troubles)


def test_there_are_as_many_as_promised():
    assert EACH * len(FAMILIES) >= slow_count(300, 96)
